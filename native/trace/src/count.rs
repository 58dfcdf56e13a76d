//! What became of spans, counted by each thread for itself.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Spans since the start.
///
/// `recorded` = `ended` + `open`. `ended` = accepted and refused by the queue
/// + `tail_full` + those of `sampled_out` that the tail rule let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanStats {
    /// Spans that were started and are or were recorded.
    pub recorded: u64,
    /// Recorded spans that have ended.
    pub ended: u64,
    /// Recorded spans that are open.
    pub open: u64,
    /// Spans that the sampler or, at their end, the tail rule left out.
    pub sampled_out: u64,
    /// Spans that were not recorded because too many are open.
    pub too_many_open: u64,
    /// Spans that found no room to wait for their local root.
    pub tail_full: u64,
    /// Processes that have started spans and live.
    pub owners: u64,
}

/// One thread's counts: one writer, any readers.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counts {
    recorded: AtomicU64,
    ended: AtomicU64,
    sampled_out: AtomicU64,
    too_many_open: AtomicU64,
    tail_full: AtomicU64,
}

#[inline(always)]
fn add(count: &AtomicU64, n: u64) {
    count.store(count.load(Relaxed) + n, Relaxed);
}

impl Counts {
    #[inline]
    pub(crate) fn recorded(&self) {
        add(&self.recorded, 1);
    }

    #[inline]
    pub(crate) fn ended(&self) {
        add(&self.ended, 1);
    }

    #[inline]
    pub(crate) fn sampled_out(&self, n: u64) {
        add(&self.sampled_out, n);
    }

    pub(crate) fn too_many_open(&self) {
        add(&self.too_many_open, 1);
    }

    pub(crate) fn tail_full(&self) {
        add(&self.tail_full, 1);
    }

    /// The counts of ends are read before those of starts, so that no more
    /// spans seem to have ended than were started.
    pub(crate) fn add_to(&self, stats: &mut SpanStats) {
        stats.ended += self.ended.load(Relaxed);
        stats.sampled_out += self.sampled_out.load(Relaxed);
        stats.too_many_open += self.too_many_open.load(Relaxed);
        stats.tail_full += self.tail_full.load(Relaxed);
        stats.recorded += self.recorded.load(Relaxed);
    }
}
