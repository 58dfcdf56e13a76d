//! Exemplars: observations that were made in a sampled span.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{SystemTime, UNIX_EPOCH};

use erlmcp_metrics::{Exemplar, Rejection, SeriesId};

use crate::context::Context;
use crate::raw::{CallEnv, RawTerm};
use crate::record::common_amount;
use crate::state::{Thread, registry};

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
    if let Some(context) = Context::read(env, context).filter(Context::is_sampled)
        && let Some(value) = common_amount(env, value)
    {
        keep(thread, id, value.as_f64(), &context);
    }
}

/// Allocates now and then: a panic ends here.
fn keep(thread: &Thread, id: SeriesId, value: f64, context: &Context<'_>) {
    let kept = catch_unwind(AssertUnwindSafe(|| {
        let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
        let time_unix_nano = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let exemplar = Exemplar {
            value,
            time_unix_nano,
            trace_id: context.trace_id.to_bytes(),
            span_id: context.span_id.to_bytes(),
        };
        thread.recorder.keep_exemplar(id, exemplar);
    }));
    if kept.is_err() {
        registry().reject(Rejection::Internal);
    }
}
