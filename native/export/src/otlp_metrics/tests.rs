//! What is encoded is read back by opentelemetry-proto's messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use erlmcp_metrics::{
    Buckets, Declaration, Exemplar, Family, FamilyKind, GaugeValue, Kind, LabelSet, MetricName,
    Number, Options, Recorder, Registry, Sample, SeriesId,
};
use erlmcp_trace::Records;
use opentelemetry_proto::tonic::common::v1::any_value::Value::{BoolValue, StringValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets as Side;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as NumberValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::{AsDouble, AsInt};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, ScopeMetrics, exemplar,
};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::vm::{VmReply, VmSource};

const START: u64 = 1_000;

fn name(text: &str) -> MetricName {
    MetricName::new(text).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().copied()).unwrap()
}

fn series(registry: &Registry, kind: Kind, text: &str, pairs: &[(&str, &str)]) -> SeriesId {
    registry.series(kind, &name(text), &labels(pairs)).unwrap().id
}

/// The metrics in records, which are the field of a `ScopeMetrics`.
fn decoded(records: &Records) -> Vec<Metric> {
    let scope = ScopeMetrics::decode(&*records.bytes).unwrap();
    assert_eq!(scope.metrics.len(), records.count as usize);
    scope.metrics
}

/// The application's metrics.
fn application(records: &Records) -> Vec<Metric> {
    let mut metrics = decoded(records);
    metrics.retain(|metric| !metric.name.starts_with("erlmcp_"));
    metrics
}

fn collected(registry: &Registry, state: &mut TemporalityState, now: u64) -> Vec<Metric> {
    application(&encode_metrics(registry, &[], state, now))
}

fn numbers(metric: &Metric) -> &[NumberDataPoint] {
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    }
}

fn exemplar_of(value: f64, time_unix_nano: u64) -> Exemplar {
    Exemplar { value, time_unix_nano, trace_id: [7; 16], span_id: [8; 8] }
}

#[test]
fn each_kind_has_its_message() {
    let registry = Registry::new(Options::default());
    let recorder = registry.recorder();
    let declare = |kind, text, unit: &str| {
        let declaration = Declaration {
            help: Some(format!("About {text}.")),
            unit: Some(unit.into()),
            buckets: Some(Buckets::new(&[0.5, 1.0]).unwrap()),
            ..Declaration::new(kind, name(text))
        };
        registry.declare(declaration).unwrap();
    };
    declare(Kind::Counter, "sent_bytes_total", "bytes");
    declare(Kind::Histogram, "latency_seconds", "seconds");
    declare(Kind::ExponentialHistogram, "size", "{item}");
    let counter = series(&registry, Kind::Counter, "sent_bytes", &[("to", "a\"b\\c\nd")]);
    recorder.add_int(counter, 3).unwrap();
    let mixed = series(&registry, Kind::Counter, "jobs", &[]);
    recorder.add_int(mixed, 1).unwrap();
    recorder.add_float(mixed, 0.5).unwrap();
    recorder.add_int(series(&registry, Kind::Counter, "large", &[]), i64::MAX).unwrap();
    recorder.add_int(series(&registry, Kind::Counter, "large", &[]), 1).unwrap();
    recorder.add_int(series(&registry, Kind::UpDownCounter, "open", &[]), -2).unwrap();
    recorder.set(series(&registry, Kind::Gauge, "level", &[]), GaugeValue::Int(-7)).unwrap();
    series(&registry, Kind::Info, "build_info", &[("version", "1")]);
    let histogram = series(&registry, Kind::Histogram, "latency_seconds", &[]);
    let exponential = series(&registry, Kind::ExponentialHistogram, "size", &[]);
    for value in [0.0, 0.5, 2.0] {
        recorder.observe(histogram, value).unwrap();
        recorder.observe(exponential, value).unwrap();
    }

    let mut state = TemporalityState::new(Temporality::Cumulative, START);
    let metrics = collected(&registry, &mut state, 2_000);
    let shown: Vec<(&str, &str, &str)> =
        metrics.iter().map(|m| (&*m.name, &*m.unit, &*m.description)).collect();
    assert_eq!(
        shown,
        [
            ("build_info", "", ""),
            ("jobs", "", ""),
            ("large", "", ""),
            ("latency_seconds", "s", "About latency_seconds."),
            ("level", "", ""),
            ("open", "", ""),
            ("sent_bytes_total", "By", "About sent_bytes_total."),
            ("size", "{item}", "About size."),
        ]
    );
    let of = |text: &str| metrics.iter().find(|metric| metric.name == text).unwrap();
    let value = |text: &str| numbers(of(text))[0].value.unwrap();
    assert_eq!(value("build_info"), AsInt(1));
    assert_eq!(value("jobs"), AsDouble(1.5));
    assert_eq!(value("large"), AsDouble(9_223_372_036_854_775_808.0));
    assert_eq!(value("level"), AsInt(-7));
    assert_eq!(value("open"), AsInt(-2));
    assert!(matches!(of("level").data, Some(Data::Gauge(_))));

    let Some(Data::Sum(sum)) = &of("sent_bytes_total").data else { panic!("no sum") };
    assert!(sum.is_monotonic);
    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
    let point = &sum.data_points[0];
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (START, 2_000));
    assert_eq!(point.value, Some(AsInt(3)));
    assert_eq!(point.attributes[0].key, "to");
    let text = point.attributes[0].value.clone().unwrap().value.unwrap();
    assert_eq!(text, StringValue("a\"b\\c\nd".into()));
    let Some(Data::Sum(sum)) = &of("open").data else { panic!("no sum") };
    assert!(!sum.is_monotonic);

    let Some(Data::Histogram(histogram)) = &of("latency_seconds").data else { panic!("none") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (3, Some(2.5)));
    assert_eq!((&*point.bucket_counts, &*point.explicit_bounds), (&[2, 0, 1][..], &[0.5, 1.0][..]));

    let Some(Data::ExponentialHistogram(histogram)) = &of("size").data else { panic!("none") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum, point.zero_count), (3, Some(2.5), 1));
    assert_eq!((point.min, point.max), (Some(0.0), Some(2.0)));
    assert_eq!(point.scale, 6);
    // 0.5 is the upper bound of the bucket -65, 2 that of 63.
    let Side { offset, bucket_counts } = point.positive.clone().unwrap();
    assert_eq!((offset, bucket_counts.len()), (-65, 129));
    assert_eq!((bucket_counts[0], bucket_counts[128]), (1, 1));
}

#[test]
fn sums_that_go_down_are_left_out_of_histograms() {
    let registry = Registry::new(Options::default());
    let recorder = registry.recorder();
    for kind in [Kind::Histogram, Kind::ExponentialHistogram] {
        recorder.observe(series(&registry, kind, kind.as_str(), &[]), -1.0).unwrap();
    }
    let mut state = TemporalityState::new(Temporality::Cumulative, START);
    for metric in collected(&registry, &mut state, 2_000) {
        match metric.data.unwrap() {
            Data::Histogram(histogram) => assert_eq!(histogram.data_points[0].sum, None),
            Data::ExponentialHistogram(histogram) => {
                let point = &histogram.data_points[0];
                assert_eq!(point.sum, None);
                assert_eq!(point.negative.clone().unwrap().bucket_counts, [1]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_overflow_series_is_marked_as_opentelemetry_marks_it() {
    let registry = Registry::new(Options { series_limit: 2, ..Options::default() });
    let recorder = registry.recorder();
    for n in ["1", "2", "3"] {
        recorder.add_int(series(&registry, Kind::Counter, "jobs", &[("n", n)]), 1).unwrap();
    }
    let mut state = TemporalityState::new(Temporality::Cumulative, START);
    let metrics = collected(&registry, &mut state, 2_000);
    let points = numbers(&metrics[0]);
    assert_eq!(points.len(), 2);
    let [attribute] = &*points[1].attributes else { panic!("{points:?}") };
    assert_eq!(attribute.key, "otel.metric.overflow");
    assert_eq!(attribute.value.clone().unwrap().value, Some(BoolValue(true)));
    assert_eq!(points[1].value, Some(AsInt(2)));
}

#[test]
fn exemplars_come_with_the_collection_after_them() {
    let registry = Registry::new(Options::default());
    let recorder = registry.recorder();
    let id = series(&registry, Kind::Histogram, "latency", &[]);
    recorder.observe_with_exemplar(id, exemplar_of(0.3, 1_500)).unwrap();
    let counter = series(&registry, Kind::Counter, "requests", &[]);
    recorder.add_int(counter, 1).unwrap();
    recorder.keep_exemplar(counter, exemplar_of(1.0, 1_600));
    let mut state = TemporalityState::new(Temporality::Cumulative, START);
    let metrics = collected(&registry, &mut state, 2_000);
    let Some(Data::Histogram(histogram)) = &metrics[0].data else { panic!("{metrics:?}") };
    let [found] = &*histogram.data_points[0].exemplars else { panic!("{histogram:?}") };
    assert_eq!((&*found.trace_id, &*found.span_id), (&[7; 16][..], &[8; 8][..]));
    assert_eq!((found.time_unix_nano, found.value), (1_500, Some(exemplar::Value::AsDouble(0.3))));
    assert_eq!(numbers(&metrics[1])[0].exemplars.len(), 1);

    let again = collected(&registry, &mut state, 3_000);
    let Some(Data::Histogram(histogram)) = &again[0].data else { panic!("{again:?}") };
    assert!(histogram.data_points[0].exemplars.is_empty());
}

#[test]
fn a_large_metric_comes_in_several_records() {
    let registry = Registry::new(Options { series_limit: 10_000, ..Options::default() });
    let text = "x".repeat(500);
    for n in 0..2_000 {
        let pairs = [("n", &*n.to_string()), ("text", &*text)];
        series(&registry, Kind::Gauge, "many", &pairs);
    }
    let mut state = TemporalityState::new(Temporality::Cumulative, START);
    let metrics = collected(&registry, &mut state, 2_000);
    assert!((4..10).contains(&metrics.len()), "{}", metrics.len());
    assert!(metrics.iter().all(|metric| metric.name == "many" && metric.encoded_len() < 270_000));
    assert_eq!(metrics.iter().map(|metric| numbers(metric).len()).sum::<usize>(), 2_000);
}

#[test]
fn a_series_counts_from_the_collection_before_its_first() {
    let registry = Registry::new(Options::default());
    let recorder = registry.recorder();
    let add = |n: &str| {
        let id = series(&registry, Kind::Counter, "jobs", &[("n", n)]);
        recorder.add_int(id, 1).unwrap();
        id
    };
    let first = add("1");
    let mut state = TemporalityState::new(Temporality::Cumulative, START);
    let mut starts = |now| -> Vec<u64> {
        let metrics = collected(&registry, &mut state, now);
        numbers(&metrics[0]).iter().map(|point| point.start_time_unix_nano).collect()
    };
    assert_eq!(starts(2_000), [START]);
    add("2");
    assert_eq!(starts(3_000), [START, 2_000]);
    assert_eq!(starts(4_000), [START, 2_000]);
    registry.remove(first);
    add("1");
    assert_eq!(starts(5_000), [2_000, 4_000], "a removed series starts anew");
}

fn gathered(value: i64) -> Family {
    Family {
        name: "vm_total".into(),
        kind: FamilyKind::Counter,
        help: "Given.".into(),
        samples: vec![Sample { labels: labels(&[("a", "b")]), value: Number::Int(value) }],
    }
}

#[test]
fn gathered_families_are_beside_the_registry() {
    let registry = Registry::new(Options::default());
    series(&registry, Kind::Gauge, "taken", &[]);
    let taken = Family { name: "taken".into(), ..gathered(1) };
    let gauge = Family { name: "level".into(), kind: FamilyKind::Untyped, ..gathered(2) };
    let mut state = TemporalityState::new(Temporality::Delta, START);
    let mut values = |value| -> Vec<(String, NumberValue)> {
        let families = [taken.clone(), gauge.clone(), gathered(value), gathered(9)];
        let metrics = application(&encode_metrics(&registry, &families, &mut state, 2_000));
        metrics.iter().map(|m| (m.name.clone(), numbers(m)[0].value.unwrap())).collect()
    };
    let of = |pairs: &[(&str, i64)]| -> Vec<_> {
        pairs.iter().map(|(name, n)| ((*name).to_owned(), AsInt(*n))).collect()
    };
    assert_eq!(values(5), of(&[("taken", 0), ("level", 2), ("vm_total", 5)]));
    assert_eq!(values(7), of(&[("taken", 0), ("level", 2), ("vm_total", 2)]));
    assert_eq!(values(7), of(&[("taken", 0), ("level", 2)]));
    assert_eq!(values(3), of(&[("taken", 0), ("level", 2), ("vm_total", 3)]), "begun anew");
}

/// What all points so far tell of each series: its name, labels and parts.
type Totals = BTreeMap<String, BTreeMap<String, f64>>;

/// Adds points to totals, or puts them in their place.
fn tally(metrics: &[Metric], is_delta: bool, totals: &mut Totals) {
    let mut put = |metric: &Metric, attributes: String, parts: Vec<(String, f64)>| {
        let series = totals.entry(format!("{} {attributes}", metric.name)).or_default();
        if !is_delta {
            series.clear();
        }
        for (part, value) in parts {
            assert!(value >= 0.0, "{} goes down: {part} {value}", metric.name);
            *series.entry(part).or_default() += value;
        }
    };
    for metric in metrics {
        match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                for point in &sum.data_points {
                    let value = match point.value.unwrap() {
                        AsInt(n) => n as f64,
                        AsDouble(x) => x,
                    };
                    put(metric, format!("{:?}", point.attributes), vec![("".into(), value)]);
                }
            }
            Data::Histogram(histogram) => {
                for point in &histogram.data_points {
                    assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
                    let counts = (0..).zip(&point.bucket_counts);
                    let mut parts: Vec<(String, f64)> =
                        counts.map(|(n, count): (u32, _)| (n.to_string(), *count as f64)).collect();
                    parts.push(("sum".into(), point.sum.unwrap()));
                    put(metric, format!("{:?}", point.attributes), parts);
                }
            }
            Data::ExponentialHistogram(histogram) => {
                for point in &histogram.data_points {
                    let positive = point.positive.clone().unwrap();
                    let counted = positive.bucket_counts.iter().sum::<u64>() + point.zero_count;
                    assert_eq!(point.count, counted);
                    // Buckets of different scales are told apart by octaves.
                    let mut parts = BTreeMap::from([("zero".to_owned(), point.zero_count as f64)]);
                    for (index, count) in (positive.offset..).zip(positive.bucket_counts) {
                        assert!(point.scale >= 0, "the values are close enough for that");
                        *parts.entry(format!("2^{}", index >> point.scale)).or_default() +=
                            count as f64;
                    }
                    parts.insert("sum".into(), point.sum.unwrap());
                    put(metric, format!("{:?}", point.attributes), parts.into_iter().collect());
                }
            }
            Data::Gauge(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn assert_totals_agree(cumulative: &Totals, deltas: &Totals) {
    for (series, parts) in cumulative {
        for (part, value) in parts {
            let sum = deltas.get(series).and_then(|parts| parts.get(part)).copied().unwrap_or(0.0);
            assert!(
                (sum - value).abs() <= 1e-9 * value.abs(),
                "{series} {part}: cumulative {value}, deltas add up to {sum}"
            );
        }
    }
}

fn record(registry: &Registry, recorder: &Recorder, kind: u8, n: u8, value: f64) -> SeriesId {
    let pairs = [("n", &*n.to_string())];
    let kind = [Kind::Counter, Kind::Histogram, Kind::ExponentialHistogram][usize::from(kind)];
    let id = series(registry, kind, kind.as_str(), &pairs);
    let _ = match kind {
        Kind::Counter if value.fract() == 0.0 => recorder.add_int(id, value as i64),
        Kind::Counter => recorder.add_float(id, value),
        _ => recorder.observe(id, value),
    };
    id
}

proptest! {
    /// Deltas add up to what cumulative points tell, and these are what the
    /// registry holds, whenever collections happen.
    #[test]
    fn deltas_add_up(
        steps in prop::collection::vec(
            prop_oneof![
                9 => (0..3_u8, 0..3_u8, prop_oneof![0.0..50.0, (0..9_u8).prop_map(f64::from)]).prop_map(Some),
                1 => Just(None),
            ],
            0..200,
        ),
    ) {
        let registry = Registry::new(Options::default());
        let recorder = registry.recorder();
        let mut delta = TemporalityState::new(Temporality::Delta, START);
        let mut cumulative = TemporalityState::new(Temporality::Cumulative, START);
        let (mut deltas, mut totals, mut wanted) = (Totals::new(), Totals::new(), 0.0);
        let mut now = START;
        for step in steps.into_iter().chain([None]) {
            match step {
                Some((kind, n, value)) => {
                    record(&registry, &recorder, kind, n, value);
                    if kind == 0 {
                        wanted += value;
                    }
                }
                None => {
                    now += 1_000;
                    tally(&collected(&registry, &mut delta, now), true, &mut deltas);
                    tally(&collected(&registry, &mut cumulative, now), false, &mut totals);
                }
            }
        }
        assert_totals_agree(&totals, &deltas);
        let counted: f64 =
            totals.iter().filter(|(name, _)| name.starts_with("counter ")).map(|(_, parts)| parts[""]).sum();
        prop_assert!((counted - wanted).abs() <= 1e-9 * wanted, "{} {}", counted, wanted);
    }
}

#[test]
fn deltas_add_up_while_threads_record() {
    let registry = Registry::new(Options::default());
    let mut delta = TemporalityState::new(Temporality::Delta, START);
    let mut cumulative = TemporalityState::new(Temporality::Cumulative, START);
    let (mut deltas, mut totals) = (Totals::new(), Totals::new());
    const ROUNDS: u32 = 20_000;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3_u8)
            .map(|thread| {
                let registry = &registry;
                scope.spawn(move || {
                    let recorder = registry.recorder();
                    for round in 0..ROUNDS {
                        let value = f64::from(round % 8) / 4.0;
                        record(registry, &recorder, (round % 3) as u8, thread % 2, value);
                    }
                })
            })
            .collect();
        let collector = scope.spawn(|| {
            let mut now = START;
            let mut last = false;
            while !last {
                last = done.load(Ordering::Acquire);
                now += 1_000;
                tally(&collected(&registry, &mut delta, now), true, &mut deltas);
                tally(&collected(&registry, &mut cumulative, now), false, &mut totals);
            }
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Ordering::Release);
        collector.join().unwrap();
    });
    assert_totals_agree(&totals, &deltas);
    let counted: f64 = totals
        .iter()
        .filter(|(name, _)| name.starts_with("histogram "))
        .flat_map(|(_, parts)| parts.iter().filter(|(part, _)| *part != "sum"))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(counted, f64::from(3 * (ROUNDS / 3 + 1)));
}

#[test]
fn a_removed_series_starts_anew_in_deltas() {
    let registry = Registry::new(Options::default());
    let recorder = registry.recorder();
    let mut state = TemporalityState::new(Temporality::Delta, START);
    let mut value = |now| {
        let metrics = collected(&registry, &mut state, now);
        let point = numbers(metrics.first()?).first()?.clone();
        Some((point.start_time_unix_nano, point.value?))
    };
    record(&registry, &recorder, 0, 1, 5.0);
    assert_eq!(value(2_000), Some((START, AsInt(5))));
    assert_eq!(value(3_000), None, "nothing new");
    let id = record(&registry, &recorder, 0, 1, 3.0);
    assert_eq!(value(4_000), Some((3_000, AsInt(3))));
    registry.remove(id);
    record(&registry, &recorder, 0, 1, 2.0);
    assert_eq!(value(5_000), Some((4_000, AsInt(2))));
}

/// Answers at once, or keeps the question.
struct SomeVm {
    answers: bool,
    kept: parking_lot::Mutex<Vec<VmReply>>,
}

impl VmSource for SomeVm {
    fn request(&self, reply: VmReply) -> bool {
        match self.answers {
            true => reply.send(vec![gathered(1)]),
            false => self.kept.lock().push(reply),
        }
        true
    }
}

struct Others;

impl FamilySource for Others {
    fn families(&self) -> Vec<Family> {
        vec![Family { name: "others_total".into(), ..gathered(4) }]
    }
}

#[test]
fn a_collection_has_everything_and_does_not_wait_for_long() {
    for answers in [true, false] {
        let registry = Registry::new(Options::default());
        series(&registry, Kind::Counter, "jobs", &[]);
        let vm = Arc::new(SomeVm { answers, kept: parking_lot::Mutex::default() });
        let records = RegistryRecords::new(registry, Temporality::Cumulative)
            .with_vm(vm, Duration::from_millis(50))
            .with_process_figures()
            .with_families(Arc::new(Others));
        let begin = Instant::now();
        let metrics = decoded(&records.collect());
        assert!(begin.elapsed() < Duration::from_secs(5));
        let has = |text: &str| metrics.iter().any(|metric| metric.name == text);
        assert_eq!(has("vm_total"), answers);
        for text in ["jobs", "others_total", "erlmcp_metrics_series", "erlmcp_vm_metrics_stale"] {
            assert!(has(text), "{text}");
        }
        assert_eq!(has("process_threads"), cfg!(target_os = "linux"));
    }
}
