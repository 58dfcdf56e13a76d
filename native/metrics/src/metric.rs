//! One metric: what it is, and the rows of its series.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;
use thiserror::Error;

use crate::name::MetricName;

/// What kind of instrument a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A sum that never goes down.
    Counter = 1,
    /// A sum that goes up and down, added to from many threads.
    UpDownCounter = 2,
    /// A value that is set.
    Gauge = 3,
    /// Counts of observations by bucket, and their sum.
    Histogram = 4,
    /// Labels that describe something; the value is always 1.
    Info = 5,
    /// Counts of observations by buckets that adapt to them, and their sum.
    ExponentialHistogram = 6,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Counter,
        Self::UpDownCounter,
        Self::Gauge,
        Self::Histogram,
        Self::Info,
        Self::ExponentialHistogram,
    ];

    /// The name that Erlang and the messages use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "up_down_counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
            Self::ExponentialHistogram => "exponential_histogram",
        }
    }

    pub(crate) const fn with_article(self) -> &'static str {
        match self {
            Self::Counter => "a counter",
            Self::UpDownCounter => "an up_down_counter",
            Self::Gauge => "a gauge",
            Self::Histogram => "a histogram",
            Self::Info => "an info",
            Self::ExponentialHistogram => "an exponential_histogram",
        }
    }

    #[inline(always)]
    pub(crate) const fn from_u8(n: u8) -> Option<Self> {
        match n {
            1 => Some(Self::Counter),
            2 => Some(Self::UpDownCounter),
            3 => Some(Self::Gauge),
            4 => Some(Self::Histogram),
            5 => Some(Self::Info),
            6 => Some(Self::ExponentialHistogram),
            _ => None,
        }
    }

    /// The suffix that the exposed sample has and the family's base has not.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::UpDownCounter | Self::Gauge | Self::Histogram | Self::ExponentialHistogram => "",
        }
    }

    /// Whether it counts observations.
    #[must_use]
    pub const fn is_histogram(self) -> bool {
        matches!(self, Self::Histogram | Self::ExponentialHistogram)
    }

    /// The name that OpenMetrics keeps for the time of a metric's creation.
    pub(crate) fn created(self, base: &str) -> Option<String> {
        (self == Self::Counter || self.is_histogram()).then(|| format!("{base}_created"))
    }

    /// The part of a name that identifies the metric: `requests` for the
    /// counter `requests_total`.
    pub(crate) fn base(self, name: &MetricName) -> &str {
        let name = name.as_str();
        match name.strip_suffix(self.suffix()) {
            Some(base) if !base.is_empty() => base,
            _ => name,
        }
    }

    /// Every name that a metric of this kind occupies in an exposition.
    /// `_created` is not exposed here, but OpenMetrics reserves it.
    pub(crate) fn claims(self, base: &str) -> Vec<String> {
        let suffixes: &[&str] = match self {
            Self::Counter => &["", "_total", "_created"],
            Self::Info => &["", "_info"],
            Self::UpDownCounter | Self::Gauge => &[""],
            Self::Histogram | Self::ExponentialHistogram => {
                &["", "_bucket", "_count", "_sum", "_created"]
            }
        };
        suffixes.iter().map(|suffix| format!("{base}{suffix}")).collect()
    }
}

/// Who registered a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The application: shown by `/metrics` and `/metrics/custom`.
    Application,
    /// This library: shown by `/metrics` only.
    Library,
}

/// Upper bounds of a histogram's buckets, without the last, which is +Inf.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets(Arc<[f64]>);

/// Why a list of numbers cannot be a histogram's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BucketsError {
    /// A bound is NaN or infinite.
    #[error("a bucket's bound is not a finite number")]
    NotFinite,
    /// A bound is not above the one before it.
    #[error("the buckets' bounds do not increase strictly")]
    NotIncreasing,
    /// More than 256 bounds.
    #[error("{count} buckets, more than {MAX_BUCKETS}")]
    TooMany {
        /// How many were given.
        count: usize,
    },
}

/// Most buckets of one histogram.
const MAX_BUCKETS: usize = 256;

/// Most buckets of each sign of an exponential histogram that says nothing
/// else; OpenTelemetry's.
pub(crate) const DEFAULT_MAX_BUCKETS: u16 = 160;
/// What may be said: with fewer, not all floats would have a bucket.
pub(crate) const MAX_BUCKETS_RANGE: (u16, u16) = (2, 1_024);

/// The bounds that OpenTelemetry's conventions give for durations in seconds:
/// those of Prometheus' clients and three more.
const SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

impl Default for Buckets {
    fn default() -> Self {
        Self(Arc::new(SECONDS))
    }
}

impl Buckets {
    /// Buckets with the given upper bounds.
    ///
    /// # Errors
    ///
    /// [`BucketsError`] unless the bounds are finite and increase strictly.
    pub fn new(bounds: &[f64]) -> Result<Self, BucketsError> {
        if bounds.len() > MAX_BUCKETS {
            return Err(BucketsError::TooMany { count: bounds.len() });
        }
        if !bounds.iter().all(|bound| bound.is_finite()) {
            return Err(BucketsError::NotFinite);
        }
        if !bounds.is_sorted_by(|a, b| a < b) {
            return Err(BucketsError::NotIncreasing);
        }
        Ok(Self(bounds.into()))
    }

    /// The upper bounds, without +Inf.
    #[must_use]
    pub fn bounds(&self) -> &[f64] {
        &self.0
    }

    pub(crate) fn none() -> Self {
        Self(Arc::new([]))
    }

    /// Index of the bucket for `value`; the last one is +Inf's.
    #[inline]
    pub(crate) fn index(&self, value: f64) -> usize {
        self.0.partition_point(|bound| *bound < value)
    }

    /// Words of one histogram's cell: a count a bucket, +Inf's, and the sum.
    pub(crate) fn cell_words(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX - 2) + 2
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Meta {
    pub(crate) help: Option<Box<str>>,
    pub(crate) unit: Option<Box<str>>,
}

#[derive(Debug)]
pub(crate) struct Metric {
    /// The family's name; a counter's without `_total`.
    pub(crate) base: Box<str>,
    /// The name that it was first given.
    pub(crate) given: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) origin: Origin,
    pub(crate) buckets: Buckets,
    /// Most buckets of each sign of an exponential histogram.
    pub(crate) max_buckets: u16,
    pub(crate) fingerprint: u128,
    pub(crate) meta: RwLock<Meta>,
    /// Most series, the overflow series included.
    pub(crate) limit: AtomicU32,
    /// Series other than the overflow series.
    pub(crate) live: AtomicU32,
    pub(crate) full: AtomicBool,
    /// Handle of the overflow series, 0 as long as there is none.
    pub(crate) overflow: AtomicU64,
    /// Whether a histogram has ever observed a negative value.
    pub(crate) observed_negative: AtomicBool,
    /// Whether a series has ever got an exemplar.
    pub(crate) has_exemplars: AtomicBool,
    pub(crate) rows: RwLock<Rows>,
    /// Scrapes that are between two batches of rows.
    pub(crate) visitors: AtomicU32,
}

/// Label texts and series of one metric, in the order of registration.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    text: String,
    rows: Vec<Row>,
    removed: usize,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// Index of the series' entry; `REMOVED` once it is gone.
    series: u32,
    start: u32,
}

const REMOVED: u32 = u32::MAX;
/// Rows visited under one hold of the lock: tens of microseconds.
const BATCH: usize = 128;

impl Rows {
    /// Appends a row and returns its number, or nothing when the texts of the
    /// metric would exceed 4 GiB.
    pub(crate) fn push(&mut self, series: u32, labels: &str) -> Option<u32> {
        let start = u32::try_from(self.text.len()).ok()?;
        u32::try_from(self.text.len() + labels.len()).ok()?;
        let row = u32::try_from(self.rows.len()).ok()?;
        self.text.push_str(labels);
        self.rows.push(Row { series, start });
        Some(row)
    }

    pub(crate) fn remove(&mut self, row: u32) {
        if let Some(row) = self.rows.get_mut(row as usize) {
            row.series = REMOVED;
            self.removed += 1;
        }
    }

    /// Whether more than half of the rows are of removed series.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.removed > 64 && self.removed * 2 > self.rows.len()
    }

    /// Drops the rows of removed series; tells each remaining one its number.
    pub(crate) fn compact(&mut self, mut moved: impl FnMut(u32, u32)) {
        let old = std::mem::take(self);
        for (n, row) in old.rows.iter().enumerate() {
            if row.series != REMOVED
                && let Some(number) = self.push(row.series, old.label_text(n))
            {
                moved(row.series, number);
            }
        }
    }

    /// Whether there is no series.
    pub(crate) fn is_empty(&self) -> bool {
        self.removed == self.rows.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.rows.len() * size_of::<Row>()
    }

    fn label_text(&self, row: usize) -> &str {
        let start = self.rows.get(row).map_or(0, |row| row.start as usize);
        let end = self.rows.get(row + 1).map_or(self.text.len(), |next| next.start as usize);
        self.text.get(start..end).unwrap_or_default()
    }
}

impl Metric {
    /// The name of the sample that carries the value.
    pub(crate) fn sample_name(&self) -> String {
        format!("{}{}", self.base, self.kind.suffix())
    }

    /// Whether this is a histogram whose sum can go down.
    pub(crate) fn is_signed(&self) -> bool {
        self.observed_negative.load(Ordering::Relaxed)
            || self.buckets.bounds().first().is_some_and(|first| *first < 0.0)
    }

    /// Calls `visit` with every series that existed when the visit began,
    /// letting go of the lock between batches so that a registration waits
    /// for a batch and never for a whole scrape.
    pub(crate) fn visit(&self, mut visit: impl FnMut(&str, u32)) {
        let (end, _visitor) = {
            let rows = self.rows.read();
            // Counted under the lock that compaction needs, so that rows keep
            // their numbers until the visit ends.
            (rows.rows.len(), Visitor::new(&self.visitors))
        };
        let mut from = 0;
        while from < end {
            let rows = self.rows.read();
            let to = end.min(from + BATCH);
            for n in from..to {
                match rows.rows.get(n) {
                    Some(row) if row.series != REMOVED => visit(rows.label_text(n), row.series),
                    _ => {}
                }
            }
            from = to;
        }
    }

    pub(crate) fn is_visited(&self) -> bool {
        self.visitors.load(Ordering::Relaxed) > 0
    }

    /// Brings `full` in line with `live` and `limit`.
    pub(crate) fn update_full(&self) {
        let limit = self.limit.load(Ordering::Relaxed);
        let full = self.live.load(Ordering::Relaxed) >= limit.saturating_sub(1);
        self.full.store(full, Ordering::Relaxed);
    }
}

/// One visit, counted as long as it lasts.
struct Visitor<'a>(&'a AtomicU32);

impl<'a> Visitor<'a> {
    fn new(visitors: &'a AtomicU32) -> Self {
        visitors.fetch_add(1, Ordering::Relaxed);
        Self(visitors)
    }
}

impl Drop for Visitor<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_its_bucket() {
        let buckets = Buckets::new(&[1.0, 2.0]).unwrap();
        assert_eq!([0.5, 1.0, 1.5, 2.0, 2.1].map(|v| buckets.index(v)), [0, 0, 1, 1, 2]);
    }

    #[test]
    fn bounds_are_checked() {
        assert_eq!(Buckets::new(&[1.0, 1.0]), Err(BucketsError::NotIncreasing));
        assert_eq!(Buckets::new(&[2.0, 1.0]), Err(BucketsError::NotIncreasing));
        assert_eq!(Buckets::new(&[f64::NAN]), Err(BucketsError::NotFinite));
        assert_eq!(Buckets::new(&[1.0, f64::INFINITY]), Err(BucketsError::NotFinite));
        assert_eq!(Buckets::new(&vec![0.0; 257]), Err(BucketsError::TooMany { count: 257 }));
        assert!(Buckets::new(&[]).is_ok());
    }

    #[test]
    fn the_base_leaves_the_suffix_of_its_kind() {
        let name = |text| MetricName::new(text).unwrap();
        assert_eq!(Kind::Counter.base(&name("requests_total")), "requests");
        assert_eq!(Kind::Counter.base(&name("requests")), "requests");
        assert_eq!(Kind::Counter.base(&name("_total")), "_total");
        assert_eq!(Kind::Gauge.base(&name("requests_total")), "requests_total");
        assert_eq!(Kind::Info.base(&name("build_info")), "build");
    }

    #[test]
    fn rows_keep_their_texts_through_removal_and_compaction() {
        let mut rows = Rows::default();
        for n in 0..200 {
            rows.push(n, &format!("n=\"{n}\"")).unwrap();
        }
        for n in 0..150 {
            rows.remove(n);
        }
        assert!(rows.wants_compaction());
        let mut moved = Vec::new();
        rows.compact(|series, row| moved.push((series, row)));
        assert_eq!(moved.len(), 50);
        for (series, row) in moved {
            assert_eq!(rows.label_text(row as usize), format!("n=\"{series}\""));
        }
    }
}
