//! Series handles, and the entry of each series.
//!
//! An entry is five words: the handle, the place of the cells, the
//! fingerprint (two words), and a word of float cell and row. Handle and
//! fingerprint form a sequence lock: an entry is emptied before it changes
//! and gets a new handle after, so a reader who finds the same handle before
//! and after has read one series.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use crate::metric::Kind;
use crate::words::{self, Address, Words};

/// Bits of a handle that are the entry's address.
const ADDRESS_BITS: u32 = 32;
/// Bits of a handle that tell one life of an entry from another.
const SALT_BITS: u32 = 27;

/// A series, as a number below 2^59: a small integer in Erlang.
///
/// A handle is an address and 27 random bits; a number that was made up, or
/// kept after [`crate::Registry::remove`], is told apart from a live handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesId(u64);

impl SeriesId {
    pub(crate) fn new(number: u32, random: u64) -> Self {
        let salt = (random >> (64 - SALT_BITS)).max(1);
        Self((salt << ADDRESS_BITS) | u64::from(Address::of(number).to_raw()))
    }

    /// The handle as a number.
    #[must_use]
    #[inline(always)]
    pub const fn to_raw(self) -> u64 {
        self.0
    }

    /// A number that may be a handle; whether it is one shows when it is used.
    #[must_use]
    #[inline(always)]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// Number of the entry.
    pub(crate) fn number(self) -> u32 {
        self.address().index()
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    const fn address(self) -> Address {
        Address::from_raw(self.0 as u32)
    }
}

/// Hashes handles for the maps that are kept by them. Handles have random bits
/// of the registry's own, so nothing more is needed than to spread them.
pub(crate) type HandleHash = BuildHasherDefault<HandleHasher>;

/// See [`HandleHash`].
#[derive(Debug, Default)]
pub(crate) struct HandleHasher(u64);

impl Hasher for HandleHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        let mixed = (self.0 ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Most entries that the slots of the index can tell apart.
pub(crate) const MAX_ENTRIES: u32 = words::END - 1;

const HANDLE: usize = 0;
const PLACE: usize = 1;
const LOW: usize = 2;
const HIGH: usize = 3;
const FLOAT_AND_ROW: usize = 4;
const WORDS: usize = 5;

/// Where a series' cells are and how they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Place {
    pub(crate) fn new(cells: Address, kind: Kind, metric: u32) -> Self {
        debug_assert!(metric < 1 << 24);
        Self(u64::from(cells.to_raw()) | (kind as u64) << 32 | u64::from(metric) << 40)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn cells(self) -> Address {
        Address::from_raw(self.0 as u32)
    }

    /// Whether this is a counter's place, in one comparison.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn is_counter(self) -> bool {
        (self.0 >> 32) as u8 == Kind::Counter as u8
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn kind(self) -> Option<Kind> {
        Kind::from_u8((self.0 >> 32) as u8)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn metric(self) -> u32 {
        (self.0 >> 40) as u32
    }
}

/// The entries of all series, addressed by the index in their handles.
#[derive(Debug)]
pub(crate) struct Entries(Words<WORDS>);

/// One entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a>(&'a [AtomicU64; WORDS]);

impl Entries {
    pub(crate) fn new() -> Self {
        Self(Words::new())
    }

    pub(crate) fn get(&self, number: u32) -> Option<Entry<'_>> {
        self.0.get(Address::of(number)).map(Entry)
    }

    pub(crate) fn make(&self, number: u32) -> Option<Entry<'_>> {
        self.0.make(Address::of(number));
        self.get(number)
    }

    /// The entry of a live series.
    #[inline(always)]
    pub(crate) fn live(&self, id: SeriesId) -> Option<Entry<'_>> {
        let entry = self.0.get(id.address()).map(Entry)?;
        // Acquire: pairs with the Release store in `publish`, so that place
        // and zeroed cells are seen by whoever sees the handle.
        (entry.0[HANDLE].load(Acquire) == id.0 && id.0 != 0).then_some(entry)
    }

    pub(crate) fn bytes_below(&self, end: u32) -> usize {
        self.0.bytes_below(end)
    }
}

impl Entry<'_> {
    #[inline(always)]
    pub(crate) fn place(self) -> Place {
        Place(self.0[PLACE].load(Relaxed))
    }

    /// The handle, if the entry is live and carries this fingerprint.
    pub(crate) fn matches(self, fingerprint: u128) -> Option<SeriesId> {
        let before = self.0[HANDLE].load(Acquire);
        let found =
            u128::from(self.0[LOW].load(Relaxed)) | u128::from(self.0[HIGH].load(Relaxed)) << 64;
        // Pairs with the fence in `empty`: if a word of a later life was
        // read, the handle read now is not the one read before.
        fence(Acquire);
        let after = self.0[HANDLE].load(Relaxed);
        (before != 0 && before == after && found == fingerprint).then_some(SeriesId(before))
    }

    pub(crate) fn fingerprint(self) -> u128 {
        u128::from(self.0[LOW].load(Relaxed)) | u128::from(self.0[HIGH].load(Relaxed)) << 64
    }

    pub(crate) fn handle(self) -> Option<SeriesId> {
        match self.0[HANDLE].load(Acquire) {
            0 => None,
            raw => Some(SeriesId(raw)),
        }
    }

    /// Makes an empty entry live. Callers hold the registry's lock.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn publish(self, id: SeriesId, place: Place, fingerprint: u128, row: u32) {
        self.0[PLACE].store(place.0, Relaxed);
        self.0[LOW].store(fingerprint as u64, Relaxed);
        self.0[HIGH].store((fingerprint >> 64) as u64, Relaxed);
        self.0[FLOAT_AND_ROW].store(u64::from(row) << 32, Relaxed);
        // Release: pairs with the Acquire loads in `live` and `matches`.
        self.0[HANDLE].store(id.0, Release);
    }

    /// Ends the life of the series. Callers hold the registry's lock.
    pub(crate) fn empty(self) {
        self.0[HANDLE].store(0, Relaxed);
        // Pairs with the fence in `matches`.
        fence(Release);
    }

    /// Address of the float cell, none as long as no float was added.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn float_cell(self) -> Option<Address> {
        // Acquire: pairs with the Release store in `set_float_cell`, so that
        // the cell is seen zeroed.
        match self.0[FLOAT_AND_ROW].load(Acquire) as u32 {
            0 => None,
            raw => Some(Address::from_raw(raw)),
        }
    }

    /// Callers hold the registry's lock.
    pub(crate) fn set_float_cell(self, cell: Address) {
        let row = self.0[FLOAT_AND_ROW].load(Relaxed) >> 32;
        // Release: pairs with the Acquire load in `float_cell`.
        self.0[FLOAT_AND_ROW].store(row << 32 | u64::from(cell.to_raw()), Release);
    }

    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn row(self) -> u32 {
        (self.0[FLOAT_AND_ROW].load(Relaxed) >> 32) as u32
    }

    /// Callers hold the registry's lock.
    pub(crate) fn set_row(self, row: u32) {
        let cell = self.0[FLOAT_AND_ROW].load(Relaxed) & u64::from(u32::MAX);
        // Release: keeps the cell as visible as it was.
        self.0[FLOAT_AND_ROW].store(u64::from(row) << 32 | cell, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_a_small_integer_and_never_zero() {
        for random in [0, 1, u64::MAX] {
            for number in [0, 1, MAX_ENTRIES - 1] {
                let id = SeriesId::new(number, random);
                assert!(id.to_raw() > 0 && id.to_raw() < 1 << 59);
                assert_eq!(id.number(), number);
            }
        }
    }

    #[test]
    fn a_place_holds_its_parts() {
        let place = Place::new(Address::of(MAX_ENTRIES), Kind::Histogram, (1 << 24) - 1);
        assert_eq!(place.cells().index(), MAX_ENTRIES);
        assert_eq!(place.kind(), Some(Kind::Histogram));
        assert_eq!(place.metric(), (1 << 24) - 1);
    }

    #[test]
    fn a_dead_handle_is_not_live() {
        let entries = Entries::new();
        let id = SeriesId::new(7, u64::MAX);
        assert!(entries.live(id).is_none());
        entries.make(7).unwrap().publish(id, Place::new(Address::of(3), Kind::Counter, 0), 9, 0);
        assert!(entries.live(id).is_some());
        assert!(entries.live(SeriesId::new(7, 1)).is_none());
        assert_eq!(entries.get(7).unwrap().matches(9), Some(id));
        assert_eq!(entries.get(7).unwrap().matches(8), None);
        entries.get(7).unwrap().empty();
        assert!(entries.live(id).is_none() && entries.get(7).unwrap().matches(9).is_none());
        assert!(entries.live(SeriesId::from_raw(0)).is_none());
    }

    #[test]
    fn float_cell_and_row_do_not_disturb_each_other() {
        let entries = Entries::new();
        let entry = entries.make(0).unwrap();
        entry.publish(SeriesId::new(0, 5), Place::new(Address::of(1), Kind::Counter, 0), 1, 77);
        let cell = Address::of(12);
        assert_eq!(entry.float_cell(), None);
        entry.set_float_cell(cell);
        assert_eq!((entry.float_cell(), entry.row()), (Some(cell), 77));
        entry.set_row(78);
        assert_eq!((entry.float_cell(), entry.row()), (Some(cell), 78));
    }
}
