//! From a name term and a label term to a series, for one thread.
//!
//! Two steps. A direct-mapped array of hints is addressed by the two words
//! themselves: for literals, atoms and terms built again at the same address
//! it guesses right. Otherwise a table is addressed by the terms' hashes. In
//! both, an entry counts only after the terms it was made for are found to be
//! `=:=` to the given ones, and what it leads to is checked by the recorder
//! like every handle.

use std::cell::{Cell, RefCell};

use erlmcp_metrics::{Kind, SeriesId};

use crate::raw::{RawTerm, TermStore};

const HINTS: usize = 1 << 12;
const SLOTS: usize = 1 << 13;
/// Entries before the cache starts anew: half of the table.
const MAX_ENTRIES: usize = SLOTS / 2;

/// Where a cached way leads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cached {
    pub(crate) id: SeriesId,
    pub(crate) kind: Kind,
}

/// A cached way from terms to a series. In cells of their own, so that a
/// look-up reads what it compares and no more.
#[derive(Debug)]
struct Entry {
    /// The word 0, which is no term, as long as the entry is empty.
    name: Cell<RawTerm>,
    labels: Cell<RawTerm>,
    id: Cell<SeriesId>,
    /// The upper half of the terms' hash.
    hash: Cell<u32>,
    kind: Cell<Kind>,
}

impl Entry {
    fn empty() -> Self {
        let none = RawTerm::from_word(0);
        Self {
            name: Cell::new(none),
            labels: Cell::new(none),
            id: Cell::new(SeriesId::from_raw(0)),
            hash: Cell::new(0),
            kind: Cell::new(Kind::Counter),
        }
    }

    /// Where it leads, if it is for these terms.
    #[inline(always)]
    fn leads(&self, name: RawTerm, labels: RawTerm) -> Option<Cached> {
        let known = self.name.get();
        (known.word() != 0 && name.is_identical(known) && labels.is_identical(self.labels.get()))
            .then(|| Cached { id: self.id.get(), kind: self.kind.get() })
    }
}

#[derive(Debug)]
pub(crate) struct SeriesCache {
    /// Numbers of entries; a wrong one is found out.
    hints: Box<[Cell<u16>]>,
    entries: Box<[Entry]>,
    table: RefCell<Table>,
}

#[derive(Debug)]
struct Table {
    store: TermStore,
    used: u16,
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
            hints: (0..HINTS).map(|_| Cell::new(0)).collect(),
            entries: (0..MAX_ENTRIES).map(|_| Entry::empty()).collect(),
            table: RefCell::new(Table {
                store: TermStore::new(),
                used: 0,
                slots: Box::new([0; SLOTS]),
            }),
        }
    }

    /// The entry that the words hint at, if it is for these terms.
    #[inline(always)]
    pub(crate) fn hinted(&self, name: RawTerm, labels: RawTerm) -> Option<Cached> {
        let hint = self.hints.get(hint_index(name, labels))?.get();
        self.entries.get(usize::from(hint))?.leads(name, labels)
    }

    /// The entry under the terms' hash; hints at it from now on.
    pub(crate) fn find(&self, name: RawTerm, labels: RawTerm) -> Option<Cached> {
        let hash = hash_of(name, labels);
        let (number, _, cached) = self.look_up(&self.table.borrow(), name, labels, hash)?;
        self.hint(name, labels, number);
        Some(cached)
    }

    /// Remembers where these terms lead. `copy` makes copies of name and
    /// labels in the store, which are `=:=` to them.
    pub(crate) fn insert(
        &self,
        name: RawTerm,
        labels: RawTerm,
        id: SeriesId,
        kind: Kind,
        copy: impl FnOnce(&mut TermStore) -> Option<(RawTerm, RawTerm)>,
    ) {
        let hash = hash_of(name, labels);
        let mut table = self.table.borrow_mut();
        // Known terms whose series was removed and registered anew.
        if let Some((_, entry, _)) = self.look_up(&table, name, labels, hash) {
            entry.id.set(id);
            entry.kind.set(kind);
            return;
        }
        if usize::from(table.used) >= MAX_ENTRIES {
            // Entries first: they hold terms of the store.
            let none = RawTerm::from_word(0);
            self.entries.iter().for_each(|entry| entry.name.set(none));
            table.slots.fill(0);
            table.used = 0;
            table.store.clear();
        }
        let number = table.used;
        let Some((name_copy, labels_copy)) = copy(&mut table.store) else { return };
        let Some(entry) = self.entries.get(usize::from(number)) else { return };
        entry.name.set(name_copy);
        entry.labels.set(labels_copy);
        entry.id.set(id);
        entry.hash.set(upper(hash));
        entry.kind.set(kind);
        table.used += 1;
        let (before, after) = table.slots.split_at_mut(slot_index(hash));
        if let Some(slot) = after.iter_mut().chain(before).find(|slot| **slot == 0) {
            *slot = number + 1;
        }
        self.hint(name, labels, number);
    }

    fn hint(&self, name: RawTerm, labels: RawTerm, number: u16) {
        if let Some(hint) = self.hints.get(hint_index(name, labels)) {
            hint.set(number);
        }
    }

    fn look_up(
        &self,
        table: &Table,
        name: RawTerm,
        labels: RawTerm,
        hash: u64,
    ) -> Option<(u16, &Entry, Cached)> {
        let (before, after) = table.slots.split_at(slot_index(hash));
        for slot in after.iter().chain(before) {
            let number = slot.checked_sub(1)?;
            let entry = self.entries.get(usize::from(number))?;
            if entry.hash.get() == upper(hash)
                && let Some(cached) = entry.leads(name, labels)
            {
                return Some((number, entry, cached));
            }
        }
        None
    }
}

fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[allow(clippy::cast_possible_truncation)]
fn slot_index(hash: u64) -> usize {
    (hash >> (64 - SLOTS.trailing_zeros())) as usize
}
