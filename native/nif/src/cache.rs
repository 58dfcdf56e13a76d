//! From a name term and a label term to a series, for one thread.
//!
//! Two steps. A direct-mapped array of hints is addressed by the two words
//! themselves: for literals, atoms and terms built again at the same address
//! it guesses right. Otherwise a table is addressed by the terms' hashes. In
//! both, an entry counts only after the terms it was made for are found to be
//! `=:=` to the given ones, and what it leads to is checked by the recorder
//! like every handle.

use erlmcp_metrics::{Kind, SeriesId};

use crate::raw::{RawTerm, TermStore};

const HINTS: usize = 1 << 12;
const SLOTS: usize = 1 << 13;
/// Entries before the cache starts anew: half of the table.
const MAX_ENTRIES: usize = SLOTS / 2;

/// A cached way from terms to a series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cached {
    name: RawTerm,
    labels: RawTerm,
    hash: u64,
    pub(crate) id: SeriesId,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) struct SeriesCache {
    store: TermStore,
    entries: Vec<Cached>,
    /// Numbers of entries; a wrong one is found out.
    hints: Box<[u16; HINTS]>,
    /// Numbers of entries plus one, 0 for an empty slot.
    slots: Box<[u16; SLOTS]>,
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation)]
fn hint_index(name: RawTerm, labels: RawTerm) -> usize {
    let mixed = (name.word() as u64).rotate_left(23) ^ labels.word() as u64;
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - HINTS.trailing_zeros())) as usize
}

#[inline(always)]
fn hash_of(name: RawTerm, labels: RawTerm) -> u64 {
    labels.hash(name.hash(0)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl SeriesCache {
    pub(crate) fn new() -> Self {
        Self {
            store: TermStore::new(),
            entries: Vec::new(),
            hints: Box::new([0; HINTS]),
            slots: Box::new([0; SLOTS]),
        }
    }

    /// The entry that the words hint at, if it is for these terms.
    #[inline(always)]
    pub(crate) fn hinted(&self, name: RawTerm, labels: RawTerm) -> Option<Cached> {
        let hint = *self.hints.get(hint_index(name, labels))?;
        let cached = self.entries.get(usize::from(hint))?;
        (name.is_identical(cached.name) && labels.is_identical(cached.labels)).then_some(*cached)
    }

    /// The entry under the terms' hash; hints at it from now on.
    pub(crate) fn find(&mut self, name: RawTerm, labels: RawTerm) -> Option<Cached> {
        let number = self.number(name, labels, hash_of(name, labels))?;
        self.hint(name, labels, number);
        self.entries.get(usize::from(number)).copied()
    }

    /// Remembers where these terms lead. `copy` makes copies of name and
    /// labels in the store, which are `=:=` to them.
    pub(crate) fn insert(
        &mut self,
        name: RawTerm,
        labels: RawTerm,
        id: SeriesId,
        kind: Kind,
        copy: impl FnOnce(&mut TermStore) -> Option<(RawTerm, RawTerm)>,
    ) {
        let hash = hash_of(name, labels);
        // Known terms whose series was removed and registered anew.
        if let Some(number) = self.number(name, labels, hash) {
            if let Some(cached) = self.entries.get_mut(usize::from(number)) {
                cached.id = id;
                cached.kind = kind;
            }
            return;
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.clear();
            self.slots.fill(0);
            self.store.clear();
        }
        let Ok(number) = u16::try_from(self.entries.len()) else { return };
        let Some((name_copy, labels_copy)) = copy(&mut self.store) else { return };
        self.entries.push(Cached { name: name_copy, labels: labels_copy, hash, id, kind });
        let (before, after) = self.slots.split_at_mut(slot_index(hash));
        if let Some(slot) = after.iter_mut().chain(before).find(|slot| **slot == 0) {
            *slot = number + 1;
        }
        self.hint(name, labels, number);
    }

    fn hint(&mut self, name: RawTerm, labels: RawTerm, number: u16) {
        if let Some(hint) = self.hints.get_mut(hint_index(name, labels)) {
            *hint = number;
        }
    }

    fn number(&self, name: RawTerm, labels: RawTerm, hash: u64) -> Option<u16> {
        let (before, after) = self.slots.split_at(slot_index(hash));
        for slot in after.iter().chain(before) {
            let number = slot.checked_sub(1)?;
            let cached = self.entries.get(usize::from(number))?;
            if cached.hash == hash
                && name.is_identical(cached.name)
                && labels.is_identical(cached.labels)
            {
                return Some(number);
            }
        }
        None
    }
}

#[allow(clippy::cast_possible_truncation)]
fn slot_index(hash: u64) -> usize {
    (hash >> (64 - SLOTS.trailing_zeros())) as usize
}
