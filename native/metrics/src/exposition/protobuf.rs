//! Length-delimited `io.prometheus.client.MetricFamily` messages.
//!
//! The messages are written field by field; field numbers are those of
//! `metrics.proto` in prometheus/client_model. The tests read them back with
//! a reader generated from that file.

use super::{Chunks, Exposition, NO_HELP, native, push_hex};
use crate::exemplar::{ByBucket, Exemplar};
use crate::family::{Family, FamilyKind, Number};
use crate::labels::{pairs, unescape};
use crate::metric::{Kind, Metric};
use crate::reader::Reader;

#[derive(Debug, Default)]
pub(super) struct ProtobufWriter {
    chunks: Chunks,
    family: Vec<u8>,
    metric: Vec<u8>,
    message: Vec<u8>,
    inner: Vec<u8>,
    counts: Vec<u64>,
    exemplars: ByBucket,
    exemplar: Vec<u8>,
}

/// Field numbers of `MetricFamily`.
mod family_field {
    pub(super) const NAME: u32 = 1;
    pub(super) const HELP: u32 = 2;
    pub(super) const TYPE: u32 = 3;
    pub(super) const METRIC: u32 = 4;
    pub(super) const UNIT: u32 = 5;
}

/// Values of `MetricType`.
mod metric_type {
    pub(super) const COUNTER: u64 = 0;
    pub(super) const GAUGE: u64 = 1;
    pub(super) const UNTYPED: u64 = 3;
    pub(super) const HISTOGRAM: u64 = 4;
}

/// Field numbers of `Metric`.
mod metric_field {
    pub(super) const LABEL: u32 = 1;
    pub(super) const GAUGE: u32 = 2;
    pub(super) const COUNTER: u32 = 3;
    pub(super) const UNTYPED: u32 = 5;
    pub(super) const HISTOGRAM: u32 = 7;
}

/// Field number of the value in `Gauge`, `Counter` and `Untyped`.
const VALUE: u32 = 1;

impl ProtobufWriter {
    pub(super) fn finish(self) -> Exposition {
        self.chunks.finish()
    }

    pub(super) fn metric(&mut self, metric: &Metric, reader: &Reader<'_>) {
        if metric.rows.read().is_empty() {
            return;
        }
        let meta = metric.meta.read().clone();
        let help = meta.help.as_deref().unwrap_or(NO_HELP);
        let (type_number, field) = match metric.kind {
            Kind::Counter => (metric_type::COUNTER, metric_field::COUNTER),
            Kind::UpDownCounter | Kind::Gauge | Kind::Info => {
                (metric_type::GAUGE, metric_field::GAUGE)
            }
            Kind::Histogram | Kind::ExponentialHistogram => {
                (metric_type::HISTOGRAM, metric_field::HISTOGRAM)
            }
        };
        self.begin(&metric.sample_name(), help, type_number);
        metric.visit(|labels, series| match metric.kind {
            Kind::Counter => {
                reader.exemplars(metric, series, &mut self.exemplars);
                let exemplar = self.exemplars.pop().map(|(_, exemplar)| exemplar);
                self.counter(labels, reader.sum(metric, series).as_f64(), exemplar.as_ref());
            }
            Kind::UpDownCounter => {
                self.number(field, labels, reader.sum(metric, series).as_f64());
            }
            Kind::Gauge => self.number(field, labels, reader.gauge(series).as_f64()),
            Kind::Info => self.number(field, labels, 1.0),
            Kind::Histogram => self.histogram(metric, reader, labels, series),
            Kind::ExponentialHistogram => self.exponential(metric, reader, labels, series),
        });
        if let Some(unit) = meta.unit.as_deref().filter(|unit| !unit.is_empty()) {
            push_bytes(&mut self.family, family_field::UNIT, unit.as_bytes());
        }
        self.end();
    }

    pub(super) fn family(&mut self, family: &Family) {
        let (type_number, field) = match super::kind_of(family) {
            FamilyKind::Counter => (metric_type::COUNTER, metric_field::COUNTER),
            FamilyKind::Gauge => (metric_type::GAUGE, metric_field::GAUGE),
            FamilyKind::Untyped => (metric_type::UNTYPED, metric_field::UNTYPED),
        };
        let help = if family.help.is_empty() { NO_HELP } else { &family.help };
        self.begin(&family.name, help, type_number);
        for sample in family.distinct_samples() {
            self.number(field, sample.labels.as_str(), Number::as_f64(sample.value));
        }
        self.end();
    }

    fn begin(&mut self, name: &str, help: &str, type_number: u64) {
        self.family.clear();
        push_bytes(&mut self.family, family_field::NAME, name.as_bytes());
        push_bytes(&mut self.family, family_field::HELP, help.as_bytes());
        push_varint_field(&mut self.family, family_field::TYPE, type_number);
    }

    fn end(&mut self) {
        push_varint(&mut self.chunks.current, self.family.len() as u64);
        // A family larger than a chunk makes a larger chunk: its length has to
        // stand before it, so it is whole in memory anyway.
        self.chunks.current.extend_from_slice(&self.family);
        self.chunks.cut();
    }

    fn number(&mut self, field: u32, labels: &str, value: f64) {
        self.begin_metric(labels);
        self.message.clear();
        push_double(&mut self.message, VALUE, value);
        push_bytes(&mut self.metric, field, &self.message);
        self.end_metric();
    }

    fn counter(&mut self, labels: &str, value: f64, exemplar: Option<&Exemplar>) {
        const EXEMPLAR: u32 = 2;

        self.begin_metric(labels);
        self.message.clear();
        push_double(&mut self.message, VALUE, value);
        if let Some(exemplar) = exemplar {
            write_exemplar(&mut self.exemplar, exemplar);
            push_bytes(&mut self.message, EXEMPLAR, &self.exemplar);
        }
        push_bytes(&mut self.metric, metric_field::COUNTER, &self.message);
        self.end_metric();
    }

    fn histogram(&mut self, metric: &Metric, reader: &Reader<'_>, labels: &str, series: u32) {
        // Before the counts, which then have what the exemplars were counted in.
        reader.exemplars(metric, series, &mut self.exemplars);
        let sum = reader.histogram(metric, series, &mut self.counts);
        self.begin_metric(labels);
        self.explicit_buckets(metric, sum);
        push_bytes(&mut self.metric, metric_field::HISTOGRAM, &self.message);
        self.end_metric();
    }

    /// An exponential histogram: a server that knows native histograms takes
    /// it as one, any other by its explicit bounds.
    fn exponential(&mut self, metric: &Metric, reader: &Reader<'_>, labels: &str, series: u32) {
        reader.exemplars(metric, series, &mut self.exemplars);
        let value = reader.exponential(metric, series);
        self.counts.clone_from(&value.explicit.counts);
        self.begin_metric(labels);
        self.explicit_buckets(metric, value.explicit.sum);
        native::push(&mut self.message, value);
        push_bytes(&mut self.metric, metric_field::HISTOGRAM, &self.message);
        self.end_metric();
    }

    /// Writes count, sum and buckets of a `Histogram` into `self.message`.
    fn explicit_buckets(&mut self, metric: &Metric, sum: f64) {
        const SAMPLE_COUNT: u32 = 1;
        const SAMPLE_SUM: u32 = 2;
        const BUCKET: u32 = 3;
        const CUMULATIVE_COUNT: u32 = 1;
        const UPPER_BOUND: u32 = 2;
        const EXEMPLAR: u32 = 3;

        let total = self.counts.iter().fold(0_u64, |sum, count| sum.wrapping_add(*count));
        self.message.clear();
        push_varint_field(&mut self.message, SAMPLE_COUNT, total);
        push_double(&mut self.message, SAMPLE_SUM, sum);
        let mut cumulative = 0_u64;
        let mut exemplars = self.exemplars.iter().peekable();
        let bounds = metric.buckets.bounds().iter().copied().chain([f64::INFINITY]);
        for (n, (bound, count)) in (0..).zip(bounds.zip(&self.counts)) {
            cumulative = cumulative.wrapping_add(*count);
            self.inner.clear();
            push_varint_field(&mut self.inner, CUMULATIVE_COUNT, cumulative);
            push_double(&mut self.inner, UPPER_BOUND, bound);
            if let Some((_, exemplar)) = exemplars.next_if(|(bucket, _)| *bucket == n) {
                write_exemplar(&mut self.exemplar, exemplar);
                push_bytes(&mut self.inner, EXEMPLAR, &self.exemplar);
            }
            push_bytes(&mut self.message, BUCKET, &self.inner);
        }
    }

    fn begin_metric(&mut self, labels: &str) {
        const NAME: u32 = 1;
        const VALUE: u32 = 2;

        self.metric.clear();
        for (name, value) in pairs(labels) {
            self.inner.clear();
            unescape(value, &mut self.inner);
            self.message.clear();
            push_bytes(&mut self.message, NAME, name.as_bytes());
            push_bytes(&mut self.message, VALUE, &self.inner);
            push_bytes(&mut self.metric, metric_field::LABEL, &self.message);
        }
    }

    fn end_metric(&mut self) {
        push_bytes(&mut self.family, family_field::METRIC, &self.metric);
        self.chunks.samples += 1;
    }
}

/// Writes an `Exemplar` into `out`, in the place of what was there.
fn write_exemplar(out: &mut Vec<u8>, exemplar: &Exemplar) {
    const LABEL: u32 = 1;
    const LABEL_NAME: u32 = 1;
    const LABEL_VALUE: u32 = 2;
    const EXEMPLAR_VALUE: u32 = 2;
    const TIMESTAMP: u32 = 3;
    const SECONDS: u32 = 1;
    const NANOS: u32 = 2;

    out.clear();
    let ids: [(&str, &[u8]); 2] =
        [("trace_id", &exemplar.trace_id), ("span_id", &exemplar.span_id)];
    let mut inner = Vec::with_capacity(64);
    for (name, id) in ids {
        inner.clear();
        push_bytes(&mut inner, LABEL_NAME, name.as_bytes());
        let mut hex = Vec::with_capacity(32);
        push_hex(&mut hex, id);
        push_bytes(&mut inner, LABEL_VALUE, &hex);
        push_bytes(out, LABEL, &inner);
    }
    push_double(out, EXEMPLAR_VALUE, exemplar.value);
    let (seconds, nanos) = super::seconds_and_nanos(exemplar.time_unix_nano);
    inner.clear();
    push_varint_field(&mut inner, SECONDS, seconds);
    push_varint_field(&mut inner, NANOS, nanos);
    push_bytes(out, TIMESTAMP, &inner);
}

const VARINT: u32 = 0;
const FIXED_64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;

#[allow(clippy::cast_possible_truncation)]
pub(super) fn push_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A signed number in which small ones of both signs are small.
pub(super) fn zigzag(n: i64) -> u64 {
    (n << 1 ^ n >> 63).cast_unsigned()
}

pub(super) fn push_sint_field(out: &mut Vec<u8>, field: u32, n: i64) {
    push_varint_field(out, field, zigzag(n));
}

fn push_tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    push_varint(out, u64::from(field << 3 | wire_type));
}

pub(super) fn push_varint_field(out: &mut Vec<u8>, field: u32, n: u64) {
    push_tag(out, field, VARINT);
    push_varint(out, n);
}

pub(super) fn push_double(out: &mut Vec<u8>, field: u32, x: f64) {
    push_tag(out, field, FIXED_64);
    out.extend_from_slice(&x.to_le_bytes());
}

pub(super) fn push_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    push_tag(out, field, LENGTH_DELIMITED);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
