//! What becomes of a call that cannot be carried out: an error for the
//! caller, a count, and now and then a line in the log.

use std::time::Instant;

use erlmcp_metrics::{BindError, DeclareError, LogLimiter, RecordError, Rejection};

use crate::raw::{CallEnv, RawTerm};
use crate::state::registry;

/// Why a call was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The tag of the error, and the label of the count.
    pub(crate) reason: Rejection,
    /// The tag where it says more than the reason does.
    pub(crate) tag: &'static str,
    /// A sentence for a person.
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(reason: Rejection, text: impl Into<String>) -> Self {
        Self { reason, tag: reason.as_str(), text: text.into() }
    }

    pub(crate) fn record(error: RecordError) -> Self {
        let reason = match error {
            RecordError::UnknownSeries => Rejection::UnknownSeries,
            RecordError::Negative => Rejection::NegativeIncrement,
            RecordError::NotFinite => Rejection::BadValue,
            RecordError::WrongKind { .. } => Rejection::KindConflict,
        };
        Self::new(reason, error.to_string())
    }

    pub(crate) fn declare(error: &DeclareError) -> Self {
        let (reason, tag) = match error {
            DeclareError::KindConflict { .. } => (Rejection::KindConflict, "kind_conflict"),
            DeclareError::NameTaken { .. } => (Rejection::KindConflict, "name_taken"),
            DeclareError::BucketsDiffer { .. } => (Rejection::KindConflict, "buckets_differ"),
            DeclareError::MetricsLimit { .. } => (Rejection::MetricsLimit, "metrics_limit"),
        };
        Self { reason, tag, text: error.to_string() }
    }

    pub(crate) fn bind(error: &BindError) -> Self {
        match error {
            BindError::Declare(error) => Self::declare(error),
            BindError::ReservedLabel => Self::new(Rejection::BadLabels, error.to_string()),
            BindError::Full => Self::new(Rejection::Internal, error.to_string()),
        }
    }

    /// `{error, {Tag, Text}}`.
    pub(crate) fn to_term(&self, env: CallEnv<'_>) -> RawTerm {
        let reason = env.tuple(&[env.atom(self.tag), env.binary(self.text.as_bytes())]);
        env.tuple(&[env.atom("error"), reason])
    }

    /// The error of a refused recording: counted, and told to the process
    /// `erlmcp_metrics`, which logs it, at most once a minute for each name.
    pub(crate) fn rejected(&self, env: CallEnv<'_>, name: &str) -> RawTerm {
        registry().reject(self.reason);
        if LOGGED.may_log(name, now_seconds())
            && let Some(logger) = env.whereis(env.atom("erlmcp_metrics"))
        {
            let message = [
                env.atom("erlmcp_rejected"),
                env.binary(name.as_bytes()),
                env.atom(self.tag),
                env.binary(self.text.as_bytes()),
            ];
            env.send(logger, env.tuple(&message));
        }
        self.to_term(env)
    }
}

static LOGGED: LogLimiter = LogLimiter::new();

/// Seconds since the library was first asked.
fn now_seconds() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs()
}
