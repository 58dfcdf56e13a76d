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
use crate::record::{Op, by_handle, by_name};

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
    ($($name:ident / $arity:literal = $body:expr;)*) => {
        $(
            unsafe extern "C" fn $name(
                env: *mut ErlNifEnv,
                _argc: c_int,
                argv: *const ErlNifTerm,
            ) -> ErlNifTerm {
                // SAFETY: the VM calls with its environment and as many terms
                // as the function was registered with.
                let (env, arguments) = unsafe { (CallEnv::new(env), arguments::<$arity>(argv)) };
                $body(env, arguments).to_c()
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

entry_points! {
    series_add/2 = |env, [series, value]: [RawTerm; 2]| by_handle(env, ok(), series, value, Op::Add);
    series_subtract/2 = |env, [series, value]: [RawTerm; 2]| by_handle(env, ok(), series, value, Op::Subtract);
    series_set/2 = |env, [series, value]: [RawTerm; 2]| by_handle(env, ok(), series, value, Op::Set);
    series_observe/2 = |env, [series, value]: [RawTerm; 2]| by_handle(env, ok(), series, value, Op::Observe);
    count/3 = |env, [name, value, labels]: [RawTerm; 3]| by_name(env, ok(), name, value, labels, Op::Count);
    add/3 = |env, [name, value, labels]: [RawTerm; 3]| by_name(env, ok(), name, value, labels, Op::Add);
    subtract/3 = |env, [name, value, labels]: [RawTerm; 3]| by_name(env, ok(), name, value, labels, Op::Subtract);
    set/3 = |env, [name, value, labels]: [RawTerm; 3]| by_name(env, ok(), name, value, labels, Op::Set);
    observe/3 = |env, [name, value, labels]: [RawTerm; 3]| by_name(env, ok(), name, value, labels, Op::Observe);
}
