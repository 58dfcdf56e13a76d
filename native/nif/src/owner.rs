//! Ends the spans of processes that end.
//!
//! The VM tells a monitoring object that a process is gone, but not why. Where
//! a process of the library waits for the reason (`watch_owners`), ending the
//! spans is left to it, for as long as it lives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use erlmcp_trace::{OpenSpan, StatusCode};
use parking_lot::Mutex;

use crate::guard;
use crate::raw::{CallEnv, LocalPid};
use crate::request;
use crate::state::{Thread, thread, tracer};

/// Processes that have ended and whose reason somebody will tell.
static AWAITED: Mutex<Vec<(u64, Instant)>> = Mutex::new(Vec::new());

/// How long a reason is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of a process' end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    /// `error.type` of its open spans.
    pub(crate) error_type: &'a str,
    /// The reason as text, if it is known.
    pub(crate) reason: Option<&'a str>,
}

const UNKNOWN: End<'static> = End { error_type: "process_exit", reason: None };

/// Watches a process that has started its first span. `false` if it is gone.
pub(crate) fn watch(env: CallEnv<'_>, pid: LocalPid) -> bool {
    guard::watch_span_owner(env, pid)
}

/// The VM says that a process is gone. Called on a scheduler.
pub(crate) fn is_down(thread: &Thread, owner: u64) {
    {
        // Under the lock: nobody stops waiting in between.
        let mut awaited = AWAITED.lock();
        if tracer().is_watched(owner) {
            awaited.push((owner, Instant::now()));
            return;
        }
    }
    end_spans(thread, owner, UNKNOWN);
}

/// Somebody knows why a process has ended.
pub(crate) fn is_down_because(owner: u64, end: End<'_>) -> usize {
    AWAITED.lock().retain(|(awaited, _)| *awaited != owner);
    end_spans(thread(), owner, end)
}

/// Ends the spans of those for which no reason has come in time, or at once
/// if `now`: nobody tells reasons any more.
pub(crate) fn give_up_waiting(now: bool) {
    let mut overdue = Vec::new();
    {
        let mut awaited = AWAITED.lock();
        if now {
            tracer().unwatch_owners();
        }
        awaited.retain(|(owner, since)| {
            let is_due = now || since.elapsed() >= PATIENCE;
            if is_due {
                overdue.push(*owner);
            }
            !is_due
        });
    }
    for owner in overdue {
        end_spans(thread(), owner, UNKNOWN);
    }
}

/// The process that tells reasons, by number: the last one counts.
static WATCHER: AtomicU64 = AtomicU64::new(0);

/// A process begins to tell reasons; what the one before it was waited for is
/// lost. `false` if the process is gone.
pub(crate) fn watcher_begins(env: CallEnv<'_>, watcher: LocalPid) -> bool {
    let generation = WATCHER.fetch_add(1, Ordering::Relaxed) + 1;
    give_up_waiting(true);
    guard::watch_span_watcher(env, watcher, generation)
}

/// The process that tells reasons is gone, whatever way.
pub(crate) fn watcher_is_down(generation: u64) {
    if WATCHER.load(Ordering::Relaxed) == generation {
        give_up_waiting(true);
    }
}

fn end_spans(thread: &Thread, owner: u64, end: End<'_>) -> usize {
    let mut requests = Vec::new();
    let ended = thread.tracing().map_or(0, |mut tracing| {
        let now_ns = tracing.tracer.now_ns();
        tracing.tracer.owner_is_down(owner, |span| {
            mark(span, end);
            if !span.note().is_empty() {
                let seconds = now_ns.saturating_sub(span.start_ns()) as f64 / 1e9;
                requests.push((span.note().to_owned(), seconds));
            }
        })
    });
    for (note, seconds) in requests {
        request::count_abandoned(thread, &note, seconds, end.error_type);
    }
    ended
}

fn mark(span: &mut OpenSpan, end: End<'_>) {
    let message = end.reason.unwrap_or("the process ended while the span was open");
    span.set_status(StatusCode::Error, message);
    span.set_attribute("error.type", |value| value.string(end.error_type));
    if let Some(reason) = end.reason {
        span.set_attribute("erlmcp.exit.reason", |value| value.string(reason));
    }
}
