//! The registry: metrics, their series, and the limits on both.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use siphasher::sip128::{Hasher128, SipHasher13};
use thiserror::Error;

use crate::family::{Family, FamilyKind, Number, Sample};
use crate::gauge::GaugeValue;
use crate::index::{Found, Index};
use crate::labels::LabelSet;
use crate::metric::{Buckets, Kind, Meta, Metric, Origin, Rows};
use crate::name::MetricName;
use crate::recorder::{Recorder, Slab};
use crate::rejection::Rejection;
use crate::series::{Entries, MAX_ENTRIES, Place, SeriesId};
use crate::slots::{QUARANTINE, Slots, Taken};
use crate::words::Words;

/// Most metrics whatever the options say: a place has 24 bits for them.
const MAX_METRICS: u32 = 1 << 24;

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
    /// A histogram's buckets; without, the registry's default.
    pub buckets: Option<Buckets>,
    /// Most series; without, the registry's default.
    pub limit: Option<u32>,
}

impl Declaration {
    /// A declaration by the application, with nothing but name and kind.
    #[must_use]
    pub fn new(kind: Kind, name: MetricName) -> Self {
        Self { name, kind, origin: Origin::Application, help: None, unit: None, buckets: None, limit: None }
    }
}

/// Why a metric could not be declared.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeclareError {
    /// The name belongs to a metric of another kind.
    #[error("{name} is a {}, not a {}", .declared.as_str(), .asked.as_str())]
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
}

/// Holds metrics, series and cells. Clones are the same registry.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) entries: Entries,
    /// Cells of gauges, shared by all threads: a set is one store.
    pub(crate) gauges: Words<1>,
    metrics: boxcar::Vec<Metric>,
    index: Index,
    metric_index: Index,
    hash_key: [u64; 2],
    slabs: RwLock<Vec<Arc<Slab>>>,
    idle_slabs: Mutex<Vec<Arc<Slab>>>,
    state: Mutex<State>,
    options: RwLock<Options>,
    node_full: AtomicBool,
    live: AtomicU32,
    overflowed: AtomicU64,
    rejected: [AtomicU64; Rejection::ALL.len()],
}

/// What registration changes, under one lock.
#[derive(Debug)]
struct State {
    /// Every exposed name, and the metric it belongs to.
    claims: HashMap<Box<str>, u32>,
    entry_slots: Slots,
    cell_slots: Slots,
    gauge_slots: Slots,
    random: u64,
}

/// Label of the series that takes what the limit refuses; OpenTelemetry's.
const OVERFLOW: (&str, &str) = ("otel_metric_overflow", "true");

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
            cell_slots: Slots::new(u32::MAX, quarantine),
            gauge_slots: Slots::new(u32::MAX, quarantine),
            random: random(2) | 1,
        };
        Self {
            inner: Arc::new(Inner {
                entries: Entries::new(),
                gauges: Words::new(),
                metrics: boxcar::Vec::new(),
                index: Index::new(),
                metric_index: Index::new(),
                hash_key: [random(0), random(1)],
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
        let Declaration { name, kind, origin, help, unit, buckets, limit } = declaration;
        let id = match inner.claimed(&state, kind, &name)? {
            Some(id) => {
                let changed = inner.metric(id).is_some_and(|metric| {
                    buckets.as_ref().is_some_and(|new| kind == Kind::Histogram && *new != metric.buckets)
                });
                if changed {
                    return Err(DeclareError::BucketsDiffer { name: name.to_string() });
                }
                id
            }
            None => inner.add_metric(&mut state, kind, &name, origin, buckets)?,
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
    pub fn series(&self, kind: Kind, name: &MetricName, labels: &LabelSet) -> Result<Bound, BindError> {
        let inner = &*self.inner;
        let base = kind.base(name);
        let fingerprint = inner.fingerprint(base, Some(labels));
        let found = inner.find_series(fingerprint);
        if let Found::Yes(id) = found
            && inner.kind_of(id) == Some(kind)
        {
            return Ok(Bound { id, overflowed: false });
        }
        if found == Found::No
            && let Found::Yes(metric) = inner.find_metric(base)
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
            match self.inner.find_metric(kind.base(name)) {
                Found::Yes(metric) if metric.kind.base(name) == &*metric.base => Some(metric.kind),
                _ => None,
            }
        })
    }

    /// The series of a name and labels, if there is one.
    #[must_use]
    pub fn find(&self, name: &MetricName, labels: &LabelSet) -> Option<SeriesId> {
        let inner = &*self.inner;
        let state = inner.state.lock();
        let metric = inner.metric(*state.claims.get(name.as_str())?)?;
        match inner.find_series(inner.fingerprint(&metric.base, Some(labels))) {
            Found::Yes(id) => Some(id),
            Found::No | Found::Unsure => None,
        }
    }

    /// The value of a live series.
    #[must_use]
    pub fn value(&self, id: SeriesId) -> Option<Value> {
        let place = self.inner.entries.live(id)?.place();
        let metric = self.inner.metric(place.metric())?;
        Some(self.inner.reader().value(metric, id.index()))
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
        inner.index.remove(entry.fingerprint(), id.index());
        let float_slot = entry.float_slot();
        entry.empty();
        state.entry_slots.free(id.index(), 1);
        if float_slot != 0 {
            state.cell_slots.free(float_slot, 1);
        }
        match metric.kind {
            Kind::Counter | Kind::UpDownCounter => state.cell_slots.free(place.slot(), 1),
            Kind::Histogram => state.cell_slots.free(place.slot(), metric.buckets.cell_words()),
            Kind::Gauge => state.gauge_slots.free(place.slot(), 1),
            Kind::Info => {}
        }
        if metric.overflow.load(Relaxed) == id.to_raw() {
            metric.overflow.store(0, Relaxed);
        } else {
            metric.live.fetch_sub(1, Relaxed);
            metric.update_full();
            inner.live.fetch_sub(1, Relaxed);
            inner.node_full.store(false, Relaxed);
        }
        true
    }

    /// Removes every series of a metric; returns how many.
    pub fn remove_all(&self, name: &MetricName) -> usize {
        let inner = &*self.inner;
        let metric = inner.state.lock().claims.get(name.as_str()).copied();
        let Some(metric) = metric.and_then(|id| inner.metric(id)) else { return 0 };
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
            + inner.metric_index.bytes();
        drop(state);
        bytes += slabs.iter().map(|slab| slab.bytes_below(cells_end)).sum::<usize>();
        bytes += inner.metrics.iter().map(|(_, m)| size_of::<Metric>() + m.rows.read().bytes()).sum::<usize>();
        Stats {
            metrics: u32::try_from(inner.metrics.count()).unwrap_or(u32::MAX),
            series: inner.live.load(Relaxed),
            series_limit: inner.options.read().node_series_limit,
            threads: u32::try_from(slabs.len()).unwrap_or(u32::MAX),
            bytes: bytes as u64,
            overflowed: inner.overflowed.load(Relaxed),
            rejected: inner.rejected.iter().map(|count| count.load(Relaxed)).sum(),
        }
    }

    /// The registry's figures about itself, as families for a scrape.
    #[must_use]
    pub fn own_families(&self) -> Vec<Family> {
        let stats = self.stats();
        let one = |name: &str, kind, help: &str, value: u64| Family {
            name: name.into(),
            kind,
            help: help.into(),
            samples: vec![Sample { labels: LabelSet::empty(), value: Number::Uint(value) }],
        };
        let rejected = Rejection::ALL.iter().zip(&self.inner.rejected).filter_map(|(reason, count)| {
            let labels = LabelSet::from_pairs([("reason", reason.as_str())]).ok()?;
            Some(Sample { labels, value: Number::Uint(count.load(Relaxed)) })
        });
        vec![
            Family {
                name: "erlmcp_metrics_rejected_samples_total".into(),
                kind: FamilyKind::Counter,
                help: "Recordings that were refused, by reason.".into(),
                samples: rejected.collect(),
            },
            one(
                "erlmcp_metrics_overflowed_samples_total",
                FamilyKind::Counter,
                "Recordings counted in an overflow series because a series limit was reached.",
                stats.overflowed,
            ),
            one("erlmcp_metrics_series", FamilyKind::Gauge, "Series held, overflow series not counted.", stats.series.into()),
            one("erlmcp_metrics_series_limit", FamilyKind::Gauge, "Most series that the node may hold.", stats.series_limit.into()),
            one("erlmcp_metrics_families", FamilyKind::Gauge, "Metrics registered.", stats.metrics.into()),
            one("erlmcp_metrics_recording_threads", FamilyKind::Gauge, "Threads that have recorded and hold cells.", stats.threads.into()),
            one("erlmcp_metrics_memory_bytes", FamilyKind::Gauge, "Memory held for series, cells, label texts and look-up tables.", stats.bytes),
        ]
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        self.inner.reader()
    }

    /// The metrics, sorted by the name of their family.
    pub(crate) fn sorted_metrics(&self) -> Vec<&Metric> {
        let mut metrics: Vec<&Metric> = self.inner.metrics.iter().map(|(_, metric)| metric).collect();
        metrics.sort_unstable_by(|a, b| a.base.cmp(&b.base));
        metrics
    }

    /// Whether a metric of the registry exposes this name.
    pub(crate) fn exposes(&self, name: &str) -> bool {
        self.inner.state.lock().claims.contains_key(name)
    }
}

impl Inner {
    pub(crate) fn metric(&self, id: u32) -> Option<&Metric> {
        self.metrics.get(id as usize)
    }

    fn kind_of(&self, id: SeriesId) -> Option<Kind> {
        self.entries.live(id)?.place().kind()
    }

    /// SipHash-1-3 with 128 bits under a random key: equal fingerprints are
    /// taken for equal series, and nobody outside can make two collide.
    fn fingerprint(&self, base: &str, labels: Option<&LabelSet>) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.hash_key[0], self.hash_key[1]);
        hasher.write(base.as_bytes());
        if let Some(labels) = labels {
            // No name and no label text has this byte: it parts the two.
            hasher.write(&[0xFF]);
            hasher.write(labels.as_str().as_bytes());
        }
        hasher.finish128().as_u128()
    }

    fn find_series(&self, fingerprint: u128) -> Found<SeriesId> {
        self.index.find(fingerprint, |entry| self.entries.get(entry)?.matches(fingerprint))
    }

    fn find_metric(&self, base: &str) -> Found<&Metric> {
        let fingerprint = self.fingerprint(base, None);
        self.metric_index
            .find(fingerprint, |id| self.metric(id).filter(|metric| metric.fingerprint == fingerprint))
    }

    /// The metric that has this name already, if it is of this kind.
    fn claimed(&self, state: &State, kind: Kind, name: &MetricName) -> Result<Option<u32>, DeclareError> {
        let base = kind.base(name);
        for claim in kind.claims(base) {
            let Some(id) = state.claims.get(claim.as_str()) else { continue };
            let Some(other) = self.metric(*id) else { continue };
            if *other.base == *base && other.kind == kind {
                return Ok(Some(*id));
            }
            if *other.base == *base || other.sample_name() == name.as_str() {
                return Err(DeclareError::KindConflict {
                    name: name.to_string(),
                    declared: other.kind,
                    asked: kind,
                });
            }
            return Err(DeclareError::NameTaken {
                name: name.to_string(),
                clash: claim,
                other: other.sample_name(),
                declared: other.kind,
            });
        }
        Ok(None)
    }

    fn add_metric(
        &self,
        state: &mut State,
        kind: Kind,
        name: &MetricName,
        origin: Origin,
        buckets: Option<Buckets>,
    ) -> Result<u32, DeclareError> {
        let base = kind.base(name);
        let options = self.options.read();
        let limit = options.metrics_limit.min(MAX_METRICS);
        let id = u32::try_from(self.metrics.count()).unwrap_or(u32::MAX);
        if id >= limit {
            return Err(DeclareError::MetricsLimit { name: name.to_string(), limit });
        }
        let fingerprint = self.fingerprint(base, None);
        let buckets = match kind {
            Kind::Histogram => buckets.unwrap_or_else(|| options.default_buckets.clone()),
            _ => Buckets::none(),
        };
        self.metrics.push(Metric {
            base: base.into(),
            kind,
            origin,
            buckets,
            fingerprint,
            meta: RwLock::new(Meta::default()),
            limit: AtomicU32::new(options.series_limit.max(2)),
            live: AtomicU32::new(0),
            full: AtomicBool::new(false),
            overflow: AtomicU64::new(0),
            rows: RwLock::new(Rows::default()),
            visitors: AtomicU32::new(0),
        });
        for claim in kind.claims(base) {
            state.claims.insert(claim.into(), id);
        }
        self.metric_index.insert(fingerprint, id, |id| self.metric(id).map_or(0, |m| m.fingerprint));
        Ok(id)
    }

    #[cold]
    fn register(
        &self,
        kind: Kind,
        name: &MetricName,
        labels: &LabelSet,
        fingerprint: u128,
    ) -> Result<Bound, BindError> {
        let mut state = self.state.lock();
        let metric_id = match self.claimed(&state, kind, name)? {
            Some(id) => id,
            None => self.add_metric(&mut state, kind, name, Origin::Application, None)?,
        };
        if kind == Kind::Histogram && labels.contains("le") {
            return Err(BindError::ReservedLabel);
        }
        // Another thread may have registered it since this one looked.
        if let Found::Yes(id) = self.find_series(fingerprint) {
            return Ok(Bound { id, overflowed: false });
        }
        let metric = self.metric(metric_id).ok_or(BindError::Full)?;
        if metric.full.load(Relaxed) || self.node_full.load(Relaxed) {
            self.overflowed.fetch_add(1, Relaxed);
            let id = self.overflow_series(&mut state, metric_id, metric)?;
            return Ok(Bound { id, overflowed: true });
        }
        let id = self.add_series(&mut state, metric_id, metric, labels, fingerprint)?;
        metric.live.fetch_add(1, Relaxed);
        metric.update_full();
        let live = self.live.fetch_add(1, Relaxed) + 1;
        self.node_full.store(live >= self.options.read().node_series_limit, Relaxed);
        Ok(Bound { id, overflowed: false })
    }

    fn overflow_series(&self, state: &mut State, metric_id: u32, metric: &Metric) -> Result<SeriesId, BindError> {
        if let overflow @ 1.. = metric.overflow.load(Relaxed) {
            return Ok(SeriesId::from_raw(overflow));
        }
        let labels = LabelSet::from_pairs([OVERFLOW]).unwrap_or_default();
        let fingerprint = self.fingerprint(&metric.base, Some(&labels));
        let id = match self.find_series(fingerprint) {
            Found::Yes(id) => id,
            Found::No | Found::Unsure => self.add_series(state, metric_id, metric, &labels, fingerprint)?,
        };
        metric.overflow.store(id.to_raw(), Relaxed);
        Ok(id)
    }

    fn add_series(
        &self,
        state: &mut State,
        metric_id: u32,
        metric: &Metric,
        labels: &LabelSet,
        fingerprint: u128,
    ) -> Result<SeriesId, BindError> {
        let slot = match metric.kind {
            Kind::Counter | Kind::UpDownCounter => self.take_cells(state, 1),
            Kind::Histogram => self.take_cells(state, metric.buckets.cell_words()),
            Kind::Gauge => self.take_gauge(state),
            Kind::Info => Some(0),
        };
        let slot = slot.ok_or(BindError::Full)?;
        let (Taken::Fresh(index) | Taken::Used(index)) = state.entry_slots.take(1).ok_or(BindError::Full)?;
        let entry = self.entries.make(index).ok_or(BindError::Full)?;
        let row = metric.rows.write().push(index, labels.as_str()).ok_or(BindError::Full)?;
        let id = SeriesId::new(index, state.next_random());
        entry.publish(id, Place::new(slot, metric.kind, metric_id), fingerprint, row);
        self.index.insert(fingerprint, index, |i| self.entries.get(i).map_or(0, |e| e.fingerprint()));
        Ok(id)
    }

    /// A run of zeroed cells in every thread's slab.
    fn take_cells(&self, state: &mut State, count: u32) -> Option<u32> {
        match state.cell_slots.take(count)? {
            Taken::Fresh(slot) => Some(slot),
            Taken::Used(slot) => {
                for slab in self.slabs.read().iter() {
                    for cell in slab.get(slot, count as usize).unwrap_or_default() {
                        cell.store(0, Relaxed);
                    }
                }
                Some(slot)
            }
        }
    }

    fn take_gauge(&self, state: &mut State) -> Option<u32> {
        let (Taken::Fresh(slot) | Taken::Used(slot)) = state.gauge_slots.take(1)?;
        let cell = self.gauges.get_or_make(slot, 1)?.first()?;
        cell.store(GaugeValue::Int(0).to_bits(), Relaxed);
        Some(slot)
    }

    /// Gives a counter a second cell, for floats, at the first one added.
    #[cold]
    pub(crate) fn give_float_slot(&self, id: SeriesId) -> Option<u32> {
        let mut state = self.state.lock();
        let entry = self.entries.live(id)?;
        match entry.float_slot() {
            0 => {
                let slot = self.take_cells(&mut state, 1)?;
                entry.set_float_slot(slot);
                Some(slot)
            }
            slot => Some(slot),
        }
    }

    pub(crate) fn take_back(&self, slab: &Arc<Slab>) {
        self.idle_slabs.lock().push(Arc::clone(slab));
    }

    fn reader(&self) -> Reader<'_> {
        Reader { inner: self, slabs: self.slabs.read().clone() }
    }
}

impl State {
    /// splitmix64: handles are to be told apart, not to be kept secret.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Sums cells over the threads that there were when it was made.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    inner: &'a Inner,
    slabs: Vec<Arc<Slab>>,
}

impl Reader<'_> {
    /// The sum of a counter or an up-down counter.
    pub(crate) fn sum(&self, metric: &Metric, series: u32) -> Number {
        let Some(entry) = self.inner.entries.get(series) else { return Number::Uint(0) };
        let slot = entry.place().slot();
        let cells = |slot| {
            self.slabs.iter().filter_map(move |slab| Some(slab.get(slot, 1)?.first()?.load(Relaxed)))
        };
        let whole = if metric.kind == Kind::Counter {
            Number::Uint(cells(slot).fold(0, u64::saturating_add))
        } else {
            Number::Int(cells(slot).fold(0, u64::wrapping_add).cast_signed())
        };
        match entry.float_slot() {
            0 => whole,
            slot => Number::Float(whole.as_f64() + cells(slot).map(f64::from_bits).sum::<f64>()),
        }
    }

    pub(crate) fn gauge(&self, series: u32) -> GaugeValue {
        let cell = self
            .inner
            .entries
            .get(series)
            .and_then(|entry| self.inner.gauges.get(entry.place().slot(), 1)?.first());
        cell.map_or(GaugeValue::Int(0), |cell| GaugeValue::from_bits(cell.load(Relaxed)))
    }

    /// Adds a histogram's counts into `counts`, one a bucket, and returns the
    /// sum of its observations.
    pub(crate) fn histogram(&self, metric: &Metric, series: u32, counts: &mut Vec<u64>) -> f64 {
        let buckets = metric.buckets.bounds().len() + 1;
        counts.clear();
        counts.resize(buckets, 0);
        let Some(entry) = self.inner.entries.get(series) else { return 0.0 };
        let slot = entry.place().slot();
        let mut sum = 0.0;
        for slab in &self.slabs {
            let Some((last, cells)) = slab.get(slot, buckets + 1).and_then(<[_]>::split_last) else { continue };
            for (count, cell) in counts.iter_mut().zip(cells) {
                *count = count.wrapping_add(cell.load(Relaxed));
            }
            sum += f64::from_bits(last.load(Relaxed));
        }
        sum
    }

    pub(crate) fn value(&self, metric: &Metric, series: u32) -> Value {
        match metric.kind {
            Kind::Counter | Kind::UpDownCounter => Value::Sum(self.sum(metric, series)),
            Kind::Gauge => Value::Gauge(self.gauge(series)),
            Kind::Histogram => {
                let mut counts = Vec::new();
                let sum = self.histogram(metric, series, &mut counts);
                Value::Histogram(HistogramValue { buckets: metric.buckets.clone(), counts, sum })
            }
            Kind::Info => Value::Info,
        }
    }
}
