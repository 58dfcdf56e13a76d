//! Open spans: who ends them, what is kept, and what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use erlmcp_trace::{
    LocalTracer, OpenId, Parent, QueueLimits, Sampler, Start, Started, StatusCode, TailRule,
    Tracer, TracerConfig,
};
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use prost::Message;

const MILLISECOND: u64 = 1_000_000;

fn unsampled(tail: Option<TailRule>) -> Tracer {
    let config = TracerConfig { sampler: Sampler::AlwaysOff, tail, ..TracerConfig::default() };
    Tracer::new(config, QueueLimits::default(), 1_000)
}

fn rule() -> TailRule {
    TailRule { errors: true, slow_ns: Some(100 * MILLISECOND), max_bytes: 1 << 20 }
}

fn start(local: &mut LocalTracer, name: &str, parent: Option<&Started>, owner: u64) -> Started {
    let parent = parent.map(|parent| Parent {
        trace_id: parent.trace_id,
        span_id: parent.id.span_id,
        sampled: parent.sampled,
        remote: false,
        handle: parent.id.handle,
        trace_state: "",
    });
    local
        .start(&Start { parent, name, start_ns: Some(0), owner, ..Start::default() }, |_| ())
        .unwrap()
}

fn end(local: &mut LocalTracer, span: &Started, ms: u64, failed: bool) -> bool {
    local.end(span.id, Some(ms * MILLISECOND), |span| {
        if failed {
            span.set_status(StatusCode::Error, "failed");
        }
    })
}

fn drained(tracer: &Tracer) -> Vec<Span> {
    let spans = tracer.queue().drain().into_iter().flat_map(|records| {
        tracer.queue().release(records.count, records.bytes.len());
        ScopeSpans::decode(&*records.bytes).unwrap().spans
    });
    spans.collect()
}

fn names(tracer: &Tracer) -> Vec<String> {
    drained(tracer).into_iter().map(|span| span.name).collect()
}

#[test]
fn the_spans_of_a_process_that_ends_are_ended() {
    let tracer = Tracer::default();
    let mut local = tracer.local();
    let outer = start(&mut local, "outer", None, 1);
    assert!(outer.owner_is_new);
    let inner = start(&mut local, "inner", Some(&outer), 1);
    assert!(!inner.owner_is_new);
    let other = start(&mut local, "other", None, 2);
    let ended = local.owner_is_down(1, |span| span.set_status(StatusCode::Error, "killed"));
    assert_eq!(ended, 2);
    let spans = drained(&tracer);
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["inner", "outer"]);
    assert!(spans.iter().all(|span| span.status.as_ref().unwrap().message == "killed"));
    assert!(!local.end(outer.id, None, |_| ()));
    assert!(local.end(other.id, None, |_| ()));
    assert_eq!(local.owner_is_down(1, |_| ()), 0);
    let stats = tracer.stats();
    assert_eq!((stats.recorded, stats.ended, stats.open, stats.owners), (3, 3, 0, 1));
}

#[test]
fn a_number_that_is_used_again_is_another_owner() {
    let tracer = Tracer::default();
    let (mut one, mut other) = (tracer.local(), tracer.local());
    start(&mut one, "a", None, 1);
    assert_eq!(other.owner_is_down(1, |_| ()), 1);
    // This thread remembers the owner that has ended.
    assert!(start(&mut one, "b", None, 1).owner_is_new);
    assert_eq!(other.owner_is_down(1, |_| ()), 1);
}

#[test]
fn a_span_that_is_given_away_survives_its_starter() {
    let tracer = Tracer::default();
    let mut local = tracer.local();
    let span = start(&mut local, "given", None, 1);
    assert_eq!(local.give_away(span.id, 2), Some(true));
    assert_eq!(local.owner_is_down(1, |_| ()), 0);
    assert_eq!(local.owner_is_down(2, |_| ()), 1);
    assert_eq!(local.give_away(span.id, 2), None);
}

#[test]
fn made_up_and_outdated_handles_find_nothing() {
    let tracer = Tracer::default();
    let mut local = tracer.local();
    let first = start(&mut local, "first", None, 1);
    assert!(local.end(first.id, None, |_| ()));
    let second = start(&mut local, "second", None, 1);
    assert_eq!(first.id.handle, second.id.handle, "the slot is used again");
    assert!(local.with(first.id, |_| ()).is_none());
    for handle in [0, 2, 31, 33, 1 << 20, (1 << 20) + 1, u64::from(u32::MAX) + 2, u64::MAX] {
        assert!(local.with(OpenId { handle, ..second.id }, |_| ()).is_none(), "{handle}");
    }
    assert!(local.end(second.id, None, |_| ()));
}

#[test]
fn no_more_spans_than_allowed_are_open() {
    let tracer = Tracer::new(TracerConfig::default(), QueueLimits::default(), 10);
    let mut local = tracer.local();
    let spans: Vec<_> = (0..12).map(|_| start(&mut local, "x", None, 1)).collect();
    assert_eq!(spans.iter().filter(|span| span.id.handle != 0).count(), 10);
    assert!(spans.iter().all(|span| span.sampled), "what is passed on stays as decided");
    assert_eq!(tracer.stats().too_many_open, 2);
    for span in &spans {
        local.end(span.id, None, |_| ());
    }
    assert_ne!(start(&mut local, "x", None, 1).id.handle, 0);
}

#[test]
fn what_is_not_sampled_costs_no_slot() {
    let tracer = unsampled(None);
    let mut local = tracer.local();
    let span = start(&mut local, "x", None, 1);
    assert_eq!((span.sampled, span.id.handle), (false, 0));
    assert_eq!((tracer.stats().sampled_out, tracer.stats().recorded), (1, 0));
}

#[test]
fn a_span_with_a_note_is_known_but_not_exported() {
    let tracer = unsampled(None);
    let mut local = tracer.local();
    let begin = Start { name: "x", owner: 1, note: Some("ping"), ..Start::default() };
    let span = local.start(&begin, |_| ()).unwrap();
    assert_ne!(span.id.handle, 0);
    let mut note = String::new();
    assert_eq!(local.owner_is_down(1, |span| note.push_str(span.note())), 1);
    assert_eq!(note, "ping");
    assert_eq!(names(&tracer), [""; 0]);
    assert_eq!(tracer.stats().sampled_out, 1);
}

#[test]
fn the_tail_rule_keeps_traces_that_failed_or_were_slow() {
    for (ms, failed, kept) in
        [(1, false, false), (1, true, true), (100, false, true), (99, false, false)]
    {
        let tracer = unsampled(Some(rule()));
        let mut local = tracer.local();
        let root = start(&mut local, "root", None, 1);
        let child = start(&mut local, "child", Some(&root), 1);
        let grandchild = start(&mut local, "grandchild", Some(&child), 2);
        end(&mut local, &grandchild, 1, false);
        end(&mut local, &child, ms, failed);
        assert_eq!(names(&tracer), [""; 0], "nothing before the local root has ended");
        end(&mut local, &root, ms, false);
        let expected: &[&str] = if kept { &["grandchild", "child", "root"] } else { &[] };
        assert_eq!(names(&tracer), expected, "{ms} ms, failed: {failed}");
        let stats = tracer.stats();
        assert_eq!(stats.sampled_out, if kept { 0 } else { 3 });
        assert_eq!((stats.recorded, stats.ended, stats.open), (3, 3, 0));
    }
}

#[test]
fn a_span_that_ends_after_its_local_root_is_judged_by_itself() {
    let tracer = unsampled(Some(rule()));
    let mut local = tracer.local();
    let root = start(&mut local, "root", None, 1);
    let fine = start(&mut local, "fine", Some(&root), 1);
    let failed = start(&mut local, "failed", Some(&root), 1);
    end(&mut local, &root, 1, false);
    end(&mut local, &fine, 1, false);
    end(&mut local, &failed, 1, true);
    assert_eq!(names(&tracer), ["failed"]);
    assert_eq!(tracer.stats().sampled_out, 2);
}

#[test]
fn waiting_spans_stay_within_the_budget_and_give_it_back() {
    let small = TailRule { max_bytes: 300, ..rule() };
    let tracer = unsampled(Some(small));
    let mut local = tracer.local();
    for _ in 0..3 {
        let root = start(&mut local, "root", None, 1);
        for _ in 0..10 {
            let child = start(&mut local, "child", Some(&root), 1);
            end(&mut local, &child, 1, false);
        }
        end(&mut local, &root, 1, true);
    }
    let stats = tracer.stats();
    let kept = names(&tracer).len() as u64;
    assert!(stats.tail_full > 0 && kept > 3, "{stats:?}, {kept} kept");
    assert_eq!(stats.tail_full % 3, 0, "each trace found the same room");
    assert_eq!(kept + stats.tail_full, 33);
}

#[test]
fn a_killed_process_is_a_reason_to_keep_its_trace() {
    let tracer = unsampled(Some(rule()));
    let mut local = tracer.local();
    let root = start(&mut local, "root", None, 1);
    start(&mut local, "child", Some(&root), 1);
    local.owner_is_down(1, |span| span.set_status(StatusCode::Error, "killed"));
    assert_eq!(names(&tracer), ["child", "root"]);
}

#[test]
fn a_disabled_tracer_makes_no_span() {
    let tracer = Tracer::default();
    let mut local = tracer.local();
    let disabled = TracerConfig { disabled: true, ..TracerConfig::default() };
    tracer.configure(disabled, QueueLimits::default(), 10);
    assert_eq!(local.start(&Start { name: "x", ..Start::default() }, |_| ()), None);
    tracer.configure(TracerConfig::default(), QueueLimits::default(), 10);
    assert!(local.start(&Start { name: "x", ..Start::default() }, |_| ()).is_some());
}

#[test]
fn owners_are_watched_once_and_only_when_a_span_is_old() {
    let tracer = Tracer::default();
    let mut local = tracer.local();
    start(&mut local, "x", None, 1);
    assert_eq!(tracer.watch_owners(60_000 * MILLISECOND, 10), [0; 0]);
    assert_eq!(tracer.watch_owners(0, 10), [1]);
    assert_eq!(tracer.watch_owners(0, 10), [0; 0]);
    assert!(tracer.is_watched(1));
    tracer.unwatch_owners();
    assert!(!tracer.is_watched(1));
    local.owner_is_down(1, |_| ());
    assert_eq!(tracer.watch_owners(0, 10), [0; 0]);
}

/// Spans are started on one thread, changed on another and ended on a third,
/// while processes end and the queue is drained: every span ends once.
#[test]
fn threads_agree_on_every_span() {
    const SPANS: u64 = 30_000;
    let tracer = Tracer::new(TracerConfig::default(), QueueLimits::default(), 4_096);
    let (to_change, changes) = std::sync::mpsc::sync_channel::<Started>(256);
    let (to_end, ends) = std::sync::mpsc::sync_channel::<Started>(256);
    let done = Arc::new(AtomicBool::new(false));
    let starters: Vec<_> = (0..2_u64)
        .map(|thread| {
            let (tracer, to_change) = (tracer.clone(), to_change.clone());
            std::thread::spawn(move || {
                let mut local = tracer.local();
                for n in 0..SPANS {
                    let owner = (thread << 32) | n / 100;
                    let span = start(&mut local, "x", None, owner);
                    to_change.send(span).unwrap();
                    if n % 100 == 99 && n % 200 == 99 {
                        local.owner_is_down(owner, |_| ());
                    }
                }
            })
        })
        .collect();
    drop(to_change);
    let changer = {
        let tracer = tracer.clone();
        std::thread::spawn(move || {
            let mut local = tracer.local();
            for span in changes {
                local.with(span.id, |span| span.set_attribute("n", |to| to.int(1)));
                to_end.send(span).unwrap();
            }
        })
    };
    let drainer = {
        let (tracer, done) = (tracer.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut count = 0;
            loop {
                let last = done.load(Ordering::Acquire);
                count += drained(&tracer).len() as u64;
                if last {
                    return count;
                }
            }
        })
    };
    let mut local = tracer.local();
    for span in ends {
        local.end(span.id, None, |_| ());
    }
    starters.into_iter().for_each(|thread| thread.join().unwrap());
    changer.join().unwrap();
    done.store(true, Ordering::Release);
    let exported = drainer.join().unwrap();
    let (stats, queue) = (tracer.stats(), tracer.queue().stats());
    assert_eq!(stats.recorded + stats.too_many_open, 2 * SPANS);
    assert_eq!((stats.ended, stats.open), (stats.recorded, 0));
    assert_eq!(exported + queue.refused, stats.ended);
}
