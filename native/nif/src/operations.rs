//! The operations that were recorded last, as Erlang encodes them.

use std::sync::OnceLock;

use erlmcp_metrics::RecentOperations;
use rustler::{Binary, Env, Term};

use crate::cold::ok;
use crate::raw::{CallEnv, RawTerm};

/// How many are kept. Erlang's documentation has these numbers.
const CAPACITY: usize = 1_000;
/// Most bytes of one.
const MAX_BYTES: usize = 4_096;
/// Most names that are counted.
const MAX_NAMES: usize = 1_000;

static RECENT: OnceLock<RecentOperations> = OnceLock::new();

fn recent() -> &'static RecentOperations {
    RECENT.get_or_init(|| RecentOperations::new(CAPACITY, MAX_BYTES, MAX_NAMES))
}

/// `false` if the operation is too large; then nothing has changed.
#[rustler::nif]
#[allow(clippy::needless_pass_by_value)]
fn operation_add(name: Binary<'_>, operation: Binary<'_>) -> bool {
    recent().add(&name, &operation)
}

/// What is kept, the latest first.
#[rustler::nif]
fn operations(env: Env<'_>) -> Term<'_> {
    let call = CallEnv::of(env);
    let kept: Vec<RawTerm> =
        recent().latest_first().iter().map(|bytes| call.binary(bytes)).collect();
    call.to_term(env, call.list(&kept))
}

/// How many there were of each name.
#[rustler::nif]
fn operation_counts(env: Env<'_>) -> Term<'_> {
    let call = CallEnv::of(env);
    let counts: Vec<RawTerm> = recent()
        .counts()
        .iter()
        .map(|(name, count)| call.tuple(&[call.binary(name), call.uint(*count)]))
        .collect();
    call.to_term(env, call.list(&counts))
}

/// For how many milliseconds they have been counted.
#[rustler::nif]
fn operations_age() -> u64 {
    u64::try_from(recent().age().as_millis()).unwrap_or(u64::MAX)
}

#[rustler::nif]
fn operations_forget(env: Env<'_>) -> Term<'_> {
    recent().forget();
    ok(env)
}
