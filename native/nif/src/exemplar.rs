//! Exemplars: observations that were made in a sampled span.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use erlmcp_metrics::{Exemplar, Rejection, SeriesId};

use crate::raw::{CallEnv, RawTerm};
use crate::record::common_amount;
use crate::state::{Thread, registry};

/// What of a span context's binary is read here:
/// `<<TraceId:16/binary, SpanId:8/binary, Flags:8, _/binary>>`.
const TRACE_ID_BYTES: usize = 16;
const SPAN_ID_BYTES: usize = 8;
/// The bit of the flags that says that the span will be seen.
const SAMPLED: u8 = 1;

/// Keeps what was recorded just now as an exemplar, if the term is the context
/// of a sampled span; else there is nothing to do.
#[inline]
pub(crate) fn keep_exemplar(
    env: CallEnv<'_>,
    thread: &Thread,
    id: SeriesId,
    value: RawTerm,
    context: RawTerm,
) {
    if let Some((trace_id, span_id)) = env.get_binary(context).and_then(sampled_span)
        && let Some(value) = common_amount(env, value)
    {
        keep(thread, id, value.as_f64(), trace_id, span_id);
    }
}

/// The span of a context, if it is sampled.
fn sampled_span(context: &[u8]) -> Option<([u8; TRACE_ID_BYTES], [u8; SPAN_ID_BYTES])> {
    let (trace_id, rest) = context.split_first_chunk()?;
    let (span_id, rest) = rest.split_first_chunk()?;
    let sampled = rest.first()? & SAMPLED != 0;
    (sampled && *trace_id != [0; TRACE_ID_BYTES]).then_some((*trace_id, *span_id))
}

/// Allocates now and then: a panic ends here.
fn keep(
    thread: &Thread,
    id: SeriesId,
    value: f64,
    trace_id: [u8; TRACE_ID_BYTES],
    span_id: [u8; SPAN_ID_BYTES],
) {
    let kept = catch_unwind(AssertUnwindSafe(|| {
        let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
        let time_unix_nano = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let exemplar = Exemplar { value, time_unix_nano, trace_id, span_id };
        thread.recorder.keep_exemplar(id, exemplar);
    }));
    if kept.is_err() {
        registry().reject(Rejection::Internal);
    }
}
