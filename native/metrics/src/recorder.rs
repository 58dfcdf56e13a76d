//! Recording: what a thread does on its own, without locks.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use thiserror::Error;

use crate::exemplar::{Exemplar, Recent};
use crate::exponential::ExponentialValue;
use crate::gauge::GaugeValue;
use crate::metric::Kind;
use crate::reader::saturating_sum;
use crate::registry::HistogramValue;
use crate::series::{Entry, Place, SeriesId};
use crate::slab::Slab;
use crate::store::Inner;
use crate::words::Address;

/// Records into the cells of one thread.
///
/// A cell has one writer, so an addition is a load and a store, without an
/// atomic read-modify-write; readers sum the cells of all threads. When a
/// recorder is dropped its cells keep their counts and the next recorder
/// goes on with them.
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<Inner>,
    slab: Arc<Slab>,
    recent_exemplars: Recent,
    /// One thread at a time: `Send`, not `Sync`.
    not_sync: PhantomData<Cell<()>>,
}

/// Why a value was not recorded. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The number is not the handle of a live series.
    #[error("no such series: the handle was never given out, or the series was removed")]
    UnknownSeries,
    /// A counter was to go down.
    #[error("a counter never goes down; use an up_down_counter or a gauge")]
    Negative,
    /// NaN or an infinity where a finite number is needed.
    #[error("the value is not a finite number")]
    NotFinite,
    /// The kind of metric has no such operation.
    #[error("{} cannot be {operation}", .kind.with_article())]
    WrongKind {
        /// The metric's kind.
        kind: Kind,
        /// What was tried: `added to`, `set` or `observed`.
        operation: &'static str,
    },
}

/// Adds to a cell that only this thread writes.
#[inline(always)]
fn update(cell: &AtomicU64, change: impl FnOnce(u64) -> u64) {
    cell.store(change(cell.load(Relaxed)), Relaxed);
}

fn add_f64(cell: &AtomicU64, x: f64) {
    // A sum that overflows stays at the largest number: an infinity could
    // never be left again.
    update(cell, |bits| saturating_sum(f64::from_bits(bits), x).to_bits());
}

impl Recorder {
    pub(crate) fn new(inner: Arc<Inner>, slab: Arc<Slab>) -> Self {
        Self { inner, slab, recent_exemplars: Recent::new(), not_sync: PhantomData }
    }

    #[inline(always)]
    fn live(&self, id: SeriesId) -> Result<(Entry<'_>, Place, Kind), RecordError> {
        let entry = self.inner.entries.live(id).ok_or(RecordError::UnknownSeries)?;
        let place = entry.place();
        let kind = place.kind().ok_or(RecordError::UnknownSeries)?;
        Ok((entry, place, kind))
    }

    #[inline(always)]
    fn cell(&self, at: Address) -> Result<&AtomicU64, RecordError> {
        match self.slab.cells.get(at) {
            Some([cell]) => Ok(cell),
            None => self.new_cell(at),
        }
    }

    #[cold]
    fn new_cell(&self, at: Address) -> Result<&AtomicU64, RecordError> {
        self.slab.cells.make(at);
        self.slab.cells.get(at).map(|[cell]| cell).ok_or(RecordError::UnknownSeries)
    }

    /// Adds to a counter that this thread has added to before; `false` if it
    /// is anything else, and then nothing has changed. A handful of loads and
    /// one store, for the hottest path.
    #[inline(always)]
    #[must_use]
    pub fn try_count(&self, id: SeriesId, n: u64) -> bool {
        if let Some(entry) = self.inner.entries.live(id)
            && let place = entry.place()
            && place.is_counter()
            && let Some([cell]) = self.slab.cells.get(place.cells())
        {
            update(cell, |sum| sum.saturating_add(n));
            return true;
        }
        false
    }

    /// Adds an integer to a counter, an up-down counter or a gauge.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: an unknown series, a negative number for a counter, a
    /// kind that is not added to.
    #[inline]
    pub fn add_int(&self, id: SeriesId, n: i64) -> Result<(), RecordError> {
        let (_, place, kind) = self.live(id)?;
        match kind {
            Kind::Counter => {
                let n = u64::try_from(n).map_err(|_| RecordError::Negative)?;
                update(self.cell(place.cells())?, |sum| sum.saturating_add(n));
                Ok(())
            }
            Kind::UpDownCounter => {
                // Two's complement: the sum over all threads is right even
                // where the part of one thread wraps.
                update(self.cell(place.cells())?, |sum| sum.wrapping_add_signed(n));
                Ok(())
            }
            Kind::Gauge => self.add_to_gauge(place, GaugeValue::Int(n)),
            Kind::Histogram | Kind::ExponentialHistogram | Kind::Info => {
                Err(RecordError::WrongKind { kind, operation: "added to" })
            }
        }
    }

    /// Adds a float to a counter, an up-down counter or a gauge.
    ///
    /// # Errors
    ///
    /// As [`Recorder::add_int`], and [`RecordError::NotFinite`].
    pub fn add_float(&self, id: SeriesId, x: f64) -> Result<(), RecordError> {
        if !x.is_finite() {
            return Err(RecordError::NotFinite);
        }
        let (entry, place, kind) = self.live(id)?;
        match kind {
            Kind::Counter if x < 0.0 => Err(RecordError::Negative),
            Kind::Counter | Kind::UpDownCounter => {
                let cell = match entry.float_cell() {
                    Some(cell) => cell,
                    None => self.inner.give_float_cell(id).ok_or(RecordError::UnknownSeries)?,
                };
                add_f64(self.cell(cell)?, x);
                Ok(())
            }
            Kind::Gauge => self.add_to_gauge(place, GaugeValue::Float(x)),
            Kind::Histogram | Kind::ExponentialHistogram | Kind::Info => {
                Err(RecordError::WrongKind { kind, operation: "added to" })
            }
        }
    }

    /// Sets a gauge. NaN and the infinities are values like others.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: an unknown series, or not a gauge.
    #[inline]
    pub fn set(&self, id: SeriesId, value: GaugeValue) -> Result<(), RecordError> {
        let (_, place, kind) = self.live(id)?;
        match kind {
            Kind::Gauge => {
                self.gauge_cell(place)?.store(value.to_bits(), Relaxed);
                Ok(())
            }
            _ => Err(RecordError::WrongKind { kind, operation: "set" }),
        }
    }

    /// Counts an observation in a histogram.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: an unknown series, not a histogram, not finite.
    #[inline]
    pub fn observe(&self, id: SeriesId, value: f64) -> Result<(), RecordError> {
        if !value.is_finite() {
            return Err(RecordError::NotFinite);
        }
        let (_, place, kind) = self.live(id)?;
        if kind != Kind::Histogram {
            return self.observe_otherwise(id, place, kind, value);
        }
        let metric = self.inner.metric(place.metric()).ok_or(RecordError::UnknownSeries)?;
        if value < 0.0 && !metric.observed_negative.load(Relaxed) {
            metric.observed_negative.store(true, Relaxed);
        }
        let words = metric.buckets.bounds().len() + 2;
        let cells = match self.slab.cells.get_run(place.cells(), words) {
            Some(cells) => cells,
            None => {
                self.slab.cells.make(place.cells());
                self.slab.cells.get_run(place.cells(), words).ok_or(RecordError::UnknownSeries)?
            }
        };
        if let (Some(sum), Some(bucket)) = (cells.last(), cells.get(metric.buckets.index(value))) {
            add_f64(sum, value);
            update(bucket, |count| count.wrapping_add(1));
        }
        Ok(())
    }

    /// As [`Recorder::observe`], where it is no histogram of fixed buckets.
    #[inline(never)]
    fn observe_otherwise(
        &self,
        id: SeriesId,
        place: Place,
        kind: Kind,
        value: f64,
    ) -> Result<(), RecordError> {
        if kind != Kind::ExponentialHistogram {
            return Err(RecordError::WrongKind { kind, operation: "observed" });
        }
        let metric = self.inner.metric(place.metric()).ok_or(RecordError::UnknownSeries)?;
        if value < 0.0 && !metric.observed_negative.load(Relaxed) {
            metric.observed_negative.store(true, Relaxed);
        }
        let is_live = || self.inner.entries.live(id).is_some();
        let new = || {
            let buckets = metric.buckets.clone();
            let counts = vec![0; buckets.bounds().len() + 1];
            ExponentialValue::new(HistogramValue { buckets, counts, sum: 0.0 })
        };
        self.slab
            .update_exponential(id, is_live, new, |part| part.observe(value, metric.max_buckets))
            .ok_or(RecordError::UnknownSeries)
    }

    /// Counts an observation in a histogram, and keeps it as an exemplar of its
    /// bucket. `exemplar.value` is what is observed.
    ///
    /// # Errors
    ///
    /// As [`Recorder::observe`]; no exemplar is kept then.
    pub fn observe_with_exemplar(
        &self,
        id: SeriesId,
        exemplar: Exemplar,
    ) -> Result<(), RecordError> {
        self.observe(id, exemplar.value)?;
        self.keep_exemplar(id, exemplar);
        Ok(())
    }

    /// Keeps an exemplar of what was recorded into a histogram or a counter
    /// just now. It takes the place of the one that the bucket had. Other kinds
    /// have none.
    ///
    /// This never waits, and a bucket takes no second one of a thread within
    /// 100 ms: which exemplars are kept is a matter of chance.
    pub fn keep_exemplar(&self, id: SeriesId, exemplar: Exemplar) {
        let Ok((_, place, kind)) = self.live(id) else { return };
        let Some(metric) = self.inner.metric(place.metric()) else { return };
        let bucket = match kind {
            Kind::Histogram | Kind::ExponentialHistogram => metric.buckets.index(exemplar.value),
            Kind::Counter => 0,
            Kind::UpDownCounter | Kind::Gauge | Kind::Info => return,
        };
        let Ok(bucket) = u16::try_from(bucket) else { return };
        if !self.recent_exemplars.is_due(id, bucket, exemplar.time_unix_nano) {
            return;
        }
        if !metric.has_exemplars.load(Relaxed) {
            metric.has_exemplars.store(true, Relaxed);
        }
        let is_live = || self.inner.entries.live(id).is_some();
        self.inner.exemplars.keep(id, bucket, exemplar, is_live);
    }

    #[inline(always)]
    fn gauge_cell(&self, place: Place) -> Result<&AtomicU64, RecordError> {
        self.inner.gauges.get(place.cells()).map(|[cell]| cell).ok_or(RecordError::UnknownSeries)
    }

    fn add_to_gauge(&self, place: Place, change: GaugeValue) -> Result<(), RecordError> {
        let cell = self.gauge_cell(place)?;
        let mut old = cell.load(Relaxed);
        loop {
            let new = GaugeValue::from_bits(old).plus(change).to_bits();
            match cell.compare_exchange_weak(old, new, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(found) => old = found,
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.inner.take_back(&self.slab);
    }
}
