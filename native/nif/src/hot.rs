//! The entry points that a hot path calls.
//!
//! They are plain C functions: no argument vector, no unwinding guard. What
//! they run before they find the series in this thread's cache neither
//! allocates nor can panic; everything behind is guarded in `record.rs`.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustler::sys::{ErlNifEnv, ErlNifFunc, ErlNifTerm};

use crate::exemplar::keep_exemplar;
use crate::raw::{CallEnv, RawTerm, arguments};
use crate::record::{Op, by_handle, by_handle_slowly, by_name, by_name_slowly, count_by_handle};
use crate::state::{Thread, fast_thread};

static OK: AtomicUsize = AtomicUsize::new(0);

/// Makes the atom that every recording returns. Atoms are words that stay.
pub(crate) fn prepare(env: CallEnv<'_>) {
    OK.store(env.atom("ok").word(), Ordering::Relaxed);
}

#[inline(always)]
fn ok() -> RawTerm {
    RawTerm::from_word(OK.load(Ordering::Relaxed))
}

/// Entry points that try what is common and then do what is not.
macro_rules! entry_points {
    ($($name:ident / $arity:literal = $op:expr, $fast:expr, $slow:expr;)*) => {
        $(
            #[inline(never)]
            unsafe extern "C" fn $name(
                env: *mut ErlNifEnv,
                _argc: c_int,
                argv: *const ErlNifTerm,
            ) -> ErlNifTerm {
                // SAFETY: the VM calls with its environment and as many terms
                // as the function was registered with.
                let (env, arguments) = unsafe { (CallEnv::new(env), arguments::<$arity>(argv)) };
                match fast_thread().and_then(|thread| $fast(env, thread, arguments, $op)) {
                    Some(()) => ok().to_c(),
                    None => $slow(env, arguments, $op).to_c(),
                }
            }
        )*
    };
}

/// The hottest of all: an addition to a bound counter.
unsafe extern "C" fn series_add(
    env: *mut ErlNifEnv,
    argc: c_int,
    argv: *const ErlNifTerm,
) -> ErlNifTerm {
    if let Some(thread) = fast_thread() {
        // SAFETY: the VM passes two terms.
        let [series, value] = unsafe { arguments::<2>(argv) };
        if count_by_handle(thread, series, value).is_some() {
            return ok().to_c();
        }
    }
    // SAFETY: what the VM passed to us.
    unsafe { series_add_otherwise(env, argc, argv) }
}

#[inline(always)]
fn handle(env: CallEnv<'_>, thread: &Thread, [series, value]: [RawTerm; 2], op: Op) -> Option<()> {
    by_handle(env, thread, series, value, op).map(|_| ())
}

fn handle_slowly(env: CallEnv<'_>, [series, value]: [RawTerm; 2], op: Op) -> RawTerm {
    by_handle_slowly(env, series, value, op, None)
}

#[inline(always)]
fn name(
    env: CallEnv<'_>,
    thread: &Thread,
    [name, value, labels]: [RawTerm; 3],
    op: Op,
) -> Option<()> {
    by_name(env, thread, name, value, labels, op).map(|_| ())
}

fn name_slowly(env: CallEnv<'_>, [name, value, labels]: [RawTerm; 3], op: Op) -> RawTerm {
    by_name_slowly(env, name, value, labels, op, None)
}

/// As [`handle`], with a span context behind.
#[inline(always)]
fn handle_traced(
    env: CallEnv<'_>,
    thread: &Thread,
    [series, value, context]: [RawTerm; 3],
    op: Op,
) -> Option<()> {
    let id = by_handle(env, thread, series, value, op)?;
    keep_exemplar(env, thread, id, value, context);
    Some(())
}

fn handle_traced_slowly(
    env: CallEnv<'_>,
    [series, value, context]: [RawTerm; 3],
    op: Op,
) -> RawTerm {
    by_handle_slowly(env, series, value, op, Some(context))
}

/// As [`name`], with a span context behind.
#[inline(always)]
fn name_traced(
    env: CallEnv<'_>,
    thread: &Thread,
    [name, value, labels, context]: [RawTerm; 4],
    op: Op,
) -> Option<()> {
    let id = by_name(env, thread, name, value, labels, op)?;
    keep_exemplar(env, thread, id, value, context);
    Some(())
}

fn name_traced_slowly(
    env: CallEnv<'_>,
    [name, value, labels, context]: [RawTerm; 4],
    op: Op,
) -> RawTerm {
    by_name_slowly(env, name, value, labels, op, Some(context))
}

entry_points! {
    series_add_otherwise/2 = Op::Add, handle, handle_slowly;
    series_subtract/2 = Op::Subtract, handle, handle_slowly;
    series_set/2 = Op::Set, handle, handle_slowly;
    series_observe/2 = Op::Observe, handle, handle_slowly;
    count/3 = Op::Count, name, name_slowly;
    add/3 = Op::Add, name, name_slowly;
    subtract/3 = Op::Subtract, name, name_slowly;
    set/3 = Op::Set, name, name_slowly;
    observe/3 = Op::Observe, name, name_slowly;
    series_observe_traced/3 = Op::Observe, handle_traced, handle_traced_slowly;
    observe_traced/4 = Op::Observe, name_traced, name_traced_slowly;
}

type Function = unsafe extern "C" fn(*mut ErlNifEnv, c_int, *const ErlNifTerm) -> ErlNifTerm;

/// The table entries of these functions.
pub(crate) fn functions() -> Vec<ErlNifFunc> {
    let functions: [(&'static CStr, u32, Function); 11] = [
        (c"series_add", 2, series_add),
        (c"series_subtract", 2, series_subtract),
        (c"series_set", 2, series_set),
        (c"series_observe", 2, series_observe),
        (c"count", 3, count),
        (c"add", 3, add),
        (c"subtract", 3, subtract),
        (c"set", 3, set),
        (c"observe", 3, observe),
        (c"series_observe_traced", 3, series_observe_traced),
        (c"observe_traced", 4, observe_traced),
    ];
    let entry = |(name, arity, function): (&'static CStr, u32, Function)| ErlNifFunc {
        name: name.as_ptr(),
        arity,
        function,
        flags: 0,
    };
    functions.map(entry).into()
}
