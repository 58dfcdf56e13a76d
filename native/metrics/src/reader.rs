//! Reading: sums over the cells of all threads, while they record.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::exemplar::ByBucket;
use crate::exponential::ExponentialValue;
use crate::family::Number;
use crate::gauge::GaugeValue;
use crate::metric::{Kind, Metric};
use crate::registry::{HistogramValue, Value};
use crate::series::SeriesId;
use crate::slab::Slab;
use crate::store::Inner;

/// Sums cells over the threads that there were when it was made.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) slabs: Vec<Arc<Slab>>,
}

impl Reader<'_> {
    /// The handle of a live series.
    pub(crate) fn handle(&self, series: u32) -> Option<SeriesId> {
        self.inner.entries.get(series)?.handle()
    }

    /// Whether OpenMetrics cannot show this counter as one.
    pub(crate) fn is_created_of_another(&self, metric: &Metric) -> bool {
        self.inner.is_created_of_another(metric)
    }

    /// The sum of a counter or an up-down counter.
    pub(crate) fn sum(&self, metric: &Metric, series: u32) -> Number {
        let Some(entry) = self.inner.entries.get(series) else { return Number::Uint(0) };
        let slot = entry.place().cells();
        let cells = |slot| {
            self.slabs.iter().filter_map(move |slab| Some(slab.cells.get(slot)?[0].load(Relaxed)))
        };
        let whole = if metric.kind == Kind::Counter {
            Number::Uint(cells(slot).fold(0, u64::saturating_add))
        } else {
            Number::Int(cells(slot).fold(0, u64::wrapping_add).cast_signed())
        };
        match entry.float_cell() {
            None => whole,
            Some(slot) => {
                let floats = cells(slot).map(f64::from_bits).fold(0.0, saturating_sum);
                Number::Float(saturating_sum(whole.as_f64(), floats))
            }
        }
    }

    pub(crate) fn gauge(&self, series: u32) -> GaugeValue {
        let cell = self
            .inner
            .entries
            .get(series)
            .and_then(|entry| self.inner.gauges.get(entry.place().cells()).map(|[cell]| cell));
        cell.map_or(GaugeValue::Int(0), |cell| GaugeValue::from_bits(cell.load(Relaxed)))
    }

    /// What an exponential histogram has counted.
    pub(crate) fn exponential(&self, metric: &Metric, series: u32) -> ExponentialValue {
        let buckets = metric.buckets.clone();
        let counts = vec![0; buckets.bounds().len() + 1];
        let mut value = ExponentialValue::new(HistogramValue { buckets, counts, sum: 0.0 });
        if let Some(id) = self.handle(series) {
            for slab in &self.slabs {
                slab.read_exponential(id, |part| value.merge(part, metric.max_buckets));
            }
        }
        value
    }

    /// Adds a histogram's counts into `counts`, one a bucket, and returns the
    /// sum of its observations.
    pub(crate) fn histogram(&self, metric: &Metric, series: u32, counts: &mut Vec<u64>) -> f64 {
        let buckets = metric.buckets.bounds().len() + 1;
        counts.clear();
        counts.resize(buckets, 0);
        let Some(entry) = self.inner.entries.get(series) else { return 0.0 };
        let mut sum = 0.0;
        if metric.kind == Kind::ExponentialHistogram {
            let Some(id) = entry.handle() else { return 0.0 };
            for slab in &self.slabs {
                slab.read_exponential(id, |part| {
                    for (count, more) in counts.iter_mut().zip(&part.explicit.counts) {
                        *count = count.wrapping_add(*more);
                    }
                    sum = saturating_sum(sum, part.explicit.sum);
                });
            }
            return sum;
        }
        let slot = entry.place().cells();
        for slab in &self.slabs {
            let Some((last, cells)) =
                slab.cells.get_run(slot, buckets + 1).and_then(<[_]>::split_last)
            else {
                continue;
            };
            for (count, cell) in counts.iter_mut().zip(cells) {
                *count = count.wrapping_add(cell.load(Relaxed));
            }
            sum = saturating_sum(sum, f64::from_bits(last.load(Relaxed)));
        }
        sum
    }

    /// Puts the exemplars of a series into `out`.
    #[inline]
    pub(crate) fn exemplars(&self, metric: &Metric, series: u32, out: &mut ByBucket) {
        out.clear();
        if metric.has_exemplars.load(Relaxed)
            && let Some(id) = self.handle(series)
        {
            self.inner.exemplars.read(id, out);
        }
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
            Kind::ExponentialHistogram => Value::Exponential(self.exponential(metric, series)),
            Kind::Info => Value::Info,
        }
    }
}

/// A sum of finite floats that stays finite.
pub(crate) fn saturating_sum(a: f64, b: f64) -> f64 {
    (a + b).clamp(f64::MIN, f64::MAX)
}
