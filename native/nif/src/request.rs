//! Requests: spans that are counted as they start and as they end.
//!
//! A process may be killed between any two calls. The count of requests in
//! flight therefore changes in the calls that start and end the span, and what
//! a request counts is counted in the one that ends it.

use std::sync::atomic::{AtomicU64, Ordering};

use erlmcp_metrics::{Kind, LabelSet, MetricName, SeriesId};

use crate::atoms::atoms;
use crate::context::Context;
use crate::exemplar::keep_exemplar;
use crate::raw::{CallEnv, RawTerm};
use crate::record::{Op, by_name, by_name_slowly};
use crate::state::{Thread, fast_thread, registry, thread};

const REQUESTS: &str = "erlmcp_requests_total";
const DURATION: &str = "erlmcp_request_duration_seconds";
const ERRORS: &str = "erlmcp_errors_total";
const IN_FLIGHT: &str = "erlmcp_requests_in_flight";

/// The handle of the series of requests in flight, or 0.
static IN_FLIGHT_SERIES: AtomicU64 = AtomicU64::new(0);

/// A request begins (1) or ends (-1).
pub(crate) fn in_flight(thread: &Thread, n: i64) {
    let known = SeriesId::from_raw(IN_FLIGHT_SERIES.load(Ordering::Relaxed));
    if thread.recorder.add_int(known, n).is_ok() {
        return;
    }
    // Not found yet, or removed since.
    if let Some(found) = series(Kind::UpDownCounter, IN_FLIGHT, &[]) {
        IN_FLIGHT_SERIES.store(found.to_raw(), Ordering::Relaxed);
        let _ = thread.recorder.add_int(found, n);
    }
}

/// A name that the application has taken for another kind is refused, as it is
/// in Erlang.
fn series(kind: Kind, name: &str, labels: &[(&str, &str)]) -> Option<SeriesId> {
    let name = MetricName::new(name).ok()?;
    let labels = LabelSet::from_pairs(labels.iter().copied()).ok()?;
    registry().series(kind, &name, &labels).ok().map(|bound| bound.id)
}

/// `request_end(Context, Seconds, Labels, ErrorLabels | nil) -> boolean()`:
/// ends the span of a request and counts it. `true` if the span was open.
pub(crate) fn end(env: CallEnv<'_>, [span, seconds, labels, errors]: [RawTerm; 4]) -> RawTerm {
    let atoms = atoms();
    let thread = thread();
    let ended = crate::span::end_open(env, span, None);
    // That of a span that was not recorded ends here; else where the span does.
    let is_recorded = Context::read(env, span).is_some_and(|context| context.is_recorded());
    if !is_recorded {
        in_flight(thread, -1);
    }
    record(env, Op::Count, [atoms.requests, env.int(1), labels], None);
    record(env, Op::Observe, [atoms.duration, seconds, labels], Some(span));
    if errors != atoms.nil {
        record(env, Op::Count, [atoms.errors, env.int(1), errors], None);
    }
    if ended { atoms.true_ } else { atoms.false_ }
}

fn record(env: CallEnv<'_>, op: Op, [name, value, labels]: [RawTerm; 3], context: Option<RawTerm>) {
    let known = fast_thread()
        .and_then(|thread| Some((thread, by_name(env, thread, name, value, labels, op)?)));
    match (known, context) {
        (Some((thread, id)), Some(context)) => keep_exemplar(env, thread, id, value, context),
        (Some(_), None) => {}
        (None, context) => {
            by_name_slowly(env, name, value, labels, op, context);
        }
    }
}

/// Counts a request whose process ended in its midst. The note is its method
/// and its component.
pub(crate) fn count_abandoned(thread: &Thread, note: &str, seconds: f64, error_type: &str) {
    let (method, component) = note.split_once('\0').unwrap_or((note, "server"));
    let labels = [("component", component), ("method", method), ("status", "error")];
    let recorder = &thread.recorder;
    if let Some(id) = series(Kind::Counter, REQUESTS, &labels) {
        let _ = recorder.add_int(id, 1);
    }
    if let Some(id) = series(Kind::Histogram, DURATION, &labels) {
        let _ = recorder.observe(id, seconds);
    }
    let error = [("component", component), ("error_type", error_type)];
    if let Some(id) = series(Kind::Counter, ERRORS, &error) {
        let _ = recorder.add_int(id, 1);
    }
    in_flight(thread, -1);
}
