//! From a series' fingerprint to its entry, read without a lock.
//!
//! An open-addressing table of entry indices in 64 shards. Writers hold the
//! registry's lock; readers hold nothing. A shard grows into a table of twice
//! the size, and the old one stays where it is for readers who still walk it:
//! all old tables together are as large as the current one. Growing one shard
//! moves a 64th of the series, so that no registration takes long.
//!
//! What a reader finds it verifies against the entry, so a stale slot is
//! harmless. A reader who finds nothing can rely on it only if no rebuild was
//! going on: see [`Found::Unsure`].

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, fence};

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
const FIRST_BITS: u32 = 4;
const LEVELS: usize = 25;
const EMPTY: u32 = 0;
const REMOVED: u32 = u32::MAX;

/// Answer to a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<T> {
    /// There it is.
    Yes(T),
    /// It was not there when the look-up began.
    No,
    /// The shard was being rebuilt: ask again under the lock.
    Unsure,
}

#[derive(Debug)]
pub(crate) struct Index {
    shards: Box<[Shard]>,
}

#[derive(Debug)]
struct Shard {
    tables: [OnceLock<Box<[AtomicU32]>>; LEVELS],
    level: AtomicU32,
    /// Odd while the current table is rebuilt in place.
    version: AtomicU32,
    /// Slots in use, the removed ones included. Written under the lock.
    used: AtomicU32,
    live: AtomicU32,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::new()).collect() }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn shard(&self, fingerprint: u128) -> Option<&Shard> {
        self.shards.get((fingerprint >> (128 - SHARD_BITS)) as usize)
    }

    /// The first entry under this fingerprint that `verify` accepts.
    pub(crate) fn find<T>(
        &self,
        fingerprint: u128,
        verify: impl Fn(u32) -> Option<T>,
    ) -> Found<T> {
        self.shard(fingerprint).map_or(Found::No, |shard| shard.find(fingerprint, verify))
    }

    /// Adds an entry. Callers hold the registry's lock. `fingerprint_of`
    /// tells the fingerprint of entries that are moved on the way.
    pub(crate) fn insert(&self, fingerprint: u128, entry: u32, fingerprint_of: impl Fn(u32) -> u128) {
        if let Some(shard) = self.shard(fingerprint) {
            shard.insert(fingerprint, entry, fingerprint_of);
        }
    }

    /// Takes an entry out. Callers hold the registry's lock.
    pub(crate) fn remove(&self, fingerprint: u128, entry: u32) {
        if let Some(shard) = self.shard(fingerprint) {
            shard.remove(fingerprint, entry);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let slots: usize = self
            .shards
            .iter()
            .flat_map(|shard| &shard.tables)
            .filter_map(|table| table.get())
            .map(|table| table.len())
            .sum();
        slots * size_of::<u32>()
    }
}

impl Shard {
    fn new() -> Self {
        let shard = Self {
            tables: [const { OnceLock::new() }; LEVELS],
            level: AtomicU32::new(0),
            version: AtomicU32::new(0),
            used: AtomicU32::new(0),
            live: AtomicU32::new(0),
        };
        shard.table(0);
        shard
    }

    /// The table of a level, made if missing. Callers but `new` hold the lock.
    fn table(&self, level: u32) -> Option<&[AtomicU32]> {
        let table = self.tables.get(level as usize)?;
        let slots = 1_usize << (FIRST_BITS + level);
        Some(table.get_or_init(|| bytemuck::zeroed_slice_box(slots)))
    }

    fn find<T>(&self, fingerprint: u128, verify: impl Fn(u32) -> Option<T>) -> Found<T> {
        let version = self.version.load(Acquire);
        // Acquire: pairs with the Release store in `grow`, so that the table
        // is seen filled.
        let level = self.level.load(Acquire) as usize;
        let Some(table) = self.tables.get(level).and_then(OnceLock::get) else {
            return Found::Unsure;
        };
        for slot in probes(table, fingerprint) {
            // Acquire: pairs with the Release store in `place`, so that the
            // entry is seen as it was published.
            match slot.load(Acquire) {
                EMPTY => break,
                REMOVED => {}
                entry => {
                    if let Some(found) = verify(entry - 1) {
                        return Found::Yes(found);
                    }
                }
            }
        }
        // Pairs with the fence in `rebuild`: if a slot was seen while it was
        // emptied, the version read now is another.
        fence(Acquire);
        if version % 2 == 1 || self.version.load(Relaxed) != version {
            return Found::Unsure;
        }
        Found::No
    }

    fn insert(&self, fingerprint: u128, entry: u32, fingerprint_of: impl Fn(u32) -> u128) {
        let level = self.level.load(Relaxed);
        let slots = 1_u32 << (FIRST_BITS + level);
        let used = self.used.load(Relaxed) + 1;
        let live = self.live.load(Relaxed) + 1;
        if used > slots / 8 * 6 {
            if live > slots / 2 {
                self.grow(level, fingerprint_of);
            } else {
                self.rebuild(level, fingerprint_of);
            }
        }
        if let Some(table) = self.table(self.level.load(Relaxed)) {
            if place(table, fingerprint, entry) {
                self.used.fetch_add(1, Relaxed);
            }
            self.live.fetch_add(1, Relaxed);
        }
    }

    fn remove(&self, fingerprint: u128, entry: u32) {
        let Some(table) = self.table(self.level.load(Relaxed)) else { return };
        for slot in probes(table, fingerprint) {
            match slot.load(Relaxed) {
                EMPTY => return,
                found if found == entry + 1 => {
                    slot.store(REMOVED, Relaxed);
                    self.live.fetch_sub(1, Relaxed);
                    return;
                }
                _ => {}
            }
        }
    }

    fn grow(&self, level: u32, fingerprint_of: impl Fn(u32) -> u128) {
        let (Some(old), Some(new)) = (self.table(level), self.table(level + 1)) else { return };
        let mut moved = 0;
        for entry in entries(old) {
            place(new, fingerprint_of(entry), entry);
            moved += 1;
        }
        self.used.store(moved, Relaxed);
        // Release: pairs with the Acquire load in `find`.
        self.level.store(level + 1, Release);
    }

    /// Puts the live entries anew, without the removed ones between them.
    fn rebuild(&self, level: u32, fingerprint_of: impl Fn(u32) -> u128) {
        let Some(table) = self.table(level) else { return };
        let kept: Vec<u32> = entries(table).collect();
        self.version.fetch_add(1, Relaxed);
        // Pairs with the fence in `find`.
        fence(Release);
        for slot in table {
            slot.store(EMPTY, Relaxed);
        }
        for entry in &kept {
            place(table, fingerprint_of(*entry), *entry);
        }
        self.used.store(u32::try_from(kept.len()).unwrap_or(u32::MAX), Relaxed);
        // Release: whoever sees the even version sees the whole table.
        self.version.fetch_add(1, Release);
    }
}

/// The slots in the order in which a fingerprint is looked for.
#[allow(clippy::cast_possible_truncation)]
fn probes(table: &[AtomicU32], fingerprint: u128) -> impl Iterator<Item = &AtomicU32> {
    let start = (fingerprint as usize) & (table.len() - 1);
    let (before, after) = table.split_at(start.min(table.len()));
    after.iter().chain(before)
}

fn entries(table: &[AtomicU32]) -> impl Iterator<Item = u32> {
    table.iter().map(|slot| slot.load(Relaxed)).filter(|e| *e != EMPTY && *e != REMOVED).map(|e| e - 1)
}

/// Puts an entry into the first free slot; whether that was an empty one.
fn place(table: &[AtomicU32], fingerprint: u128, entry: u32) -> bool {
    for slot in probes(table, fingerprint) {
        let found = slot.load(Relaxed);
        if found == EMPTY || found == REMOVED {
            // Release: pairs with the Acquire load in `find`.
            slot.store(entry + 1, Release);
            return found == EMPTY;
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
        u128::from(a.rotate_left(31)) << 64 | u128::from(a ^ (a >> 29))
    }

    fn has(index: &Index, n: u32) -> Found<u32> {
        index.find(fingerprint(n), |entry| (entry == n).then_some(entry))
    }

    #[test]
    fn finds_what_was_put_in_through_growth() {
        let index = Index::new();
        for n in 0..20_000 {
            index.insert(fingerprint(n), n, fingerprint);
        }
        for n in 0..20_000 {
            assert_eq!(has(&index, n), Found::Yes(n));
        }
        assert_eq!(has(&index, 20_000), Found::No);
    }

    #[test]
    fn churn_does_not_grow_it() {
        let index = Index::new();
        for n in 0..100_000_u32 {
            index.insert(fingerprint(n), n, fingerprint);
            if let Some(old) = n.checked_sub(100) {
                index.remove(fingerprint(old), old);
                assert_eq!(has(&index, old), Found::No);
            }
            assert_eq!(has(&index, n), Found::Yes(n));
        }
        assert!(index.bytes() < 64 * 1024, "{} bytes", index.bytes());
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
                    for n in 0..64 {
                        assert_ne!(has(&index, n), Found::No);
                    }
                }
            });
        });
    }
}
