//! Growing arrays of atomic words that never move.
//!
//! Chunk `k` holds `BASE << k` elements, so an index finds its chunk by
//! counting leading zeros and no element is ever copied. That is done once,
//! at registration: what recording is given is the [`Address`], chunk and
//! offset in one word. Memory comes zeroed from the allocator: of a large
//! chunk the system provides only the pages that are touched.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

const BASE_BITS: u32 = 10;
const BASE: u32 = 1 << BASE_BITS;
const OFFSET_BITS: u32 = 27;
/// The last chunk has `1 << OFFSET_BITS` elements.
const CHUNKS: usize = (OFFSET_BITS - BASE_BITS + 1) as usize;
/// One past the highest index that has an address.
pub(crate) const END: u32 = (1 << (OFFSET_BITS + 1)) - BASE;
/// Elements left unused at both ends of a chunk: at least a cache line, so
/// that no line holds words of two arrays.
const GUARD: usize = 8;

/// An array of elements of `STRIDE` words each.
#[derive(Debug)]
pub(crate) struct Words<const STRIDE: usize> {
    chunks: [OnceLock<Box<[[AtomicU64; STRIDE]]>>; CHUNKS],
}

/// Where an element is: its chunk and its offset there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(u32);

impl Address {
    /// The address of an index below [`END`].
    pub(crate) fn of(index: u32) -> Self {
        let place = index.min(END - 1) + BASE;
        let top = place.ilog2();
        Self((top - BASE_BITS) << OFFSET_BITS | (place - (1 << top)))
    }

    pub(crate) fn index(self) -> u32 {
        let offset = self.0 & ((1 << OFFSET_BITS) - 1);
        (1 << (self.chunk() as u32 + BASE_BITS)) + offset - BASE
    }

    /// The address in one word; of index 0 it is 0.
    #[inline(always)]
    pub(crate) const fn to_raw(self) -> u32 {
        self.0
    }

    /// A word that may be an address; used as one it leads somewhere or
    /// nowhere, never astray.
    #[inline(always)]
    pub(crate) const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    #[inline(always)]
    const fn chunk(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    /// Position in the chunk, behind the guard.
    #[inline(always)]
    const fn position(self) -> usize {
        GUARD + (self.0 & ((1 << OFFSET_BITS) - 1)) as usize
    }
}

impl<const STRIDE: usize> Words<STRIDE> {
    pub(crate) fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    /// The element at an address, unless its chunk was never made.
    #[inline(always)]
    pub(crate) fn get(&self, at: Address) -> Option<&[AtomicU64; STRIDE]> {
        self.chunks.get(at.chunk())?.get()?.get(at.position())
    }

    /// The words of `count` elements from an address on, which lie in one
    /// chunk (see [`fit`]), unless it was never made.
    #[inline]
    pub(crate) fn get_run(&self, at: Address, count: usize) -> Option<&[AtomicU64]> {
        let from = at.position();
        Some(self.chunks.get(at.chunk())?.get()?.get(from..from + count)?.as_flattened())
    }

    /// Makes the chunk that has this address, if it is missing.
    #[cold]
    #[inline(never)]
    pub(crate) fn make(&self, at: Address) {
        if let Some(chunk) = self.chunks.get(at.chunk()) {
            chunk.get_or_init(|| {
                bytemuck::zeroed_slice_box(((BASE as usize) << at.chunk()) + 2 * GUARD)
            });
        }
    }

    /// Bytes in use by the elements below `end`, rounded up to no page.
    pub(crate) fn bytes_below(&self, end: u32) -> usize {
        let mut first = 0;
        let mut elements = 0;
        for (k, chunk) in self.chunks.iter().enumerate() {
            let length = (BASE as usize) << k;
            if chunk.get().is_some() {
                elements += (end as usize).saturating_sub(first).min(length);
            }
            first += length;
        }
        elements * STRIDE * size_of::<u64>()
    }
}

/// The first index at or after `from` where `count` elements lie in one chunk.
pub(crate) fn fit(from: u32, count: u32) -> Option<u32> {
    let last = from.checked_add(count.checked_sub(1)?).filter(|last| *last < END)?;
    let chunk = Address::of(last).chunk();
    if Address::of(from).chunk() == chunk {
        return Some(from);
    }
    // The first index of that chunk; the run may then end beyond it.
    let first = (BASE << chunk) - BASE;
    first.checked_add(count).filter(|end| *end <= END).map(|_| first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let words = Words::<3>::new();
        for index in 0..5_000 {
            let at = Address::of(index);
            words.make(at);
            for (n, word) in words.get(at).unwrap().iter().enumerate() {
                assert_eq!(word.swap(1, Relaxed), 0, "index {index}, word {n}");
            }
        }
        assert!(words.get(Address::of(1_000_000)).is_none());
    }

    #[test]
    fn an_address_leads_back_to_its_index() {
        assert_eq!(Address::of(0).to_raw(), 0);
        for index in (0..10_000).chain([1 << 20, (1 << 20) + 1, END - 2, END - 1]) {
            let at = Address::of(index);
            assert_eq!(at.index(), index);
            assert!(at.chunk() < CHUNKS);
            assert_eq!(Address::from_raw(at.to_raw()), at);
        }
    }

    #[test]
    fn no_word_leads_astray() {
        let words = Words::<1>::new();
        words.make(Address::of(0));
        for raw in (0..=u32::MAX).step_by(65_521) {
            let at = Address::from_raw(raw);
            if let Some(found) = words.get(at) {
                assert_eq!(found.len(), 1);
            }
            let _ = words.get_run(at, 14);
        }
    }

    #[test]
    fn a_run_never_crosses_chunks() {
        assert_eq!(fit(1_020, 4), Some(1_020));
        assert_eq!(fit(1_021, 4), Some(1_024));
        assert_eq!(fit(0, 0), None);
        assert_eq!(fit(u32::MAX, 2), None);
        assert_eq!(fit(END - 2, 2), Some(END - 2));
        assert_eq!(fit(END - 1, 2), None);
        let words = Words::<1>::new();
        for from in 0..4_000 {
            let at = Address::of(fit(from, 14).unwrap());
            words.make(at);
            assert_eq!(words.get_run(at, 14).unwrap().len(), 14);
        }
    }
}
