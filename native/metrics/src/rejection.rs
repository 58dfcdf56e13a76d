//! Why a recording was refused, as a label value.

/// Reason of a refused recording: the label `reason` of
/// `erlmcp_metrics_rejected_samples_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Rejection {
    /// The name is not text, empty, too long, or without a letter.
    BadName,
    /// The labels are not a map, or a label cannot be one.
    BadLabels,
    /// The value is not a number that this kind of metric takes.
    BadValue,
    /// The name belongs to a metric of another kind.
    KindConflict,
    /// A counter was to go down.
    NegativeIncrement,
    /// The number is not the handle of a live series.
    UnknownSeries,
    /// The node has as many metrics as it may have.
    MetricsLimit,
    /// As many connections, sessions and subscriptions as may be are open.
    TooManyOpen,
    /// Something broke inside the library.
    Internal,
}

impl Rejection {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::BadName,
        Self::BadLabels,
        Self::BadValue,
        Self::KindConflict,
        Self::NegativeIncrement,
        Self::UnknownSeries,
        Self::MetricsLimit,
        Self::TooManyOpen,
        Self::Internal,
    ];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadName => "bad_name",
            Self::BadLabels => "bad_labels",
            Self::BadValue => "bad_value",
            Self::KindConflict => "kind_conflict",
            Self::NegativeIncrement => "negative_increment",
            Self::UnknownSeries => "unknown_series",
            Self::MetricsLimit => "metrics_limit",
            Self::TooManyOpen => "too_many_open",
            Self::Internal => "internal",
        }
    }
}
