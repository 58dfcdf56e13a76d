//! Data points, and the `Metric` messages that they go into.

use std::borrow::Cow;

use erlmcp_metrics::exposition::families_beside;
use erlmcp_metrics::{
    Exemplar, ExponentialBuckets, ExponentialValue, Family, FamilyKind, GaugeValue, HistogramValue,
    Kind, MetricReading, Number, Registry, SeriesReading, Value,
};
use erlmcp_trace::{RECORD_TAG, Records};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as ExemplarMessage, ExponentialHistogram,
    ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    Sum, exemplar, exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
};
use prost::Message;

use super::temporality::{Reported, Temporality, TemporalityState};
use super::unit::ucum;

/// A metric whose points are longer than this goes into several records of the
/// same name, so that none is too large for a request.
const MAX_RECORD_BYTES: usize = 256 * 1024;

/// The attribute that OpenTelemetry gives an overflow series.
const OVERFLOW: &str = "otel.metric.overflow";

/// Encodes all metrics of a registry, its figures about itself, and gathered
/// families, each as a record. A gathered family whose name is taken is left
/// out.
///
/// Times are in nanoseconds since 1970.
#[must_use]
pub fn encode_metrics(
    registry: &Registry,
    gathered: &[Family],
    state: &mut TemporalityState,
    now_unix_nano: u64,
) -> Records {
    state.begin();
    let mut encoder = Encoder { records: Records::default(), now: now_unix_nano };
    registry.read(|metric| encoder.metric(metric, state));
    let own = registry.own_families();
    for family in families_beside(registry, own.iter().chain(gathered)) {
        encoder.family(family, state);
    }
    state.end(now_unix_nano);
    encoder.records
}

struct Encoder {
    records: Records,
    now: u64,
}

/// The points of one metric that are not yet in a record.
struct Pending {
    name: String,
    description: String,
    unit: String,
    temporality: AggregationTemporality,
    points: Points,
    bytes: usize,
}

enum Points {
    Sum { monotonic: bool, points: Vec<NumberDataPoint> },
    Gauge(Vec<NumberDataPoint>),
    Histogram(Vec<HistogramDataPoint>),
    Exponential(Vec<ExponentialHistogramDataPoint>),
}

impl Encoder {
    fn metric(&mut self, metric: &MetricReading<'_>, state: &mut TemporalityState) {
        let kind = metric.kind();
        let is_delta = state.temporality() == Temporality::Delta
            && (kind == Kind::Counter || kind.is_histogram());
        let mut pending = Pending {
            name: metric.name().to_owned(),
            description: metric.help().unwrap_or_default().to_owned(),
            unit: ucum(metric.unit().unwrap_or_default()).to_owned(),
            temporality: temporality(is_delta),
            points: match kind {
                Kind::Counter => Points::Sum { monotonic: true, points: Vec::new() },
                Kind::UpDownCounter => Points::Sum { monotonic: false, points: Vec::new() },
                Kind::Gauge | Kind::Info => Points::Gauge(Vec::new()),
                Kind::Histogram => Points::Histogram(Vec::new()),
                Kind::ExponentialHistogram => Points::Exponential(Vec::new()),
            },
            bytes: 0,
        };
        let since = state.since();
        metric.series(|series| {
            let exemplars = exemplars(series, since);
            let value = series.value();
            let reported = match value {
                // These count from no moment on.
                Value::Gauge(_) | Value::Info => Some(Reported { start: 0, value }),
                value => state.series(series.id(), value, is_delta),
            };
            if let Some(reported) = reported {
                let attributes = if series.is_overflow() {
                    vec![attribute(OVERFLOW, any_value::Value::BoolValue(true))]
                } else {
                    attributes(series.labels())
                };
                let signed = metric.is_signed();
                self.point(&mut pending, attributes, reported, exemplars, signed);
            }
        });
        self.record(&mut pending);
    }

    fn family(&mut self, family: &Family, state: &mut TemporalityState) {
        let is_sum = family.kind == FamilyKind::Counter;
        let is_delta = is_sum && state.temporality() == Temporality::Delta;
        let mut pending = Pending {
            name: family.name.clone(),
            description: family.help.clone(),
            unit: String::new(),
            temporality: temporality(is_delta),
            points: match is_sum {
                true => Points::Sum { monotonic: true, points: Vec::new() },
                false => Points::Gauge(Vec::new()),
            },
            bytes: 0,
        };
        for sample in family.distinct_samples() {
            let reported = match is_sum {
                true => state.gathered(&family.name, &sample.labels, sample.value, is_delta),
                false => Some(Reported { start: 0, value: Value::Sum(sample.value) }),
            };
            if let Some(reported) = reported {
                let attributes = attributes(sample.labels.iter());
                self.point(&mut pending, attributes, reported, Vec::new(), false);
            }
        }
        self.record(&mut pending);
    }

    fn point(
        &mut self,
        pending: &mut Pending,
        attributes: Vec<KeyValue>,
        reported: Reported,
        exemplars: Vec<ExemplarMessage>,
        signed: bool,
    ) {
        let Reported { start, value } = reported;
        let (start_time_unix_nano, time_unix_nano) = (start, self.now);
        let number = |value| NumberDataPoint {
            attributes: attributes.clone(),
            start_time_unix_nano,
            time_unix_nano,
            exemplars: exemplars.clone(),
            flags: 0,
            value: Some(value),
        };
        pending.bytes += match (&mut pending.points, value) {
            (Points::Sum { points, .. } | Points::Gauge(points), value) => {
                push(points, number(number_value(&value)))
            }
            (Points::Histogram(points), Value::Histogram(value)) => {
                let mut point = histogram(&value, signed);
                point.attributes = attributes;
                point.start_time_unix_nano = start_time_unix_nano;
                point.time_unix_nano = time_unix_nano;
                point.exemplars = exemplars;
                push(points, point)
            }
            (Points::Exponential(points), Value::Exponential(value)) => {
                let mut point = exponential(value, signed);
                point.attributes = attributes;
                point.start_time_unix_nano = start_time_unix_nano;
                point.time_unix_nano = time_unix_nano;
                point.exemplars = exemplars;
                push(points, point)
            }
            // A value is of its metric's kind.
            (Points::Histogram(_) | Points::Exponential(_), _) => 0,
        };
        if pending.bytes > MAX_RECORD_BYTES {
            self.record(pending);
        }
    }

    /// Makes a record of the points there are, if any.
    fn record(&mut self, pending: &mut Pending) {
        if pending.bytes == 0 {
            return;
        }
        pending.bytes = 0;
        let aggregation_temporality = pending.temporality.into();
        let data = match &mut pending.points {
            Points::Sum { monotonic, points } => Data::Sum(Sum {
                data_points: std::mem::take(points),
                aggregation_temporality,
                is_monotonic: *monotonic,
            }),
            Points::Gauge(points) => Data::Gauge(Gauge { data_points: std::mem::take(points) }),
            Points::Histogram(points) => Data::Histogram(Histogram {
                data_points: std::mem::take(points),
                aggregation_temporality,
            }),
            Points::Exponential(points) => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: std::mem::take(points),
                aggregation_temporality,
            }),
        };
        let metric = Metric {
            name: pending.name.clone(),
            description: pending.description.clone(),
            unit: pending.unit.clone(),
            metadata: Vec::new(),
            data: Some(data),
        };
        self.records.bytes.push(RECORD_TAG);
        // Fails only where there is no room, and a vector makes room.
        let _ = metric.encode_length_delimited(&mut self.records.bytes);
        self.records.count = self.records.count.saturating_add(1);
    }
}

fn temporality(is_delta: bool) -> AggregationTemporality {
    match is_delta {
        true => AggregationTemporality::Delta,
        false => AggregationTemporality::Cumulative,
    }
}

/// Appends a point and tells how many bytes it takes, at least one.
fn push<T: Message>(points: &mut Vec<T>, point: T) -> usize {
    let bytes = point.encoded_len().max(1);
    points.push(point);
    bytes
}

/// An integer as one, unless it is beyond what the field takes.
fn number_value(value: &Value) -> number_data_point::Value {
    use number_data_point::Value::{AsDouble, AsInt};
    match value {
        Value::Sum(Number::Int(n)) | Value::Gauge(GaugeValue::Int(n)) => AsInt(*n),
        Value::Sum(Number::Uint(n)) => match i64::try_from(*n) {
            Ok(n) => AsInt(n),
            Err(_) => AsDouble(Number::Uint(*n).as_f64()),
        },
        Value::Sum(Number::Float(x)) | Value::Gauge(GaugeValue::Float(x)) => AsDouble(*x),
        Value::Info | Value::Histogram(_) | Value::Exponential(_) => AsInt(1),
    }
}

/// The sum is left out where it can go down, as the protocol wants it.
fn histogram(value: &HistogramValue, signed: bool) -> HistogramDataPoint {
    HistogramDataPoint {
        count: value.count(),
        sum: (!signed).then_some(value.sum),
        bucket_counts: value.counts.clone(),
        explicit_bounds: value.buckets.bounds().to_vec(),
        ..HistogramDataPoint::default()
    }
}

fn exponential(value: ExponentialValue, signed: bool) -> ExponentialHistogramDataPoint {
    let side = |buckets: ExponentialBuckets| Buckets {
        offset: buckets.offset,
        bucket_counts: buckets.counts,
    };
    ExponentialHistogramDataPoint {
        count: value.count(),
        sum: (!signed).then_some(value.explicit.sum),
        scale: value.scale.into(),
        zero_count: value.zero_count,
        positive: Some(side(value.positive)),
        negative: Some(side(value.negative)),
        min: value.range.map(|(min, _)| min),
        max: value.range.map(|(_, max)| max),
        ..ExponentialHistogramDataPoint::default()
    }
}

/// The exemplars of a series that were made since the last collection.
fn exemplars(series: &SeriesReading<'_>, since: u64) -> Vec<ExemplarMessage> {
    let message = |exemplar: Exemplar| ExemplarMessage {
        filtered_attributes: Vec::new(),
        time_unix_nano: exemplar.time_unix_nano,
        span_id: exemplar.span_id.to_vec(),
        trace_id: exemplar.trace_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
    };
    let found = series.exemplars().into_iter().map(|(_, exemplar)| exemplar);
    found.filter(|exemplar| exemplar.time_unix_nano >= since).map(message).collect()
}

fn attributes<'a>(labels: impl Iterator<Item = (&'a str, Cow<'a, str>)>) -> Vec<KeyValue> {
    let text = |value: Cow<'_, str>| any_value::Value::StringValue(value.into_owned());
    labels.map(|(name, value)| attribute(name, text(value))).collect()
}

fn attribute(name: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
