//! What the exporter counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::signal::{PerSignal, Signal};

/// Why records were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// One record is larger than a request may be.
    TooLarge,
    /// The receiver refused them for good.
    Rejected,
    /// The receiver took the request and refused some of its records.
    PartialSuccess,
    /// The time for retrying was over.
    RetriesExhausted,
    /// The exporter ended before they could be sent.
    Shutdown,
    /// The spool had no room.
    SpoolFull,
    /// The spool could not write them, or read them back.
    SpoolError,
    /// The signal goes nowhere: there is neither a receiver nor a tap.
    NoEndpoint,
}

impl DropReason {
    /// Every reason, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::TooLarge,
        Self::Rejected,
        Self::PartialSuccess,
        Self::RetriesExhausted,
        Self::Shutdown,
        Self::SpoolFull,
        Self::SpoolError,
        Self::NoEndpoint,
    ];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Rejected => "rejected",
            Self::PartialSuccess => "partial_success",
            Self::RetriesExhausted => "retries_exhausted",
            Self::Shutdown => "shutdown",
            Self::SpoolFull => "spool_full",
            Self::SpoolError => "spool_error",
            Self::NoEndpoint => "no_endpoint",
        }
    }
}

/// How a request to a receiver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// All of it was taken.
    Success,
    /// Some of its records were refused.
    PartialSuccess,
    /// It was not taken this time: no connection, no answer in time, or an
    /// answer that asks for another attempt.
    Retryable,
    /// It was refused for good.
    Rejected,
    /// It was too large for the receiver.
    TooLarge,
}

impl RequestOutcome {
    /// Every outcome, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Success, Self::PartialSuccess, Self::Retryable, Self::Rejected, Self::TooLarge];

    /// The value of the label `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::PartialSuccess => "partial_success",
            Self::Retryable => "retryable",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
        }
    }
}

/// Counts since the start of the exporter, and what there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExporterStats {
    /// What each signal has seen.
    pub signals: PerSignal<SignalStats>,
    /// Bytes in the spool now, files that were set aside included.
    pub spool_bytes: u64,
    /// Most bytes that may be in the spool; 0 without one.
    pub spool_capacity_bytes: u64,
    /// Times that metrics were not collected because those collected before
    /// were still under way. Nothing is lost by it: the next collection covers
    /// the time.
    pub collections_skipped: u64,
}

impl ExporterStats {
    /// These counts and those of an exporter that has ended before. What there
    /// is now is this one's.
    #[must_use]
    pub fn after(mut self, ended: &Self) -> Self {
        for signal in Signal::ALL {
            self.signals.get_mut(signal).add_counts(ended.signals.get(signal));
        }
        self.collections_skipped += ended.collections_skipped;
        self
    }
}

impl SignalStats {
    fn add_counts(&mut self, ended: &Self) {
        self.taken += ended.taken;
        self.recovered += ended.recovered;
        self.exported += ended.exported;
        self.kept += ended.kept;
        self.rejected_points += ended.rejected_points;
        self.exported_bytes += ended.exported_bytes;
        self.retries += ended.retries;
        self.dropped.0.iter_mut().zip(ended.dropped.0).for_each(|(sum, n)| *sum += n);
        self.requests.0.iter_mut().zip(ended.requests.0).for_each(|(sum, n)| *sum += n);
    }
}

/// What a signal has seen. Whenever nothing is being handed over just then,
/// `taken + recovered = exported + kept + sum(dropped) + pending + spooled`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignalStats {
    /// Records taken from the queue, or collected.
    pub taken: u64,
    /// Records found in the spool at the start.
    pub recovered: u64,
    /// Records that a receiver has.
    pub exported: u64,
    /// Records of a signal without receiver that the taps have seen.
    pub kept: u64,
    /// Records given up, by reason.
    pub dropped: Dropped,
    /// Records taken and not yet exported, given up or spooled.
    pub pending: u64,
    /// Records in the spool.
    pub spooled: u64,
    /// Data points that receivers refused in requests that they took. The
    /// metrics they belong to count as exported.
    pub rejected_points: u64,
    /// Requests, by outcome.
    pub requests: Requests,
    /// Bytes of requests that a receiver has, before compression.
    pub exported_bytes: u64,
    /// Attempts after the first of a request.
    pub retries: u64,
    /// Requests waiting for their answer.
    pub in_flight: u64,
}

/// Records given up, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped([u64; DropReason::ALL.len()]);

impl Dropped {
    /// For this reason.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// For any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Requests, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests([u64; RequestOutcome::ALL.len()]);

impl Requests {
    /// With this outcome.
    #[must_use]
    pub fn get(&self, outcome: RequestOutcome) -> u64 {
        self.0.get(outcome as usize).copied().unwrap_or(0)
    }
}

/// The counts of a signal while they grow.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) taken: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) exported: AtomicU64,
    pub(crate) kept: AtomicU64,
    pub(crate) pending: AtomicU64,
    pub(crate) rejected_points: AtomicU64,
    pub(crate) exported_bytes: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) collections_skipped: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    requests: [AtomicU64; RequestOutcome::ALL.len()],
}

impl Counts {
    pub(crate) fn dropped(&self, reason: DropReason, records: u64) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.fetch_add(records, Relaxed);
        }
    }

    pub(crate) fn request(&self, outcome: RequestOutcome) {
        if let Some(count) = self.requests.get(outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// What they are now, with the records in the spool.
    pub(crate) fn stats(&self, spooled: u64) -> SignalStats {
        SignalStats {
            taken: self.taken.load(Relaxed),
            recovered: self.recovered.load(Relaxed),
            exported: self.exported.load(Relaxed),
            kept: self.kept.load(Relaxed),
            dropped: Dropped(self.dropped.each_ref().map(|count| count.load(Relaxed))),
            pending: self.pending.load(Relaxed),
            spooled,
            rejected_points: self.rejected_points.load(Relaxed),
            requests: Requests(self.requests.each_ref().map(|count| count.load(Relaxed))),
            exported_bytes: self.exported_bytes.load(Relaxed),
            retries: self.retries.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
        }
    }
}
