//! What is open, and what is counted as it opens and as it ends.
//!
//! Opening and ending are one call each, so that nobody who is stopped in
//! between can leave a gauge that is wrong.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use parking_lot::Mutex;

use crate::recorder::Recorder;
use crate::series::SeriesId;

/// The series that something open is counted in. One that is no series, or was
/// removed, is left out.
#[derive(Debug, Clone, Copy)]
pub struct LifetimeSeries {
    /// A counter: that it was opened.
    pub opened: SeriesId,
    /// A gauge: that it is open.
    pub active: SeriesId,
    /// A counter: that it ended with its owner.
    pub owner_ended: SeriesId,
    /// A histogram: how many seconds it was open.
    pub duration: SeriesId,
}

#[derive(Debug)]
struct Open<W> {
    series: LifetimeSeries,
    began: Instant,
    /// What tells that the owner has ended; without, it is not known yet.
    _watch: Option<W>,
}

const SHARDS: usize = 64;

/// Whatever is open, by numbers that are given out once. `W` watches an owner
/// as long as it lives.
#[derive(Debug)]
pub struct Lifetimes<W> {
    next: AtomicU64,
    limit_of_shard: usize,
    shards: [Mutex<HashMap<u64, Open<W>>>; SHARDS],
}

impl<W> Lifetimes<W> {
    /// Holds about `limit` open ones at most.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            next: AtomicU64::new(1),
            limit_of_shard: limit.div_ceil(SHARDS),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Something was opened; its number, unless the owner that `watch` is asked
    /// for has ended already or as much as may be is open. `watch` is given the
    /// number, with which it calls [`Lifetimes::owner_ended`].
    pub fn open(
        &self,
        recorder: &Recorder,
        series: LifetimeSeries,
        watch: impl FnOnce(u64) -> Option<W>,
    ) -> Result<u64, NotOpened> {
        let _ = recorder.add_int(series.opened, 1);
        let number = self.next.fetch_add(1, Relaxed);
        let began = Instant::now();
        {
            let mut shard = self.shard(number).lock();
            if shard.len() >= self.limit_of_shard {
                return Err(NotOpened::TooManyOpen);
            }
            shard.insert(number, Open { series, began, _watch: None });
        }
        let _ = recorder.add_int(series.active, 1);
        // Without a lock: who is told that the owner has ended takes it.
        let Some(watch) = watch(number) else {
            self.owner_ended(recorder, number);
            return Err(NotOpened::OwnerHasEnded);
        };
        if let Some(open) = self.shard(number).lock().get_mut(&number) {
            open._watch = Some(watch);
        }
        Ok(number)
    }

    /// It was closed: counted in the series of the reason. `false` if it ended
    /// before.
    pub fn close(&self, recorder: &Recorder, number: u64, closed: SeriesId) -> bool {
        self.end(recorder, number, |_| closed)
    }

    /// Its owner has ended. `false` if it ended before.
    pub fn owner_ended(&self, recorder: &Recorder, number: u64) -> bool {
        self.end(recorder, number, |series| series.owner_ended)
    }

    fn end(
        &self,
        recorder: &Recorder,
        number: u64,
        counter: impl FnOnce(&LifetimeSeries) -> SeriesId,
    ) -> bool {
        let Some(open) = self.shard(number).lock().remove(&number) else { return false };
        let _ = recorder.add_int(open.series.active, -1);
        let _ = recorder.add_int(counter(&open.series), 1);
        let _ = recorder.observe(open.series.duration, open.began.elapsed().as_secs_f64());
        true
    }

    #[allow(clippy::indexing_slicing)]
    fn shard(&self, number: u64) -> &Mutex<HashMap<u64, Open<W>>> {
        &self.shards[(number % SHARDS as u64) as usize]
    }
}

/// Why nothing is open now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// The owner has ended before it was watched; it was opened and has ended.
    OwnerHasEnded,
    /// As much as may be is open; it counts as opened, and will not end.
    TooManyOpen,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, LabelSet, MetricName, Options, Registry, Value};

    struct Fixture {
        registry: Registry,
        recorder: Recorder,
        series: LifetimeSeries,
        closed: SeriesId,
    }

    fn fixture() -> Fixture {
        let registry = Registry::new(Options::default());
        let series = |kind, name| {
            let name = MetricName::new(name).unwrap();
            registry.series(kind, &name, &LabelSet::empty()).unwrap().id
        };
        let series_of = LifetimeSeries {
            opened: series(Kind::Counter, "opened"),
            active: series(Kind::Gauge, "active"),
            owner_ended: series(Kind::Counter, "owner_ended"),
            duration: series(Kind::Histogram, "duration"),
        };
        let closed = series(Kind::Counter, "closed");
        let recorder = registry.recorder();
        Fixture { registry, recorder, series: series_of, closed }
    }

    impl Fixture {
        fn values(&self) -> [u64; 5] {
            [
                self.series.opened,
                self.series.active,
                self.series.owner_ended,
                self.closed,
                self.series.duration,
            ]
            .map(|id| match self.registry.value(id).unwrap() {
                Value::Sum(number) => number.as_f64() as u64,
                Value::Gauge(value) => value.as_f64() as u64,
                Value::Histogram(histogram) => histogram.count(),
                other => panic!("{other:?}"),
            })
        }
    }

    #[test]
    fn it_ends_once() {
        let f = fixture();
        let lifetimes = Lifetimes::new(1000);
        let number = lifetimes.open(&f.recorder, f.series, |_| Some(())).unwrap();
        assert_eq!(f.values(), [1, 1, 0, 0, 0]);
        assert!(lifetimes.close(&f.recorder, number, f.closed));
        assert_eq!(f.values(), [1, 0, 0, 1, 1]);
        assert!(!lifetimes.close(&f.recorder, number, f.closed));
        assert!(!lifetimes.owner_ended(&f.recorder, number));
        assert_eq!(f.values(), [1, 0, 0, 1, 1]);
    }

    #[test]
    fn it_ends_with_its_owner() {
        let f = fixture();
        let lifetimes = Lifetimes::new(1000);
        let number = lifetimes.open(&f.recorder, f.series, |_| Some(())).unwrap();
        assert!(lifetimes.owner_ended(&f.recorder, number));
        assert!(!lifetimes.close(&f.recorder, number, f.closed));
        assert_eq!(f.values(), [1, 0, 1, 0, 1]);
    }

    #[test]
    fn an_owner_that_ends_meanwhile_is_noticed() {
        let f = fixture();
        let lifetimes = Lifetimes::<()>::new(1000);
        let gone = lifetimes.open(&f.recorder, f.series, |_| None);
        assert_eq!(gone, Err(NotOpened::OwnerHasEnded));
        assert_eq!(f.values(), [1, 0, 1, 0, 1]);
        // Told before the watch is known.
        let number = lifetimes
            .open(&f.recorder, f.series, |number| {
                assert!(lifetimes.owner_ended(&f.recorder, number));
                Some(())
            })
            .unwrap();
        assert!(!lifetimes.close(&f.recorder, number, f.closed));
        assert_eq!(f.values(), [2, 0, 2, 0, 2]);
    }

    #[test]
    fn no_more_than_may_be_are_open() {
        let f = fixture();
        let lifetimes = Lifetimes::new(64);
        for _ in 0..64 {
            lifetimes.open(&f.recorder, f.series, |_| Some(())).unwrap();
        }
        let full = lifetimes.open(&f.recorder, f.series, |_| Some(()));
        assert_eq!(full, Err(NotOpened::TooManyOpen));
        assert_eq!(f.values(), [65, 64, 0, 0, 0]);
    }
}
