//! What a registry is made of, and how a series gets into it.
//!
//! Everything that registration changes lies behind one lock; what recording
//! and reading need is readable without it.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use parking_lot::{Mutex, RwLock};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::exemplar::Exemplars;
use crate::gauge::GaugeValue;
use crate::index::Index;
use crate::labels::LabelSet;
use crate::metric::{
    Buckets, DEFAULT_MAX_BUCKETS, Kind, MAX_BUCKETS_RANGE, Meta, Metric, Origin, Rows,
};
use crate::name::MetricName;
use crate::reader::Reader;
use crate::registry::{BindError, Bound, DeclareError, Options};
use crate::rejection::Rejection;
use crate::series::{Entries, Place, SeriesId};
use crate::slab::Slab;
use crate::slots::{Slots, Taken};
use crate::words::{Address, Words};

/// Most metrics whatever the options say: a place has 24 bits for them.
const MAX_METRICS: u32 = 1 << 24;

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) entries: Entries,
    /// Cells of gauges, shared by all threads: a set is one store.
    pub(crate) gauges: Words<1>,
    pub(crate) exemplars: Exemplars,
    pub(crate) metrics: boxcar::Vec<Metric>,
    pub(crate) index: Index,
    pub(crate) metric_index: Index,
    pub(crate) hash_key: [u64; 2],
    /// In nanoseconds since 1970.
    pub(crate) created: u64,
    pub(crate) slabs: RwLock<Vec<Arc<Slab>>>,
    pub(crate) idle_slabs: Mutex<Vec<Arc<Slab>>>,
    pub(crate) state: Mutex<State>,
    pub(crate) options: RwLock<Options>,
    pub(crate) node_full: AtomicBool,
    pub(crate) live: AtomicU32,
    pub(crate) overflowed: AtomicU64,
    pub(crate) rejected: [AtomicU64; Rejection::ALL.len()],
}

/// What registration changes, under one lock.
#[derive(Debug)]
pub(crate) struct State {
    /// Every exposed name, and the metric it belongs to.
    pub(crate) claims: HashMap<Box<str>, u32>,
    pub(crate) entry_slots: Slots,
    pub(crate) cell_slots: Slots,
    pub(crate) gauge_slots: Slots,
    pub(crate) random: u64,
}

/// Label of the series that takes what the limit refuses; OpenTelemetry's.
pub(crate) const OVERFLOW: (&str, &str) = ("otel_metric_overflow", "true");

fn is_overflow(labels: &LabelSet) -> bool {
    let (name, value) = OVERFLOW;
    labels
        .as_str()
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix("=\""))
        .and_then(|rest| rest.strip_suffix('"'))
        == Some(value)
}

impl Inner {
    pub(crate) fn metric(&self, id: u32) -> Option<&Metric> {
        self.metrics.get(id as usize)
    }

    pub(crate) fn kind_of(&self, id: SeriesId) -> Option<Kind> {
        self.entries.live(id)?.place().kind()
    }

    /// SipHash-1-3 with 128 bits under a random key: equal fingerprints are
    /// taken for equal series, and nobody outside can make two collide.
    pub(crate) fn fingerprint(&self, base: &str, labels: Option<&LabelSet>) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.hash_key[0], self.hash_key[1]);
        hasher.write(base.as_bytes());
        if let Some(labels) = labels {
            // No name and no label text has this byte: it parts the two.
            hasher.write(&[0xFF]);
            hasher.write(labels.as_str().as_bytes());
        }
        hasher.finish128().as_u128()
    }

    pub(crate) fn find_series(&self, fingerprint: u128) -> Option<SeriesId> {
        self.index.find(fingerprint, |entry| self.entries.get(entry)?.matches(fingerprint))
    }

    pub(crate) fn find_metric(&self, base: &str) -> Option<&Metric> {
        let fingerprint = self.fingerprint(base, None);
        self.metric_index.find(fingerprint, |id| {
            self.metric(id).filter(|metric| metric.fingerprint == fingerprint)
        })
    }

    /// The metric that records under this name. The names of a histogram's
    /// parts lead nowhere.
    pub(crate) fn named(&self, state: &State, name: &MetricName) -> Option<&Metric> {
        let metric = self.metric(*state.claims.get(name.as_str())?)?;
        (metric.kind.base(name) == &*metric.base).then_some(metric)
    }

    /// Whether a counter's name is the one that OpenMetrics keeps for another
    /// metric's time of creation: `jobs_created` beside the counter `jobs`.
    pub(crate) fn is_created_of_another(&self, metric: &Metric) -> bool {
        metric.kind == Kind::Counter
            && metric.base.strip_suffix("_created").is_some_and(|stem| {
                self.find_metric(stem)
                    .is_some_and(|other| *other.base == *stem && other.kind.created(stem).is_some())
            })
    }

    /// The metric that has this name already, if it is of this kind.
    pub(crate) fn claimed(
        &self,
        state: &State,
        kind: Kind,
        name: &MetricName,
    ) -> Result<Option<u32>, DeclareError> {
        let base = kind.base(name);
        for claim in kind.claims(base) {
            let Some(id) = state.claims.get(claim.as_str()) else { continue };
            let Some(other) = self.metric(*id) else { continue };
            if *other.base == *base && other.kind == kind {
                return Ok(Some(*id));
            }
            // `jobs_created_total` beside `jobs_total`: both are wanted, and the
            // exposition finds a way (see `is_created_of_another`).
            let theirs = other.kind.created(&other.base);
            if kind == Kind::Counter && theirs.as_ref() == Some(&claim)
                || other.kind == Kind::Counter && kind.created(base).as_ref() == Some(&claim)
            {
                continue;
            }
            if other.kind.base(name) == &*other.base {
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

    pub(crate) fn add_metric(
        &self,
        state: &mut State,
        kind: Kind,
        name: &MetricName,
        origin: Origin,
        buckets: Option<Buckets>,
        max_buckets: Option<u16>,
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
            kind if kind.is_histogram() => {
                buckets.unwrap_or_else(|| options.default_buckets.clone())
            }
            _ => Buckets::none(),
        };
        self.metrics.push(Metric {
            base: base.into(),
            given: name.as_str().into(),
            kind,
            origin,
            buckets,
            max_buckets: max_buckets
                .unwrap_or(DEFAULT_MAX_BUCKETS)
                .clamp(MAX_BUCKETS_RANGE.0, MAX_BUCKETS_RANGE.1),
            fingerprint,
            meta: RwLock::new(Meta::default()),
            limit: AtomicU32::new(options.series_limit.max(2)),
            live: AtomicU32::new(0),
            full: AtomicBool::new(false),
            overflow: AtomicU64::new(0),
            observed_negative: AtomicBool::new(false),
            has_exemplars: AtomicBool::new(false),
            rows: RwLock::new(Rows::default()),
            visitors: AtomicU32::new(0),
        });
        let created = kind.created(base);
        for claim in kind.claims(base) {
            if created.as_ref() == Some(&claim) {
                state.claims.entry(claim.into()).or_insert(id);
            } else {
                state.claims.insert(claim.into(), id);
            }
        }
        self.metric_index
            .insert(fingerprint, id, |id| self.metric(id).map_or(0, |m| m.fingerprint));
        Ok(id)
    }

    #[cold]
    pub(crate) fn register(
        &self,
        kind: Kind,
        name: &MetricName,
        labels: &LabelSet,
        fingerprint: u128,
    ) -> Result<Bound, BindError> {
        let mut state = self.state.lock();
        let metric_id = match self.claimed(&state, kind, name)? {
            Some(id) => id,
            None => self.add_metric(&mut state, kind, name, Origin::Application, None, None)?,
        };
        // Another thread may have registered it since this one looked.
        if let Some(id) = self.find_series(fingerprint) {
            return Ok(Bound { id, overflowed: false });
        }
        let metric = self.metric(metric_id).ok_or(BindError::Full)?;
        if is_overflow(labels) {
            let id = self.overflow_series(&mut state, metric_id, metric)?;
            return Ok(Bound { id, overflowed: false });
        }
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

    pub(crate) fn overflow_series(
        &self,
        state: &mut State,
        metric_id: u32,
        metric: &Metric,
    ) -> Result<SeriesId, BindError> {
        if let overflow @ 1.. = metric.overflow.load(Relaxed) {
            return Ok(SeriesId::from_raw(overflow));
        }
        let labels = LabelSet::from_pairs([OVERFLOW]).unwrap_or_default();
        let fingerprint = self.fingerprint(&metric.base, Some(&labels));
        let id = self.add_series(state, metric_id, metric, &labels, fingerprint)?;
        metric.overflow.store(id.to_raw(), Relaxed);
        Ok(id)
    }

    pub(crate) fn add_series(
        &self,
        state: &mut State,
        metric_id: u32,
        metric: &Metric,
        labels: &LabelSet,
        fingerprint: u128,
    ) -> Result<SeriesId, BindError> {
        let cells = match metric.kind {
            Kind::Counter | Kind::UpDownCounter => self.take_cells(state, 1),
            Kind::Histogram => self.take_cells(state, metric.buckets.cell_words()),
            Kind::Gauge => self.take_gauge(state),
            // What these have is kept under their handles, or nowhere.
            Kind::Info | Kind::ExponentialHistogram => Some(Address::from_raw(0)),
        };
        let cells = cells.ok_or(BindError::Full)?;
        let (Taken::Fresh(slot) | Taken::Used(slot)) =
            state.entry_slots.take(1).ok_or(BindError::Full)?;
        let index = slot.index();
        let entry = self.entries.make(index).ok_or(BindError::Full)?;
        let row = metric.rows.write().push(index, labels.as_str()).ok_or(BindError::Full)?;
        let id = SeriesId::new(index, state.next_random());
        entry.publish(id, Place::new(cells, metric.kind, metric_id), fingerprint, row);
        self.index
            .insert(fingerprint, index, |i| self.entries.get(i).map_or(0, |e| e.fingerprint()));
        Ok(id)
    }

    /// A run of zeroed cells in every thread's slab.
    pub(crate) fn take_cells(&self, state: &mut State, count: u32) -> Option<Address> {
        match state.cell_slots.take(count)? {
            Taken::Fresh(slot) => Some(slot),
            Taken::Used(slot) => {
                for slab in self.slabs.read().iter() {
                    for cell in slab.cells.get_run(slot, count as usize).unwrap_or_default() {
                        cell.store(0, Relaxed);
                    }
                }
                Some(slot)
            }
        }
    }

    pub(crate) fn take_gauge(&self, state: &mut State) -> Option<Address> {
        let (Taken::Fresh(slot) | Taken::Used(slot)) = state.gauge_slots.take(1)?;
        self.gauges.make(slot);
        let [cell] = self.gauges.get(slot)?;
        cell.store(GaugeValue::Int(0).to_bits(), Relaxed);
        Some(slot)
    }

    /// Gives a counter a second cell, for floats, at the first one added.
    #[cold]
    pub(crate) fn give_float_cell(&self, id: SeriesId) -> Option<Address> {
        let mut state = self.state.lock();
        let entry = self.entries.live(id)?;
        match entry.float_cell() {
            Some(cell) => Some(cell),
            None => {
                let cell = self.take_cells(&mut state, 1)?;
                entry.set_float_cell(cell);
                Some(cell)
            }
        }
    }

    pub(crate) fn take_back(&self, slab: &Arc<Slab>) {
        self.idle_slabs.lock().push(Arc::clone(slab));
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { inner: self, slabs: self.slabs.read().clone() }
    }
}

impl State {
    /// splitmix64: handles are to be told apart, not to be kept secret.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
