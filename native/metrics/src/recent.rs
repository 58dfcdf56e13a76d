//! The operations that were recorded last, and how many there were.
//!
//! Operations are bytes here: who records them knows what they mean.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

/// The name under which those are counted that come when there are as many
/// names as may be.
const OTHER: &[u8] = b"other";

/// A ring of the last operations, with a count for each name.
///
/// An operation takes a number and the lock of the slot that the number leads
/// to, which only a reader that copies this one slot, or a writer that is a
/// whole ring behind, can hold. Memory is bounded by the capacity, the most
/// bytes of an operation, and the most names.
#[derive(Debug)]
pub struct RecentOperations {
    next: AtomicU64,
    /// Operations of this number and below are forgotten.
    forgotten: AtomicU64,
    slots: Box<[Mutex<Slot>]>,
    max_bytes: usize,
    max_names: usize,
    counts: RwLock<HashMap<Box<[u8]>, AtomicU64>>,
    began: Mutex<Instant>,
}

/// Numbers begin at 1: an empty slot is one that is forgotten.
#[derive(Debug, Default)]
struct Slot {
    number: u64,
    bytes: Vec<u8>,
}

impl RecentOperations {
    /// A ring that keeps `capacity` operations of up to `max_bytes`, and counts
    /// up to `max_names` names.
    #[must_use]
    pub fn new(capacity: usize, max_bytes: usize, max_names: usize) -> Self {
        Self {
            next: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            slots: (0..capacity).map(|_| Mutex::default()).collect(),
            max_bytes,
            max_names,
            counts: RwLock::default(),
            began: Mutex::new(Instant::now()),
        }
    }

    /// Counts an operation, and keeps it as the latest. `false` if it has too
    /// many bytes; then nothing has changed.
    pub fn add(&self, name: &[u8], operation: &[u8]) -> bool {
        if operation.len() > self.max_bytes {
            return false;
        }
        self.count(name);
        let number = self.next.fetch_add(1, Relaxed) + 1;
        let Some(slot) = self.slots.get((number % self.slots.len().max(1) as u64) as usize) else {
            return false;
        };
        let mut slot = slot.lock();
        // A writer that was stopped for the time of a whole ring comes too late.
        if slot.number < number {
            slot.number = number;
            slot.bytes.clear();
            slot.bytes.extend_from_slice(operation);
        }
        true
    }

    fn count(&self, name: &[u8]) {
        if let Some(count) = self.counts.read().get(name) {
            count.fetch_add(1, Relaxed);
            return;
        }
        let mut counts = self.counts.write();
        let is_room = counts.len() < self.max_names || counts.contains_key(name);
        let name = if is_room { name } else { OTHER };
        counts.entry(name.into()).or_default().fetch_add(1, Relaxed);
    }

    /// The operations that are kept, the latest first.
    #[must_use]
    pub fn latest_first(&self) -> Vec<Vec<u8>> {
        let forgotten = self.forgotten.load(Relaxed);
        let mut kept: Vec<(u64, Vec<u8>)> = self
            .slots
            .iter()
            .filter_map(|slot| {
                let slot = slot.lock();
                (slot.number > forgotten).then(|| (slot.number, slot.bytes.clone()))
            })
            .collect();
        kept.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        kept.into_iter().map(|(_, bytes)| bytes).collect()
    }

    /// How many operations of each name there were, kept or not.
    #[must_use]
    pub fn counts(&self) -> Vec<(Vec<u8>, u64)> {
        let counts = self.counts.read();
        counts.iter().map(|(name, count)| (name.to_vec(), count.load(Relaxed))).collect()
    }

    /// Begins anew. What is recorded at the same time may be kept or not.
    pub fn forget(&self) {
        self.forgotten.store(self.next.load(Relaxed), Relaxed);
        self.counts.write().clear();
        *self.began.lock() = Instant::now();
    }

    /// Since when operations are counted.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.began.lock().elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn kept(recent: &RecentOperations) -> Vec<String> {
        recent.latest_first().into_iter().map(|b| String::from_utf8(b).unwrap()).collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let recent = RecentOperations::new(3, 8, 10);
        assert_eq!(kept(&recent), Vec::<String>::new());
        for text in ["a", "b", "c", "d", "e"] {
            assert!(recent.add(b"letter", text.as_bytes()));
        }
        assert_eq!(kept(&recent), ["e", "d", "c"]);
        assert_eq!(recent.counts(), [(b"letter".to_vec(), 5)]);
    }

    #[test]
    fn forgetting_begins_anew() {
        let recent = RecentOperations::new(3, 8, 10);
        recent.add(b"x", b"before");
        let began = *recent.began.lock();
        recent.forget();
        assert!(*recent.began.lock() >= began);
        assert_eq!(kept(&recent), Vec::<String>::new());
        assert_eq!(recent.counts(), []);
        recent.add(b"x", b"after");
        assert_eq!(kept(&recent), ["after"]);
        assert_eq!(recent.counts(), [(b"x".to_vec(), 1)]);
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let recent = RecentOperations::new(3, 4, 10);
        assert!(!recent.add(b"x", b"12345"));
        assert!(recent.add(b"x", b"1234"));
        assert_eq!(kept(&recent), ["1234"]);
        assert_eq!(recent.counts(), [(b"x".to_vec(), 1)]);
    }

    #[test]
    fn names_beyond_the_limit_count_as_other() {
        let recent = RecentOperations::new(10, 8, 2);
        for name in ["a", "b", "c", "d", "a"] {
            recent.add(name.as_bytes(), b"");
        }
        let mut counts = recent.counts();
        counts.sort();
        assert_eq!(counts, [(b"a".to_vec(), 2), (b"b".to_vec(), 1), (b"other".to_vec(), 2)]);
        assert_eq!(recent.latest_first().len(), 5);
    }

    #[test]
    fn threads_lose_nothing() {
        let recent = RecentOperations::new(100, 8, 10);
        let running = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4_u8)
                .map(|n| {
                    let recent = &recent;
                    scope.spawn(move || {
                        for _ in 0..10_000 {
                            assert!(recent.add(&[n], &[n; 8]));
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while running.load(Relaxed) {
                    let read = recent.latest_first();
                    assert!(read.len() <= 100);
                    // Nothing is torn.
                    for bytes in read {
                        assert!(bytes.len() == 8 && bytes.iter().all(|b| *b == bytes[0]));
                    }
                }
            });
            for writer in writers {
                writer.join().unwrap();
            }
            running.store(false, Relaxed);
        });
        assert_eq!(recent.latest_first().len(), 100);
        assert_eq!(recent.counts().iter().map(|(_, n)| n).sum::<u64>(), 40_000);
    }
}
