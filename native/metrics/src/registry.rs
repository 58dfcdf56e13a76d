//! The registry: metrics, their series, and the limits on both.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};
use thiserror::Error;

use crate::exemplar::{Exemplar, Exemplars};
use crate::exponential::ExponentialValue;
use crate::family::Number;
use crate::gauge::GaugeValue;
use crate::index::Index;
use crate::labels::LabelSet;
use crate::metric::{Buckets, Kind, Metric, Origin};
use crate::name::MetricName;
use crate::reader::Reader;
use crate::recorder::Recorder;
use crate::rejection::Rejection;
use crate::series::{Entries, MAX_ENTRIES, SeriesId};
use crate::slab::Slab;
use crate::slots::{QUARANTINE, Slots};
use crate::store::{Inner, State};
use crate::words::{self, Address, Words};

/// Limits and defaults of a registry.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most series of one metric, its overflow series included; at least 2.
    pub series_limit: u32,
    /// Most series of the whole registry, overflow series not counted.
    pub node_series_limit: u32,
    /// Most metrics.
    pub metrics_limit: u32,
    /// Buckets of histograms that were declared without any.
    pub default_buckets: Buckets,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            series_limit: 2_000,
            node_series_limit: 200_000,
            metrics_limit: 10_000,
            default_buckets: Buckets::default(),
        }
    }
}

/// What a metric is, said before its first use or after.
#[derive(Debug, Clone)]
pub struct Declaration {
    /// The metric's name.
    pub name: MetricName,
    /// The metric's kind.
    pub kind: Kind,
    /// Who declares it.
    pub origin: Origin,
    /// What it means, for `# HELP`.
    pub help: Option<String>,
    /// Its unit; shown by OpenMetrics where the name ends in it.
    pub unit: Option<String>,
    /// A histogram's buckets; without, the registry's default. An exponential
    /// histogram is shown by them where a format knows no other.
    pub buckets: Option<Buckets>,
    /// Most buckets of each sign of an exponential histogram, from 2 to 1 024;
    /// what is outside counts as the nearest. Without, 160.
    pub max_buckets: Option<u16>,
    /// Most series; without, the registry's default.
    pub limit: Option<u32>,
}

impl Declaration {
    /// A declaration by the application, with nothing but name and kind.
    #[must_use]
    pub fn new(kind: Kind, name: MetricName) -> Self {
        Self {
            name,
            kind,
            origin: Origin::Application,
            help: None,
            unit: None,
            buckets: None,
            max_buckets: None,
            limit: None,
        }
    }
}

/// Why a metric could not be declared.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeclareError {
    /// The name belongs to a metric of another kind.
    #[error("{name} is {}, not {}", .declared.with_article(), .asked.with_article())]
    KindConflict {
        /// The name that was given.
        name: String,
        /// What it is.
        declared: Kind,
        /// What it was to be.
        asked: Kind,
    },
    /// Another metric exposes one of the names that this one would.
    #[error("{name} would expose {clash}, which the {} {other} exposes already", .declared.as_str())]
    NameTaken {
        /// The name that was given.
        name: String,
        /// The exposed name that both would use.
        clash: String,
        /// The metric that has it.
        other: String,
        /// That metric's kind.
        declared: Kind,
    },
    /// The histogram has other buckets.
    #[error("{name} has other buckets, and a histogram's buckets cannot change")]
    BucketsDiffer {
        /// The name that was given.
        name: String,
    },
    /// The node has as many metrics as it may have.
    #[error("{name} would be one metric more than the limit of {limit}")]
    MetricsLimit {
        /// The name that was given.
        name: String,
        /// The limit.
        limit: u32,
    },
}

/// Why a name and labels do not lead to a series.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BindError {
    /// The metric cannot be what the call takes it for.
    #[error(transparent)]
    Declare(#[from] DeclareError),
    /// Histograms use this label for their bounds.
    #[error("a histogram cannot have a label le: it is the label of its buckets")]
    ReservedLabel,
    /// All handles are in use.
    #[error("no room for another series")]
    Full,
}

/// A series for a name and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The series to record into.
    pub id: SeriesId,
    /// Whether that is the metric's overflow series, as a limit was reached.
    pub overflowed: bool,
}

/// The value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A counter's or an up-down counter's sum: an integer as long as no float
    /// was added.
    Sum(Number),
    /// What a gauge was set to.
    Gauge(GaugeValue),
    /// What a histogram has counted.
    Histogram(HistogramValue),
    /// What an exponential histogram has counted.
    Exponential(ExponentialValue),
    /// An info metric has no value but its labels.
    Info,
}

/// What a histogram has counted.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramValue {
    /// The upper bounds.
    pub buckets: Buckets,
    /// Observations by bucket, not cumulated, +Inf's last.
    pub counts: Vec<u64>,
    /// Sum of all observations.
    pub sum: f64,
}

impl HistogramValue {
    /// What was counted since an earlier reading of the same series.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut now = self.clone();
        for (count, before) in now.counts.iter_mut().zip(&earlier.counts) {
            *count = count.wrapping_sub(*before);
        }
        now.sum -= earlier.sum;
        now
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }
}

/// Sizes of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Metrics, the library's own included.
    pub metrics: u32,
    /// Series, overflow series not counted.
    pub series: u32,
    /// Most series.
    pub series_limit: u32,
    /// Threads that have cells.
    pub threads: u32,
    /// Bytes held for series, cells, label texts and look-up tables.
    pub bytes: u64,
    /// Recordings that went to an overflow series.
    pub overflowed: u64,
    /// Refused recordings.
    pub rejected: u64,
    /// Exemplars held.
    pub exemplars: u32,
    /// Exemplars for which there was no room.
    pub exemplars_refused: u64,
}

/// Holds metrics, series and cells. Clones are the same registry.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::with_quarantine(options, QUARANTINE)
    }

    fn with_quarantine(options: Options, quarantine: Duration) -> Self {
        let random = |salt: u64| {
            let mut hasher = RandomState::new().build_hasher();
            hasher.write_u64(salt);
            hasher.finish()
        };
        let state = State {
            claims: HashMap::new(),
            entry_slots: Slots::new(MAX_ENTRIES, quarantine),
            cell_slots: Slots::new(words::END, quarantine),
            gauge_slots: Slots::new(words::END, quarantine),
            random: random(2) | 1,
        };
        Self {
            inner: Arc::new(Inner {
                entries: Entries::new(),
                gauges: Words::new(),
                exemplars: Exemplars::new(),
                metrics: boxcar::Vec::new(),
                index: Index::new(),
                metric_index: Index::new(),
                hash_key: [random(0), random(1)],
                created: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)),
                slabs: RwLock::default(),
                idle_slabs: Mutex::default(),
                state: Mutex::new(state),
                options: RwLock::new(options),
                node_full: AtomicBool::new(false),
                live: AtomicU32::new(0),
                overflowed: AtomicU64::new(0),
                rejected: [const { AtomicU64::new(0) }; Rejection::ALL.len()],
            }),
        }
    }

    /// When the registry was made, in nanoseconds since 1970.
    #[must_use]
    pub fn created_unix_nano(&self) -> u64 {
        self.inner.created
    }

    /// Changes the limits and defaults for what is registered from now on.
    /// Series that exist stay.
    pub fn set_options(&self, options: Options) {
        let live = self.inner.live.load(Relaxed);
        self.inner.node_full.store(live >= options.node_series_limit, Relaxed);
        *self.inner.options.write() = options;
    }

    /// A recorder for the calling thread.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        let idle = self.inner.idle_slabs.lock().pop();
        let slab = idle.unwrap_or_else(|| {
            let slab = Arc::new(Slab::new());
            self.inner.slabs.write().push(Arc::clone(&slab));
            slab
        });
        Recorder::new(Arc::clone(&self.inner), slab)
    }

    /// Declares a metric, or completes what is known of it. Declaring the same
    /// again is no error.
    ///
    /// # Errors
    ///
    /// [`DeclareError`]; nothing has changed then.
    pub fn declare(&self, declaration: Declaration) -> Result<(), DeclareError> {
        let inner = &*self.inner;
        let mut state = inner.state.lock();
        let Declaration { name, kind, origin, help, unit, buckets, max_buckets, limit } =
            declaration;
        let id = match inner.claimed(&state, kind, &name)? {
            Some(id) => {
                let changed = inner.metric(id).is_some_and(|metric| {
                    kind.is_histogram()
                        && buckets.as_ref().is_some_and(|new| *new != metric.buckets)
                        || kind == Kind::ExponentialHistogram
                            && max_buckets.is_some_and(|new| new != metric.max_buckets)
                });
                if changed {
                    return Err(DeclareError::BucketsDiffer { name: name.to_string() });
                }
                id
            }
            None => inner.add_metric(&mut state, kind, &name, origin, buckets, max_buckets)?,
        };
        if let Some(metric) = inner.metric(id) {
            let mut meta = metric.meta.write();
            if let Some(help) = help {
                meta.help = Some(help.into());
            }
            if let Some(unit) = unit {
                meta.unit = Some(unit.into());
            }
            if let Some(limit) = limit {
                metric.limit.store(limit.max(2), Relaxed);
                metric.update_full();
            }
        }
        Ok(())
    }

    /// The series of a name and labels, registered if it is new. Where a limit
    /// is reached this is the metric's overflow series, and counted as such.
    ///
    /// Finding a series takes no lock, nor does finding that the metric is
    /// full; registering one does.
    ///
    /// # Errors
    ///
    /// [`BindError`] for a name that is another kind's and the label `le` on a
    /// histogram.
    pub fn series(
        &self,
        kind: Kind,
        name: &MetricName,
        labels: &LabelSet,
    ) -> Result<Bound, BindError> {
        let inner = &*self.inner;
        let base = kind.base(name);
        let fingerprint = inner.fingerprint(base, Some(labels));
        match inner.find_series(fingerprint) {
            Some(id) if inner.kind_of(id) == Some(kind) => {
                return Ok(Bound { id, overflowed: false });
            }
            _ => {}
        }
        if kind.is_histogram() && labels.contains("le") {
            return Err(BindError::ReservedLabel);
        }
        if let Some(metric) = inner.find_metric(base)
            && metric.kind == kind
            && (metric.full.load(Relaxed) || inner.node_full.load(Relaxed))
            && let overflow @ 1.. = metric.overflow.load(Relaxed)
        {
            inner.overflowed.fetch_add(1, Relaxed);
            return Ok(Bound { id: SeriesId::from_raw(overflow), overflowed: true });
        }
        inner.register(kind, name, labels, fingerprint)
    }

    /// The kind of the metric that records under a name. Takes no lock.
    #[must_use]
    pub fn kind_of(&self, name: &MetricName) -> Option<Kind> {
        [Kind::Counter, Kind::Gauge, Kind::Info].into_iter().find_map(|kind| {
            let metric = self.inner.find_metric(kind.base(name))?;
            (metric.kind.base(name) == &*metric.base).then_some(metric.kind)
        })
    }

    /// The series of a name and labels, if there is one.
    #[must_use]
    pub fn find(&self, name: &MetricName, labels: &LabelSet) -> Option<SeriesId> {
        let inner = &*self.inner;
        let state = inner.state.lock();
        let metric = inner.named(&state, name)?;
        inner.find_series(inner.fingerprint(&metric.base, Some(labels)))
    }

    /// The value of a live series.
    #[must_use]
    pub fn value(&self, id: SeriesId) -> Option<Value> {
        let place = self.inner.entries.live(id)?.place();
        let metric = self.inner.metric(place.metric())?;
        Some(self.inner.reader().value(metric, id.number()))
    }

    /// The exemplars of a live series, with the number of the bucket that each
    /// belongs to; a counter's has the number 0.
    #[must_use]
    pub fn exemplars(&self, id: SeriesId) -> Vec<(usize, Exemplar)> {
        let mut found = Vec::new();
        self.inner.exemplars.read(id, &mut found);
        found.into_iter().map(|(bucket, exemplar)| (usize::from(bucket), exemplar)).collect()
    }

    /// Removes a series; what it counted is gone. `false` if there is none.
    pub fn remove(&self, id: SeriesId) -> bool {
        let inner = &*self.inner;
        let mut state = inner.state.lock();
        let Some(entry) = inner.entries.live(id) else { return false };
        let place = entry.place();
        let Some(metric) = inner.metric(place.metric()) else { return false };
        let mut rows = metric.rows.write();
        rows.remove(entry.row());
        if rows.wants_compaction() && !metric.is_visited() {
            rows.compact(|series, row| {
                if let Some(entry) = inner.entries.get(series) {
                    entry.set_row(row);
                }
            });
        }
        drop(rows);
        inner.index.remove(entry.fingerprint(), id.number());
        let float_cell = entry.float_cell();
        entry.empty();
        inner.exemplars.forget(id);
        state.entry_slots.free(Address::of(id.number()), 1);
        if let Some(cell) = float_cell {
            state.cell_slots.free(cell, 1);
        }
        match metric.kind {
            Kind::Counter | Kind::UpDownCounter => state.cell_slots.free(place.cells(), 1),
            Kind::Histogram => state.cell_slots.free(place.cells(), metric.buckets.cell_words()),
            Kind::Gauge => state.gauge_slots.free(place.cells(), 1),
            Kind::ExponentialHistogram => {
                inner.slabs.read().iter().for_each(|slab| slab.forget(id));
            }
            Kind::Info => {}
        }
        if metric.overflow.load(Relaxed) == id.to_raw() {
            metric.overflow.store(0, Relaxed);
        } else {
            metric.live.fetch_sub(1, Relaxed);
            metric.update_full();
            // The limit may have been lowered below what is there.
            let live = inner.live.fetch_sub(1, Relaxed) - 1;
            let limit = inner.options.read().node_series_limit;
            inner.node_full.store(live >= limit, Relaxed);
        }
        true
    }

    /// Removes every series of a metric; returns how many.
    pub fn remove_all(&self, name: &MetricName) -> usize {
        let inner = &*self.inner;
        let Some(metric) = inner.named(&inner.state.lock(), name) else { return 0 };
        let mut ids = Vec::new();
        metric.visit(|_, series| ids.extend(inner.entries.get(series).and_then(|e| e.handle())));
        ids.into_iter().filter(|id| self.remove(*id)).count()
    }

    /// Counts a refused recording.
    pub fn reject(&self, reason: Rejection) {
        if let Some(count) = self.inner.rejected.get(reason as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Sizes as of now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let inner = &*self.inner;
        let slabs = inner.slabs.read();
        let state = inner.state.lock();
        let cells_end = state.cell_slots.high_water();
        let mut bytes = inner.entries.bytes_below(state.entry_slots.high_water())
            + inner.gauges.bytes_below(state.gauge_slots.high_water())
            + inner.index.bytes()
            + inner.metric_index.bytes()
            + inner.exemplars.bytes();
        drop(state);
        bytes += slabs.iter().map(|slab| slab.bytes_below(cells_end)).sum::<usize>();
        bytes += inner
            .metrics
            .iter()
            .map(|(_, m)| size_of::<Metric>() + m.rows.read().bytes())
            .sum::<usize>();
        Stats {
            metrics: u32::try_from(inner.metrics.count()).unwrap_or(u32::MAX),
            series: inner.live.load(Relaxed),
            series_limit: inner.options.read().node_series_limit,
            threads: u32::try_from(slabs.len()).unwrap_or(u32::MAX),
            bytes: bytes as u64,
            overflowed: inner.overflowed.load(Relaxed),
            rejected: inner.rejected.iter().map(|count| count.load(Relaxed)).sum(),
            exemplars: inner.exemplars.held(),
            exemplars_refused: inner.exemplars.refused(),
        }
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        self.inner.reader()
    }

    /// The metrics, sorted by the name of their family.
    pub(crate) fn sorted_metrics(&self) -> Vec<&Metric> {
        let mut metrics: Vec<&Metric> =
            self.inner.metrics.iter().map(|(_, metric)| metric).collect();
        metrics.sort_unstable_by(|a, b| a.base.cmp(&b.base));
        metrics
    }

    /// Whether a metric of the registry exposes this name.
    pub(crate) fn exposes(&self, name: &str) -> bool {
        self.inner.state.lock().claims.contains_key(name)
    }
}

#[cfg(test)]
mod tests;
