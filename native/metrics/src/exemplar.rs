//! Exemplars: of a series' latest observations one a bucket, each with the
//! span that it was made in.
//!
//! They are kept beside the cells, under the series' handle. A handle is never
//! given out twice, so an exemplar cannot be taken for another series' when a
//! slot is used again. Whoever records only tries the lock: an exemplar is a
//! sample, and one that is not kept is as good as one that was not chosen.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use parking_lot::Mutex;

use crate::series::{HandleHash, SeriesId};

/// An observation, and the span that it was made in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// What was observed, or added.
    pub value: f64,
    /// When, in nanoseconds since 1970.
    pub time_unix_nano: u64,
    /// The span's trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
}

/// Most exemplars of a registry, 48 bytes each. Beyond, buckets that have one
/// get new ones, and others none.
pub(crate) const MAX_EXEMPLARS: u32 = 65_536;
/// A thread leaves a bucket alone for this long after it has given it an
/// exemplar.
const MIN_INTERVAL_NANOS: u64 = 100_000_000;

const SHARD_BITS: u32 = 6;

/// A series' exemplars by bucket, in the order of the buckets.
pub(crate) type ByBucket = Vec<(u16, Exemplar)>;

/// All exemplars of a registry.
#[derive(Debug)]
pub(crate) struct Exemplars {
    shards: Box<[Shard]>,
    held: AtomicU32,
    refused: AtomicU64,
}

/// Aligned so that no two share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<SeriesId, ByBucket, HandleHash>>);

impl Exemplars {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..1 << SHARD_BITS).map(|_| Shard::default()).collect(),
            held: AtomicU32::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Keeps an exemplar for a bucket in the place of the one it had, unless
    /// somebody else is at it.
    ///
    /// `is_live` is asked under the lock, which [`Self::forget`] takes after
    /// the series' end: so nothing is kept for a series that is gone.
    pub(crate) fn keep(
        &self,
        id: SeriesId,
        bucket: u16,
        exemplar: Exemplar,
        is_live: impl FnOnce() -> bool,
    ) {
        let Some(mut shard) = self.shard(id).and_then(|shard| shard.0.try_lock()) else { return };
        if !is_live() {
            return;
        }
        if let Some(kept) = shard.get_mut(&id)
            && let Ok(at) = kept.binary_search_by_key(&bucket, |(bucket, _)| *bucket)
        {
            if let Some(place) = kept.get_mut(at) {
                place.1 = exemplar;
            }
            return;
        }
        if self.held.fetch_add(1, Relaxed) >= MAX_EXEMPLARS {
            self.held.fetch_sub(1, Relaxed);
            self.refused.fetch_add(1, Relaxed);
            return;
        }
        let kept = shard.entry(id).or_default();
        let at = kept.partition_point(|(other, _)| *other < bucket);
        kept.insert(at, (bucket, exemplar));
    }

    /// Puts a series' exemplars into `out`.
    pub(crate) fn read(&self, id: SeriesId, out: &mut ByBucket) {
        out.clear();
        if let Some(shard) = self.shard(id)
            && let Some(kept) = shard.0.lock().get(&id)
        {
            out.extend_from_slice(kept);
        }
    }

    /// Frees a series' exemplars. To be called once its handle is not live.
    pub(crate) fn forget(&self, id: SeriesId) {
        let forgotten = self.shard(id).and_then(|shard| {
            let mut shard = shard.0.lock();
            let forgotten = shard.remove(&id);
            if shard.is_empty() {
                shard.shrink_to_fit();
            }
            forgotten
        });
        let count = forgotten.map_or(0, |kept| kept.len());
        self.held.fetch_sub(u32::try_from(count).unwrap_or(0), Relaxed);
    }

    /// How many are held.
    pub(crate) fn held(&self) -> u32 {
        self.held.load(Relaxed)
    }

    /// How many found no room.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        let of = |shard: &Shard| {
            let shard = shard.0.lock();
            let kept: usize = shard.values().map(Vec::capacity).sum();
            kept * size_of::<(u16, Exemplar)>()
                + shard.capacity() * size_of::<(SeriesId, ByBucket)>()
        };
        self.shards.iter().map(of).sum()
    }

    fn shard(&self, id: SeriesId) -> Option<&Shard> {
        let spread = spread(id.to_raw());
        self.shards.get((spread >> (64 - SHARD_BITS)) as usize)
    }
}

/// Fibonacci hashing: the upper bits tell apart what differs in any.
fn spread(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

const RECENT_BITS: u32 = 6;

/// Which buckets a thread has given an exemplar lately, so that a hot path
/// mostly stays with what is its own. Two buckets may share a place: then one
/// of them gets more exemplars than it needs.
#[derive(Debug)]
pub(crate) struct Recent([Cell<(u64, u64)>; 1 << RECENT_BITS]);

impl Recent {
    pub(crate) fn new() -> Self {
        Self([const { Cell::new((0, 0)) }; 1 << RECENT_BITS])
    }

    /// Whether a bucket may have an exemplar now; it counts as given then.
    pub(crate) fn is_due(&self, id: SeriesId, bucket: u16, now: u64) -> bool {
        let key = spread(id.to_raw() ^ u64::from(bucket).rotate_right(10));
        let Some(place) = self.0.get((key >> (64 - RECENT_BITS)) as usize) else { return false };
        let (last_key, last) = place.get();
        // A clock that was set back starts anew.
        if last_key == key && now.checked_sub(last).is_some_and(|age| age < MIN_INTERVAL_NANOS) {
            return false;
        }
        place.set((key, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(value: f64) -> Exemplar {
        Exemplar { value, time_unix_nano: 1, trace_id: [1; 16], span_id: [2; 8] }
    }

    fn read(exemplars: &Exemplars, id: SeriesId) -> Vec<(u16, f64)> {
        let mut out = Vec::new();
        exemplars.read(id, &mut out);
        out.iter().map(|(bucket, exemplar)| (*bucket, exemplar.value)).collect()
    }

    #[test]
    fn the_latest_of_each_bucket_is_kept() {
        let exemplars = Exemplars::new();
        let (a, b) = (SeriesId::new(1, 1), SeriesId::new(1, u64::MAX));
        for (bucket, value) in [(3, 1.0), (1, 2.0), (3, 3.0)] {
            exemplars.keep(a, bucket, exemplar(value), || true);
        }
        assert_eq!(read(&exemplars, a), [(1, 2.0), (3, 3.0)]);
        assert_eq!(read(&exemplars, b), [], "another life of the same entry");
        assert_eq!(exemplars.held(), 2);
        exemplars.forget(a);
        exemplars.forget(b);
        assert_eq!((read(&exemplars, a), exemplars.held()), (vec![], 0));
        assert_eq!(exemplars.bytes(), 0);
    }

    #[test]
    fn nothing_is_kept_for_what_is_gone() {
        let exemplars = Exemplars::new();
        exemplars.keep(SeriesId::new(1, 1), 0, exemplar(1.0), || false);
        assert_eq!((exemplars.held(), exemplars.bytes()), (0, 0));
    }

    #[test]
    fn nobody_waits() {
        let exemplars = Exemplars::new();
        let id = SeriesId::new(1, 1);
        let held = exemplars.shard(id).unwrap().0.lock();
        exemplars.keep(id, 0, exemplar(1.0), || true);
        drop(held);
        assert_eq!(exemplars.held(), 0);
    }

    #[test]
    fn there_is_a_bound() {
        let exemplars = Exemplars::new();
        for n in 0..MAX_EXEMPLARS + 10 {
            exemplars.keep(SeriesId::new(n, 1), 0, exemplar(1.0), || true);
        }
        assert_eq!((exemplars.held(), exemplars.refused()), (MAX_EXEMPLARS, 10));
        exemplars.keep(SeriesId::new(0, 1), 0, exemplar(5.0), || true);
        assert_eq!(read(&exemplars, SeriesId::new(0, 1)), [(0, 5.0)]);
        assert!(exemplars.bytes() < 16 << 20, "{}", exemplars.bytes());
    }

    #[test]
    fn a_bucket_rests() {
        let recent = Recent::new();
        let id = SeriesId::new(1, 1);
        let start = 1_700_000_000_000_000_000;
        assert!(recent.is_due(id, 0, start));
        assert!(!recent.is_due(id, 0, start + MIN_INTERVAL_NANOS - 1));
        assert!(recent.is_due(id, 0, start + MIN_INTERVAL_NANOS));
        assert!(recent.is_due(id, 0, start), "the clock was set back");
    }
}
