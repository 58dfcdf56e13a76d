//! What the exporter has to say to those who run the system.

pub use crate::diagnostics::{DiagnosticLevel, Diagnostics};

/// What a message is about. Each kind is said at most once a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Failing,
    Recovered,
    PartialSuccess,
    Rejected,
    TooLarge,
    GivenUp,
    Spool,
}

const KINDS: usize = 7;

impl From<Kind> for usize {
    fn from(kind: Kind) -> Self {
        kind as Self
    }
}

/// Says each kind of message once a minute and counts the others.
pub(crate) type Reporter = crate::diagnostics::Reporter<KINDS>;
