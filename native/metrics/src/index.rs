//! From a fingerprint to an entry, read without a lock.
//!
//! An open-addressing table in 64 shards. Writers hold the registry's lock;
//! readers hold nothing. A shard that fills up, or that has collected too many
//! removed slots, gets a new table, which takes the old one's place at once;
//! the old one is freed when its last reader has left. Making one shard anew
//! moves a 64th of the entries, so that no registration takes long.
//!
//! A slot is the entry's number plus one, with four bits of the fingerprint
//! above: most slots on the way to an entry are passed without looking at
//! theirs. What a reader finds it verifies against the entry.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use arc_swap::ArcSwap;

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
const FIRST_SLOTS: usize = 16;
const EMPTY: u32 = 0;
/// Never an entry: numbers have 28 bits, and the last one is not given out.
const REMOVED: u32 = u32::MAX;
const ENTRY_BITS: u32 = 28;
const ENTRY_MASK: u32 = (1 << ENTRY_BITS) - 1;

type Table = Box<[AtomicU32]>;

#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[Shard]>,
}

#[derive(Debug)]
struct Shard {
    table: ArcSwap<Table>,
    /// Slots that are not empty. Written under the registry's lock.
    used: AtomicU32,
    /// Slots that hold an entry. Written under the registry's lock.
    live: AtomicU32,
}

impl Index {
    pub(crate) fn new() -> Self {
        let shard = || Shard {
            table: ArcSwap::from_pointee(new_table(FIRST_SLOTS)),
            used: AtomicU32::new(0),
            live: AtomicU32::new(0),
        };
        Self { shards: (0..SHARDS).map(|_| shard()).collect() }
    }

    fn shard(&self, fingerprint: u128) -> Option<&Shard> {
        self.shards.get((fingerprint >> (128 - SHARD_BITS)) as usize)
    }

    /// The first entry under this fingerprint that `verify` accepts.
    pub(crate) fn find<T>(
        &self,
        fingerprint: u128,
        verify: impl Fn(u32) -> Option<T>,
    ) -> Option<T> {
        let table = self.shard(fingerprint)?.table.load();
        let wanted = tag(fingerprint);
        for slot in probes(&table, fingerprint) {
            // Acquire: pairs with the Release store in `place`, so that the
            // entry is seen as it was published.
            let held = slot.load(Acquire);
            if held == EMPTY {
                return None;
            }
            if held & !ENTRY_MASK == wanted
                && held != REMOVED
                && let Some(found) = verify((held & ENTRY_MASK) - 1)
            {
                return Some(found);
            }
        }
        None
    }

    /// Adds an entry. Callers hold the registry's lock. `fingerprint_of`
    /// tells the fingerprint of entries that are moved on the way.
    pub(crate) fn insert(
        &self,
        fingerprint: u128,
        entry: u32,
        fingerprint_of: impl Fn(u32) -> u128,
    ) {
        let Some(shard) = self.shard(fingerprint) else { return };
        let table = shard.table.load();
        let slots = table.len();
        if (shard.used.load(Relaxed) as usize + 1) * 8 > slots * 7 {
            let live = shard.live.load(Relaxed) as usize + 1;
            let larger = new_table(if live * 2 > slots { slots * 2 } else { slots });
            for held in entries(&table) {
                place(&larger, fingerprint_of(held), held);
            }
            shard.used.store(shard.live.load(Relaxed), Relaxed);
            shard.table.store(Arc::new(larger));
        }
        if place(&shard.table.load(), fingerprint, entry) {
            shard.used.fetch_add(1, Relaxed);
        }
        shard.live.fetch_add(1, Relaxed);
    }

    /// Takes an entry out. Callers hold the registry's lock.
    pub(crate) fn remove(&self, fingerprint: u128, entry: u32) {
        let Some(shard) = self.shard(fingerprint) else { return };
        let wanted = slot_value(fingerprint, entry);
        let table = shard.table.load();
        for slot in probes(&table, fingerprint) {
            match slot.load(Relaxed) {
                EMPTY => return,
                held if held == wanted => {
                    slot.store(REMOVED, Relaxed);
                    shard.live.fetch_sub(1, Relaxed);
                    return;
                }
                _ => {}
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.table.load().len() * size_of::<u32>()).sum()
    }
}

fn new_table(slots: usize) -> Table {
    bytemuck::zeroed_slice_box(slots)
}

#[allow(clippy::cast_possible_truncation)]
fn tag(fingerprint: u128) -> u32 {
    (fingerprint >> 96) as u32 & !ENTRY_MASK
}

fn slot_value(fingerprint: u128, entry: u32) -> u32 {
    tag(fingerprint) | (entry + 1)
}

/// The slots in the order in which a fingerprint is looked for.
#[allow(clippy::cast_possible_truncation)]
fn probes(table: &[AtomicU32], fingerprint: u128) -> impl Iterator<Item = &AtomicU32> {
    let start = (fingerprint as usize) & (table.len() - 1);
    let (before, after) = table.split_at(start.min(table.len()));
    after.iter().chain(before)
}

fn entries(table: &[AtomicU32]) -> impl Iterator<Item = u32> {
    let held = table.iter().map(|slot| slot.load(Relaxed));
    held.filter(|held| *held != EMPTY && *held != REMOVED).map(|held| (held & ENTRY_MASK) - 1)
}

/// Puts an entry into the first free slot; whether that was an empty one.
fn place(table: &[AtomicU32], fingerprint: u128, entry: u32) -> bool {
    for slot in probes(table, fingerprint) {
        let held = slot.load(Relaxed);
        if held == EMPTY || held == REMOVED {
            // Release: pairs with the Acquire load in `find`.
            slot.store(slot_value(fingerprint, entry), Release);
            return held == EMPTY;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn fingerprint(n: u32) -> u128 {
        let a = u64::from(n).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        u128::from(a ^ (a >> 31)) << 64 | u128::from(a ^ (a >> 29))
    }

    fn has(index: &Index, n: u32) -> bool {
        index.find(fingerprint(n), |entry| (entry == n).then_some(entry)) == Some(n)
    }

    #[test]
    fn finds_what_was_put_in_through_growth() {
        let index = Index::new();
        for n in 0..20_000 {
            index.insert(fingerprint(n), n, fingerprint);
        }
        assert!((0..20_000).all(|n| has(&index, n)));
        assert!(!has(&index, 20_000));
        assert!(index.bytes() < 20_000 * 12, "{} bytes", index.bytes());
    }

    #[test]
    fn churn_does_not_grow_it() {
        let index = Index::new();
        for n in 0..100_000_u32 {
            index.insert(fingerprint(n), n, fingerprint);
            if let Some(old) = n.checked_sub(100) {
                index.remove(fingerprint(old), old);
                assert!(!has(&index, old));
            }
            assert!(has(&index, n));
        }
        assert!(index.bytes() < 16 * 1024, "{} bytes", index.bytes());
    }

    #[test]
    fn the_last_entry_is_not_taken_for_a_removed_one() {
        let index = Index::new();
        let last = ENTRY_MASK - 2;
        let all_tags = u128::MAX;
        index.insert(all_tags, last, |_| all_tags);
        assert_eq!(index.find(all_tags, Some), Some(last));
        index.remove(all_tags, last);
        assert_eq!(index.find(all_tags, Some), None);
    }

    #[test]
    fn a_present_entry_is_never_denied_while_others_come_and_go() {
        let index = Index::new();
        for n in 0..64 {
            index.insert(fingerprint(n), n, fingerprint);
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 64..200_000_u32 {
                    index.insert(fingerprint(n), n, fingerprint);
                    index.remove(fingerprint(n), n);
                }
                done.store(true, Relaxed);
            });
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    assert!((0..64).all(|n| has(&index, n)));
                }
            });
        });
    }
}
