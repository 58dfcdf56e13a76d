//! The entry points for spans: plain C functions, guarded inside.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};

use rustler::sys::{ErlNifEnv, ErlNifFunc, ErlNifTerm};

use crate::raw::{CallEnv, arguments};
use crate::record::contained;
use crate::span;

macro_rules! entry_points {
    ($($name:ident / $arity:literal = $function:path, $erlang:literal;)*) => {
        $(
            unsafe extern "C" fn $name(
                env: *mut ErlNifEnv,
                _argc: c_int,
                argv: *const ErlNifTerm,
            ) -> ErlNifTerm {
                // SAFETY: the VM calls with its environment and as many terms
                // as the function was registered with.
                let (env, arguments) = unsafe { (CallEnv::new(env), arguments::<$arity>(argv)) };
                contained(env, || $function(env, arguments)).to_c()
            }
        )*

        /// The table entries of these functions.
        pub(crate) fn functions() -> Vec<ErlNifFunc> {
            let entry = |name: &'static CStr, arity, function| ErlNifFunc {
                name: name.as_ptr(),
                arity,
                function,
                flags: 0,
            };
            vec![$(entry($erlang, $arity, $name)),*]
        }
    };
}

entry_points! {
    span_start/3 = span::start, c"span_start";
    span_end/1 = span::end, c"span_end";
    span_end_with_time/2 = span::end_with_time, c"span_end";
    span_set_attribute/3 = span::set_attribute, c"span_set_attribute";
    span_set_attributes/2 = span::set_attributes, c"span_set_attributes";
    span_add_event/4 = span::add_event, c"span_add_event";
    span_add_link/2 = span::add_link, c"span_add_link";
    span_set_status/3 = span::set_status, c"span_set_status";
    span_set_name/2 = span::set_name, c"span_set_name";
    span_is_open/1 = span::is_open, c"span_is_open";
    span_ids/1 = crate::context::ids, c"span_ids";
    request_end/4 = crate::request::end, c"request_end";
    is_secret_key/1 = crate::redaction::is_secret_key, c"is_secret_key";
    log_emit/6 = crate::log::emit, c"log_emit";
    span_give_away/2 = span::give_away, c"span_give_away";
}
