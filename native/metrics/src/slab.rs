//! What one thread has recorded.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::exponential::ExponentialValue;
use crate::series::{HandleHash, SeriesId};
use crate::words::Words;

/// The cells of one thread, and its part of each exponential histogram.
#[derive(Debug)]
pub(crate) struct Slab {
    pub(crate) cells: Words<1>,
    /// Buckets that move as the scale is lowered cannot be read while they are
    /// written, so these have a lock. It is this thread's own: what it may
    /// have to wait for is a reader that copies one series.
    exponentials: Mutex<HashMap<SeriesId, ExponentialValue, HandleHash>>,
}

impl Slab {
    pub(crate) fn new() -> Self {
        Self { cells: Words::new(), exponentials: Mutex::default() }
    }

    /// Changes this thread's part of an exponential histogram; `new` makes it.
    /// `None` if the series is not live: that is asked under the lock, which
    /// [`Self::forget`] takes after the series' end.
    pub(crate) fn update_exponential(
        &self,
        id: SeriesId,
        is_live: impl FnOnce() -> bool,
        new: impl FnOnce() -> ExponentialValue,
        change: impl FnOnce(&mut ExponentialValue),
    ) -> Option<()> {
        let mut exponentials = self.exponentials.lock();
        if !is_live() {
            return None;
        }
        change(exponentials.entry(id).or_insert_with(new));
        Some(())
    }

    /// Reads this thread's part of an exponential histogram, if it has one.
    pub(crate) fn read_exponential(&self, id: SeriesId, read: impl FnOnce(&ExponentialValue)) {
        if let Some(part) = self.exponentials.lock().get(&id) {
            read(part);
        }
    }

    /// Frees this thread's part of an exponential histogram. To be called once
    /// the handle is not live.
    pub(crate) fn forget(&self, id: SeriesId) {
        self.exponentials.lock().remove(&id);
    }

    pub(crate) fn bytes_below(&self, end: u32) -> usize {
        let parts = self.exponentials.lock();
        self.cells.bytes_below(end) + parts.values().map(ExponentialValue::bytes).sum::<usize>()
    }
}
