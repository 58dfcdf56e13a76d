//! Slots for cells and entries, with a quarantine before one is used again.
//!
//! A recording thread checks the handle, then writes the cell: two steps
//! without a lock. Between them the series may be removed. A freed slot
//! therefore rests before it serves another series, far longer than a thread
//! can stand between the two steps; then it is zeroed and given out.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::words::{Address, fit};

/// How long a freed slot rests.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(60);

/// Gives out runs of slots. Slot 0 is never given out: its address, 0, means
/// "none".
#[derive(Debug)]
pub(crate) struct Slots {
    next: u32,
    end: u32,
    quarantine: Duration,
    freed: HashMap<u32, VecDeque<(Instant, u32)>>,
}

/// A run of slots that was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Never used before: its cells are zero.
    Fresh(Address),
    /// Used before: its cells have to be zeroed.
    Used(Address),
}

impl Slots {
    pub(crate) fn new(end: u32, quarantine: Duration) -> Self {
        Self { next: 1, end, quarantine, freed: HashMap::new() }
    }

    /// A run of `count` slots, or nothing when all are in use.
    pub(crate) fn take(&mut self, count: u32) -> Option<Taken> {
        if let Some(freed) = self.freed.get_mut(&count)
            && let Some((since, slot)) = freed.front().copied()
            && since.elapsed() >= self.quarantine
        {
            freed.pop_front();
            return Some(Taken::Used(Address::of(slot)));
        }
        let slot = fit(self.next, count)?;
        let next = slot.checked_add(count).filter(|next| *next <= self.end)?;
        self.next = next;
        Some(Taken::Fresh(Address::of(slot)))
    }

    /// Gives a run back.
    pub(crate) fn free(&mut self, first: Address, count: u32) {
        self.freed.entry(count).or_default().push_back((Instant::now(), first.index()));
    }

    /// One past the highest slot that was ever given out.
    pub(crate) fn high_water(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_slot_rests() {
        let mut slots = Slots::new(100, QUARANTINE);
        assert_eq!(slots.take(1), Some(Taken::Fresh(Address::of(1))));
        slots.free(Address::of(1), 1);
        assert_eq!(slots.take(1), Some(Taken::Fresh(Address::of(2))));

        let mut slots = Slots::new(100, Duration::ZERO);
        assert_eq!(slots.take(3), Some(Taken::Fresh(Address::of(1))));
        slots.free(Address::of(1), 3);
        assert_eq!(slots.take(2), Some(Taken::Fresh(Address::of(4))));
        assert_eq!(slots.take(3), Some(Taken::Used(Address::of(1))));
    }

    #[test]
    fn the_end_is_the_end() {
        let mut slots = Slots::new(4, QUARANTINE);
        assert_eq!(slots.take(3), Some(Taken::Fresh(Address::of(1))));
        assert_eq!(slots.take(1), None);
    }
}
