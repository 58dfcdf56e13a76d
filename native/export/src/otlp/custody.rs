//! Custody of records: whoever holds some has to say what became of them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use erlmcp_trace::Queue;

use super::signal::Signal;
use super::stats::{Counts, DropReason};

/// Where a signal's records are accounted for.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) signal: Signal,
    pub(crate) counts: Counts,
    /// Whose room they take; collected metrics take nobody's.
    pub(crate) queue: Option<Arc<Queue>>,
}

/// What became of records.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    /// A receiver has them, but for so many.
    Exported { rejected: u64 },
    /// The taps have them, and nobody else wants them.
    Kept,
    /// They are in the spool, which counts them.
    Spooled,
    /// They were given up.
    Dropped(DropReason),
}

impl Ledger {
    /// Notes what became of records that are in nobody's custody.
    pub(crate) fn settle(&self, records: u64, fate: Fate) {
        match fate {
            Fate::Exported { rejected } if self.signal == Signal::Metrics => {
                // What is refused here is data points, not metrics.
                self.counts.exported.fetch_add(records, Relaxed);
                self.counts.rejected_points.fetch_add(rejected, Relaxed);
            }
            Fate::Exported { rejected } => {
                let rejected = rejected.min(records);
                self.counts.exported.fetch_add(records - rejected, Relaxed);
                self.counts.dropped(DropReason::PartialSuccess, rejected);
            }
            Fate::Kept => {
                self.counts.kept.fetch_add(records, Relaxed);
            }
            Fate::Spooled => {}
            Fate::Dropped(reason) => self.counts.dropped(reason, records),
        }
    }
}

/// So many records, and the room they take in the queue. Dropped without a
/// word, by the end of the runtime, they count as given up at shutdown.
#[derive(Debug)]
pub(crate) struct Custody {
    ledger: Arc<Ledger>,
    records: u32,
    bytes: usize,
}

impl Custody {
    /// Takes records that have just left the queue or the collector.
    pub(crate) fn take(ledger: &Arc<Ledger>, records: u32, bytes: usize) -> Self {
        ledger.counts.taken.fetch_add(u64::from(records), Relaxed);
        ledger.counts.pending.fetch_add(u64::from(records), Relaxed);
        Self { ledger: Arc::clone(ledger), records, bytes }
    }

    pub(crate) const fn records(&self) -> u32 {
        self.records
    }

    /// Custody of some of them, which this one no longer has.
    pub(crate) fn split_off(&mut self, records: u32, bytes: usize) -> Self {
        let (records, bytes) = (records.min(self.records), bytes.min(self.bytes));
        self.records -= records;
        self.bytes -= bytes;
        Self { ledger: Arc::clone(&self.ledger), records, bytes }
    }

    /// Takes over another one of the same ledger.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.records += std::mem::take(&mut other.records);
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Ends it.
    pub(crate) fn settle(mut self, fate: Fate) {
        self.end(fate);
    }

    fn end(&mut self, fate: Fate) {
        let (records, bytes) = (std::mem::take(&mut self.records), std::mem::take(&mut self.bytes));
        if records > 0 {
            self.ledger.settle(u64::from(records), fate);
            self.ledger.counts.pending.fetch_sub(u64::from(records), Relaxed);
        }
        if let Some(queue) = &self.ledger.queue
            && (records > 0 || bytes > 0)
        {
            queue.release(records, bytes);
        }
    }
}

impl Drop for Custody {
    fn drop(&mut self) {
        self.end(Fate::Dropped(DropReason::Shutdown));
    }
}
