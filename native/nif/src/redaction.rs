//! Which keys are secret: for the Erlang side, which writes logs.

use crate::atoms::atoms;
use crate::attribute::text_of;
use crate::raw::{CallEnv, RawTerm};
use crate::state::{Tracing, thread};
use crate::work;

/// `is_secret_key(Key) -> boolean()`. What is no text is no secret key.
pub(crate) fn is_secret_key(env: CallEnv<'_>, [key]: [RawTerm; 1]) -> RawTerm {
    work::begin();
    let atoms = atoms();
    // Without this thread's state nothing can be told, and nothing is shown.
    let Some(mut tracing) = thread().tracing() else { return atoms.true_ };
    let Tracing { tracer, texts, .. } = &mut *tracing;
    let secrets = tracer.secrets();
    let is_secret = text_of(env, key, &mut texts.key).is_some_and(|key| secrets.is_secret(key));
    if is_secret { atoms.true_ } else { atoms.false_ }
}
