//! Atoms that tracing compares with: words that stay, made when the library is
//! loaded.

use std::sync::OnceLock;

use crate::raw::{CallEnv, RawTerm};

macro_rules! atoms {
    ($($name:ident = $text:literal,)*) => {
        /// See the module.
        #[derive(Debug)]
        pub(crate) struct Atoms {
            $(pub(crate) $name: RawTerm,)*
        }

        impl Atoms {
            fn make(env: CallEnv<'_>) -> Self {
                Self { $($name: env.atom($text),)* }
            }

            /// Stands in where `load` has not run, which the VM rules out.
            const NONE: Self = Self { $($name: RawTerm::NONE,)* };
        }
    };
}

atoms! {
    ok = "ok",
    undefined = "undefined",
    true_ = "true",
    false_ = "false",
    error = "error",
    parent = "parent",
    kind = "kind",
    attributes = "attributes",
    links = "links",
    start_time = "start_time",
    note = "$note",
    server = "server",
    client = "client",
    producer = "producer",
    consumer = "consumer",
    bytes = "bytes",
    array = "array",
    nil = "nil",
    requests = "erlmcp_requests_total",
    duration = "erlmcp_request_duration_seconds",
    errors = "erlmcp_errors_total",
}

static ATOMS: OnceLock<Atoms> = OnceLock::new();

/// To be called when the library is loaded.
pub(crate) fn prepare(env: CallEnv<'_>) {
    ATOMS.get_or_init(|| Atoms::make(env));
}

/// The atoms.
#[inline]
pub(crate) fn atoms() -> &'static Atoms {
    ATOMS.get().unwrap_or(&Atoms::NONE)
}
