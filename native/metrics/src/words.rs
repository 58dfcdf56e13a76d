//! Growing arrays of atomic words that never move.
//!
//! Chunk `k` holds `BASE << k` elements, so an index finds its chunk by
//! counting leading zeros and no element is ever copied. Memory comes zeroed
//! from the allocator: of a large chunk the system provides only the pages
//! that are touched.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

const BASE_BITS: u32 = 10;
const BASE: u64 = 1 << BASE_BITS;
/// Enough for every `u32` index.
const CHUNKS: usize = 23;
/// Words left unused at both ends of a chunk, so that no cache line holds
/// words of two arrays.
const GUARD: usize = 8;

/// An array of elements of `STRIDE` words each.
#[derive(Debug)]
pub(crate) struct Words<const STRIDE: usize> {
    chunks: [OnceLock<Box<[AtomicU64]>>; CHUNKS],
}

#[inline(always)]
fn locate(index: u32) -> (usize, usize) {
    let place = u64::from(index) + BASE;
    let top = 63 - place.leading_zeros();
    ((top - BASE_BITS) as usize, (place - (1 << top)) as usize)
}

impl<const STRIDE: usize> Words<STRIDE> {
    pub(crate) fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    /// `count` elements from `index` on, or nothing where none was ever made.
    #[inline(always)]
    pub(crate) fn get(&self, index: u32, count: usize) -> Option<&[AtomicU64]> {
        let (chunk, offset) = locate(index);
        let from = GUARD + offset * STRIDE;
        self.chunks.get(chunk)?.get()?.get(from..from + count * STRIDE)
    }

    /// As [`Words::get`], making the chunk where it is missing.
    #[inline(always)]
    pub(crate) fn get_or_make(&self, index: u32, count: usize) -> Option<&[AtomicU64]> {
        match self.get(index, count) {
            Some(words) => Some(words),
            None => self.make(index, count),
        }
    }

    #[cold]
    fn make(&self, index: u32, count: usize) -> Option<&[AtomicU64]> {
        let (chunk, offset) = locate(index);
        let from = GUARD + offset * STRIDE;
        self.chunks
            .get(chunk)?
            .get_or_init(|| {
                bytemuck::zeroed_slice_box((BASE as usize) * (1 << chunk) * STRIDE + 2 * GUARD)
            })
            .get(from..from + count * STRIDE)
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
    let last = from.checked_add(count.checked_sub(1)?)?;
    let (first_chunk, _) = locate(from);
    let (last_chunk, offset) = locate(last);
    if first_chunk == last_chunk {
        Some(from)
    } else {
        last.checked_sub(u32::try_from(offset).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let words = Words::<3>::new();
        for index in 0..5_000 {
            for (n, word) in words.get_or_make(index, 1).unwrap().iter().enumerate() {
                assert_eq!(word.swap(1, Relaxed), 0, "index {index}, word {n}");
            }
        }
        assert!(words.get(1_000_000, 1).is_none());
    }

    #[test]
    fn the_last_index_is_addressable() {
        assert_eq!(locate(0), (0, 0));
        assert_eq!(locate(1_023), (0, 1_023));
        assert_eq!(locate(1_024), (1, 0));
        assert!(locate(u32::MAX).0 < CHUNKS);
    }

    #[test]
    fn a_run_never_crosses_chunks() {
        assert_eq!(fit(1_020, 4), Some(1_020));
        assert_eq!(fit(1_021, 4), Some(1_024));
        assert_eq!(fit(0, 0), None);
        assert_eq!(fit(u32::MAX, 2), None);
        let words = Words::<1>::new();
        for from in 0..4_000 {
            let at = fit(from, 14).unwrap();
            assert_eq!(words.get_or_make(at, 14).unwrap().len(), 14);
        }
    }
}
