//! The entry points that a hot path calls.
//!
//! They are plain C functions: no argument vector, no unwinding guard. What
//! they run before they find the series in this thread's cache neither
//! allocates nor can panic; everything behind is guarded in `record.rs`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustler::sys::{ErlNifEnv, ErlNifFunc, ErlNifTerm};

use crate::raw::{CallEnv, RawTerm, arguments};
use crate::record::{Op, by_handle, by_handle_slowly, by_name, by_name_slowly};

static OK: AtomicUsize = AtomicUsize::new(0);

/// Makes the atom that every recording returns. Atoms are words that stay.
pub(crate) fn prepare(env: CallEnv<'_>) {
    OK.store(env.atom("ok").word(), Ordering::Relaxed);
}

#[inline(always)]
fn ok() -> RawTerm {
    RawTerm::from_word(OK.load(Ordering::Relaxed))
}

macro_rules! entry_points {
    ($($name:ident / $arity:literal = $op:expr, $fast:expr, $slow:expr;)*) => {
        $(
            unsafe extern "C" fn $name(
                env: *mut ErlNifEnv,
                _argc: c_int,
                argv: *const ErlNifTerm,
            ) -> ErlNifTerm {
                // SAFETY: the VM calls with its environment and as many terms
                // as the function was registered with.
                let (env, arguments) = unsafe { (CallEnv::new(env), arguments::<$arity>(argv)) };
                match $fast(env, arguments, $op) {
                    Some(()) => ok().to_c(),
                    None => $slow(env, arguments, $op).to_c(),
                }
            }
        )*

        /// The table entries of these functions.
        pub(crate) fn functions() -> Vec<ErlNifFunc> {
            vec![$(ErlNifFunc {
                name: concat!(stringify!($name), "\0").as_ptr().cast(),
                arity: $arity,
                function: $name,
                flags: 0,
            }),*]
        }
    };
}

#[inline(always)]
fn handle(_env: CallEnv<'_>, [series, value]: [RawTerm; 2], op: Op) -> Option<()> {
    by_handle(series, value, op)
}

fn handle_slowly(env: CallEnv<'_>, [series, value]: [RawTerm; 2], op: Op) -> RawTerm {
    by_handle_slowly(env, series, value, op)
}

#[inline(always)]
fn name(env: CallEnv<'_>, [name, value, labels]: [RawTerm; 3], op: Op) -> Option<()> {
    by_name(env, name, value, labels, op)
}

fn name_slowly(env: CallEnv<'_>, [name, value, labels]: [RawTerm; 3], op: Op) -> RawTerm {
    by_name_slowly(env, name, value, labels, op)
}

entry_points! {
    series_add/2 = Op::Add, handle, handle_slowly;
    series_subtract/2 = Op::Subtract, handle, handle_slowly;
    series_set/2 = Op::Set, handle, handle_slowly;
    series_observe/2 = Op::Observe, handle, handle_slowly;
    count/3 = Op::Count, name, name_slowly;
    add/3 = Op::Add, name, name_slowly;
    subtract/3 = Op::Subtract, name, name_slowly;
    set/3 = Op::Set, name, name_slowly;
    observe/3 = Op::Observe, name, name_slowly;
}
