//! Spans caught in memory, for the tests of those who use the library.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use erlmcp_export::otlp::{ScopeBytes, Signal, Tap};
use erlmcp_export::{
    DecodedSpans, EventView, LinkView, SpanKind, SpanView, StatusView, ValueView, decode_spans,
};
use erlmcp_trace::{Queue, Records};
use parking_lot::Mutex;
use rustler::{Env, Term};

use crate::exporter::take_in;
use crate::raw::{CallEnv, RawTerm};

/// Longest wait for spans that have just ended.
const WAIT: Duration = Duration::from_secs(5);
/// Most bytes of one capture; what exceeds them is not caught.
const MAX_BYTES: usize = 64 << 20;
/// Most captures at a time.
const MAX_CAPTURES: usize = 1_000;

/// Those who catch what leaves the queue of spans, by number.
#[derive(Debug, Default)]
pub(crate) struct Captures(Mutex<Option<HashMap<u64, Vec<Records>>>>);

static CAPTURES: Captures = Captures(Mutex::new(None));
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The node's captures.
pub(crate) fn captures() -> &'static Captures {
    &CAPTURES
}

/// The last tap: what it has seen, all others have.
#[derive(Debug)]
pub(crate) struct Seen;

impl Tap for Seen {
    fn records(&self, signal: Signal, _: &ScopeBytes, records: &Records) {
        if signal == Signal::Traces {
            CAPTURES.saw(records);
        }
    }
}

impl Captures {
    fn saw(&self, records: &Records) {
        if let Some(captures) = self.0.lock().as_mut() {
            for captured in captures.values_mut() {
                let held: usize = captured.iter().map(|records| records.bytes.len()).sum();
                if held + records.bytes.len() <= MAX_BYTES {
                    captured.push(records.clone());
                }
            }
        }
    }

    /// Takes what is queued where no exporter does.
    pub(crate) fn take_over(&self, queue: &Queue) {
        for records in queue.drain() {
            self.saw(&records);
            queue.release(records.count, records.bytes.len());
        }
    }
}

/// Begins to catch the node's spans; `nil` if too many do so already.
#[rustler::nif(schedule = "DirtyIo")]
fn capture_start() -> Option<u64> {
    // What has ended before is not caught.
    take_in(WAIT, true);
    let mut captures = CAPTURES.0.lock();
    let captures = captures.get_or_insert_default();
    if captures.len() >= MAX_CAPTURES {
        return None;
    }
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    captures.insert(id, Vec::new());
    Some(id)
}

/// The spans caught so far, in the order in which they ended on their threads.
#[rustler::nif(schedule = "DirtyIo")]
fn capture_spans<'a>(env: Env<'a>, id: u64) -> Term<'a> {
    take_in(WAIT, true);
    let captured = CAPTURES.0.lock().as_ref().and_then(|all| all.get(&id).cloned());
    let call = CallEnv::of(env);
    let spans: Vec<RawTerm> = captured
        .unwrap_or_default()
        .iter()
        .flat_map(|records| {
            let DecodedSpans { spans, .. } = decode_spans(records);
            spans
        })
        .filter_map(|span| span_term(call, &span))
        .collect();
    call.to_term(env, call.list(&spans))
}

/// Ends a capture.
#[rustler::nif]
fn capture_stop(id: u64) -> bool {
    CAPTURES.0.lock().as_mut().is_some_and(|captures| captures.remove(&id).is_some())
}

fn text(env: CallEnv<'_>, text: &str) -> RawTerm {
    env.binary(text.as_bytes())
}

/// A map of atoms and values.
fn map(env: CallEnv<'_>, pairs: &[(&str, RawTerm)]) -> Option<RawTerm> {
    let keys: Vec<RawTerm> = pairs.iter().map(|(key, _)| env.atom(key)).collect();
    let values: Vec<RawTerm> = pairs.iter().map(|(_, value)| *value).collect();
    env.map(&keys, &values)
}

fn span_term(env: CallEnv<'_>, span: &SpanView) -> Option<RawTerm> {
    let kind = match span.kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal | SpanKind::Unspecified => "internal",
    };
    let parent = match &span.parent {
        Some(parent) => env.binary(&parent.to_hex()),
        None => env.atom("undefined"),
    };
    let status = match &span.status {
        StatusView::Unset => env.atom("unset"),
        StatusView::Ok => env.atom("ok"),
        StatusView::Error(message) => env.tuple(&[env.atom("error"), text(env, message)]),
    };
    let events: Vec<RawTerm> =
        span.events.iter().filter_map(|event| event_term(env, event)).collect();
    let links: Vec<RawTerm> = span.links.iter().filter_map(|link| link_term(env, link)).collect();
    map(
        env,
        &[
            ("name", text(env, &span.name)),
            ("kind", env.atom(kind)),
            ("trace_id", env.binary(&span.trace_id.to_hex())),
            ("span_id", env.binary(&span.span_id.to_hex())),
            ("parent_span_id", parent),
            ("trace_state", text(env, &span.trace_state)),
            ("start_time", env.uint(span.start_unix_nano)),
            ("end_time", env.uint(span.end_unix_nano)),
            ("attributes", attributes_term(env, &span.attributes)?),
            ("dropped_attributes", env.uint(u64::from(span.dropped_attributes))),
            ("events", env.list(&events)),
            ("dropped_events", env.uint(u64::from(span.dropped_events))),
            ("links", env.list(&links)),
            ("dropped_links", env.uint(u64::from(span.dropped_links))),
            ("status", status),
        ],
    )
}

fn event_term(env: CallEnv<'_>, event: &EventView) -> Option<RawTerm> {
    map(
        env,
        &[
            ("name", text(env, &event.name)),
            ("time", env.uint(event.unix_nano)),
            ("attributes", attributes_term(env, &event.attributes)?),
        ],
    )
}

fn link_term(env: CallEnv<'_>, link: &LinkView) -> Option<RawTerm> {
    let id = |hex: Option<&[u8]>| hex.map_or_else(|| env.atom("undefined"), |hex| env.binary(hex));
    let trace_id = link.trace_id.map(|id| id.to_hex());
    let span_id = link.span_id.map(|id| id.to_hex());
    map(
        env,
        &[
            ("trace_id", id(trace_id.as_ref().map(<[u8; 32]>::as_slice))),
            ("span_id", id(span_id.as_ref().map(<[u8; 16]>::as_slice))),
            ("trace_state", text(env, &link.trace_state)),
            ("attributes", attributes_term(env, &link.attributes)?),
        ],
    )
}

fn attributes_term(env: CallEnv<'_>, attributes: &[(String, ValueView)]) -> Option<RawTerm> {
    let keys: Vec<RawTerm> = attributes.iter().map(|(key, _)| text(env, key)).collect();
    let values: Vec<RawTerm> =
        attributes.iter().map(|(_, value)| value_term(env, value)).collect::<Option<_>>()?;
    env.map(&keys, &values)
}

/// Bytes are shown as `{bytes, Binary}`, as they are given.
fn value_term(env: CallEnv<'_>, value: &ValueView) -> Option<RawTerm> {
    Some(match value {
        ValueView::Empty => env.atom("undefined"),
        ValueView::String(string) => text(env, string),
        ValueView::Bool(value) => env.atom(if *value { "true" } else { "false" }),
        ValueView::Int(n) => env.int(*n),
        ValueView::Double(x) => env.float(*x),
        ValueView::Bytes(bytes) => env.tuple(&[env.atom("bytes"), env.binary(bytes)]),
        ValueView::Array(elements) => {
            let elements: Option<Vec<RawTerm>> =
                elements.iter().map(|element| value_term(env, element)).collect();
            env.list(&elements?)
        }
        ValueView::Map(pairs) => attributes_term(env, pairs)?,
    })
}
