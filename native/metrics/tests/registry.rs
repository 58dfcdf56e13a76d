//! The registry as its users see it: names, kinds, limits, values.

use erlmcp_metrics::{
    BindError, Buckets, Declaration, DeclareError, GaugeValue, Kind, LabelSet, MetricName, Number,
    Options, RecordError, Recorder, Registry, Rejection, SeriesId, Value,
};
use proptest::prelude::*;

fn name(text: &str) -> MetricName {
    MetricName::new(text).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().copied()).unwrap()
}

fn series(registry: &Registry, kind: Kind, text: &str, pairs: &[(&str, &str)]) -> SeriesId {
    registry.series(kind, &name(text), &labels(pairs)).unwrap().id
}

fn sum(registry: &Registry, id: SeriesId) -> Number {
    match registry.value(id) {
        Some(Value::Sum(number)) => number,
        other => panic!("not a sum: {other:?}"),
    }
}

fn new() -> (Registry, Recorder) {
    let registry = Registry::new(Options::default());
    let recorder = registry.recorder();
    (registry, recorder)
}

#[test]
fn a_counter_keeps_integers_and_floats() {
    let (registry, recorder) = new();
    let id = series(&registry, Kind::Counter, "requests", &[]);
    recorder.add_int(id, 2).unwrap();
    assert_eq!(sum(&registry, id), Number::Uint(2));
    recorder.add_float(id, 0.5).unwrap();
    recorder.add_int(id, 1).unwrap();
    assert_eq!(sum(&registry, id), Number::Float(3.5));
}

#[test]
fn a_counter_never_goes_down() {
    let (registry, recorder) = new();
    let id = series(&registry, Kind::Counter, "requests", &[]);
    recorder.add_int(id, i64::MAX).unwrap();
    assert_eq!(recorder.add_int(id, -1), Err(RecordError::Negative));
    assert_eq!(recorder.add_float(id, -0.1), Err(RecordError::Negative));
    for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(recorder.add_float(id, x), Err(RecordError::NotFinite));
    }
    for _ in 0..4 {
        recorder.add_int(id, i64::MAX).unwrap();
    }
    assert_eq!(sum(&registry, id), Number::Uint(u64::MAX));
    recorder.add_float(id, f64::MAX).unwrap();
    recorder.add_float(id, f64::MAX).unwrap();
    assert_eq!(sum(&registry, id), Number::Float(f64::MAX));
}

#[test]
fn an_up_down_counter_sums_over_threads_through_wrapping() {
    let (registry, recorder) = new();
    let id = series(&registry, Kind::UpDownCounter, "open", &[]);
    let other = registry.recorder();
    recorder.add_int(id, i64::MAX).unwrap();
    recorder.add_int(id, 10).unwrap();
    other.add_int(id, -i64::MAX).unwrap();
    other.add_int(id, -13).unwrap();
    assert_eq!(sum(&registry, id), Number::Int(-3));
}

#[test]
fn a_gauge_is_set_and_added_to() {
    let (registry, recorder) = new();
    let id = series(&registry, Kind::Gauge, "depth", &[]);
    let value = || registry.value(id);
    recorder.set(id, GaugeValue::Int(5)).unwrap();
    recorder.add_int(id, -7).unwrap();
    assert_eq!(value(), Some(Value::Gauge(GaugeValue::Int(-2))));
    recorder.add_float(id, 0.5).unwrap();
    assert_eq!(value(), Some(Value::Gauge(GaugeValue::Float(-1.5))));
    recorder.set(id, GaugeValue::Float(f64::INFINITY)).unwrap();
    assert_eq!(value(), Some(Value::Gauge(GaugeValue::Float(f64::INFINITY))));
}

#[test]
fn a_histogram_counts_into_the_right_buckets() {
    let (registry, recorder) = new();
    registry
        .declare(Declaration {
            buckets: Some(Buckets::new(&[1.0, 2.0]).unwrap()),
            ..Declaration::new(Kind::Histogram, name("latency"))
        })
        .unwrap();
    let id = series(&registry, Kind::Histogram, "latency", &[]);
    for x in [-1.0, 1.0, 1.5, 2.0, 99.25] {
        recorder.observe(id, x).unwrap();
    }
    assert_eq!(recorder.observe(id, f64::NAN), Err(RecordError::NotFinite));
    let Some(Value::Histogram(histogram)) = registry.value(id) else { panic!("no histogram") };
    assert_eq!(histogram.counts, [2, 2, 1]);
    assert_eq!((histogram.count(), histogram.sum), (5, 102.75));
}

#[test]
fn an_operation_of_another_kind_changes_nothing() {
    let (registry, recorder) = new();
    let counter = series(&registry, Kind::Counter, "c", &[]);
    let gauge = series(&registry, Kind::Gauge, "g", &[]);
    let histogram = series(&registry, Kind::Histogram, "h", &[]);
    let info = series(&registry, Kind::Info, "i", &[("v", "1")]);
    let wrong = |result| matches!(result, Err(RecordError::WrongKind { .. }));
    assert!(wrong(recorder.set(counter, GaugeValue::Int(1))));
    assert!(wrong(recorder.observe(counter, 1.0)));
    assert!(wrong(recorder.observe(gauge, 1.0)));
    assert!(wrong(recorder.add_int(histogram, 1)));
    assert!(wrong(recorder.add_float(histogram, 1.0)));
    assert!(wrong(recorder.set(info, GaugeValue::Int(1))));
    assert_eq!(sum(&registry, counter), Number::Uint(0));
}

#[test]
fn a_made_up_handle_reaches_nothing() {
    let (registry, recorder) = new();
    let id = series(&registry, Kind::Counter, "c", &[]);
    for raw in (0..10_000).chain([u64::MAX, id.to_raw() + 1, id.to_raw() ^ (1 << 40)]) {
        assert_eq!(recorder.add_int(SeriesId::from_raw(raw), 1), Err(RecordError::UnknownSeries));
    }
    assert_eq!(sum(&registry, id), Number::Uint(0));
}

#[test]
fn names_that_are_exposed_alike_are_one_metric() {
    let (registry, _) = new();
    let id = series(&registry, Kind::Counter, "mcp.requests", &[]);
    assert_eq!(series(&registry, Kind::Counter, "mcp_requests_total", &[]), id);
    assert_eq!(registry.find(&name("mcp.requests_total"), &LabelSet::empty()), Some(id));
    assert_eq!(registry.find(&name("mcp_requests"), &LabelSet::empty()), Some(id));
    assert_eq!(registry.kind_of(&name("mcp_requests")), Some(Kind::Counter));
    assert_eq!(registry.kind_of(&name("mcp_requests_total")), Some(Kind::Counter));
    assert_eq!(registry.kind_of(&name("mcp")), None);
}

#[test]
fn a_name_has_one_kind() {
    let (registry, _) = new();
    series(&registry, Kind::Counter, "requests", &[]);
    for (kind, text) in [(Kind::Gauge, "requests"), (Kind::Gauge, "requests_total")] {
        let error = registry.series(kind, &name(text), &LabelSet::empty()).unwrap_err();
        assert!(
            matches!(error, BindError::Declare(DeclareError::KindConflict { .. })),
            "{text}: {error:?}"
        );
    }
    series(&registry, Kind::Histogram, "latency", &[]);
    let taken = registry.declare(Declaration::new(Kind::Gauge, name("latency_count")));
    assert!(matches!(taken, Err(DeclareError::NameTaken { .. })), "{taken:?}");
    series(&registry, Kind::Gauge, "size_sum", &[]);
    let taken = registry.declare(Declaration::new(Kind::Histogram, name("size")));
    assert!(matches!(taken, Err(DeclareError::NameTaken { .. })), "{taken:?}");
}

#[test]
fn declaring_completes_and_never_changes() {
    let (registry, _) = new();
    series(&registry, Kind::Histogram, "latency", &[]);
    let declare = |help: Option<&str>, buckets: Option<&[f64]>| {
        registry.declare(Declaration {
            help: help.map(Into::into),
            buckets: buckets.map(|bounds| Buckets::new(bounds).unwrap()),
            ..Declaration::new(Kind::Histogram, name("latency"))
        })
    };
    assert_eq!(declare(Some("Latency."), None), Ok(()));
    assert_eq!(declare(None, Some(Buckets::default().bounds())), Ok(()));
    assert!(matches!(declare(None, Some(&[1.0])), Err(DeclareError::BucketsDiffer { .. })));
}

#[test]
fn a_histogram_cannot_have_the_label_of_its_buckets() {
    let (registry, _) = new();
    let error = registry.series(Kind::Histogram, &name("h"), &labels(&[("le", "1")])).unwrap_err();
    assert_eq!(error, BindError::ReservedLabel);
    series(&registry, Kind::Counter, "c", &[("le", "1")]);
}

#[test]
fn beyond_the_limit_everything_is_counted_in_the_overflow_series() {
    let registry = Registry::new(Options { series_limit: 10, ..Options::default() });
    let recorder = registry.recorder();
    let metric = name("requests");
    for n in 0..100 {
        let labels = labels(&[("user", &n.to_string())]);
        let bound = registry.series(Kind::Counter, &metric, &labels).unwrap();
        assert_eq!(bound.overflowed, n >= 9);
        recorder.add_int(bound.id, 1).unwrap();
    }
    let overflow = registry.find(&metric, &labels(&[("otel_metric_overflow", "true")])).unwrap();
    assert_eq!(sum(&registry, overflow), Number::Uint(91));
    let stats = registry.stats();
    assert_eq!((stats.series, stats.overflowed), (9, 91));

    // Room made by a removal is used again.
    let first = registry.find(&metric, &labels(&[("user", "0")])).unwrap();
    assert!(registry.remove(first));
    let labels = labels(&[("user", "new")]);
    assert!(!registry.series(Kind::Counter, &metric, &labels).unwrap().overflowed);
}

#[test]
fn the_node_has_a_limit_too() {
    let registry = Registry::new(Options { node_series_limit: 5, ..Options::default() });
    for n in 0..20 {
        let metric = name(&format!("metric_{n}"));
        let bound = registry.series(Kind::Gauge, &metric, &LabelSet::empty()).unwrap();
        assert_eq!(bound.overflowed, n >= 5);
    }
    assert_eq!(registry.stats().series, 5);
    registry.set_options(Options::default());
    let bound = registry.series(Kind::Gauge, &name("another"), &LabelSet::empty()).unwrap();
    assert!(!bound.overflowed);
}

#[test]
fn metrics_have_a_limit() {
    let registry = Registry::new(Options { metrics_limit: 2, ..Options::default() });
    series(&registry, Kind::Counter, "a", &[]);
    series(&registry, Kind::Counter, "b", &[]);
    let error = registry.series(Kind::Counter, &name("c"), &LabelSet::empty()).unwrap_err();
    assert!(matches!(error, BindError::Declare(DeclareError::MetricsLimit { limit: 2, .. })));
    series(&registry, Kind::Counter, "a", &[("x", "y")]);
}

#[test]
fn all_series_of_a_metric_can_be_removed_at_once() {
    let (registry, _) = new();
    for n in 0..300 {
        series(&registry, Kind::Histogram, "h", &[("n", &n.to_string())]);
    }
    series(&registry, Kind::Counter, "c", &[]);
    assert_eq!(registry.remove_all(&name("h")), 300);
    assert_eq!(registry.remove_all(&name("h")), 0);
    assert_eq!(registry.stats().series, 1);
}

#[test]
fn rejections_are_counted_by_reason() {
    let (registry, _) = new();
    registry.reject(Rejection::BadName);
    registry.reject(Rejection::BadName);
    registry.reject(Rejection::Internal);
    assert_eq!(registry.stats().rejected, 3);
    let families = registry.own_families();
    let family =
        families.iter().find(|f| f.name == "erlmcp_metrics_rejected_samples_total").unwrap();
    let bad_name =
        family.samples.iter().find(|s| s.labels.as_str() == "reason=\"bad_name\"").unwrap();
    assert_eq!(bad_name.value, Number::Uint(2));
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8, i64),
    AddFloat(u8, f64),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<u8>(), 0..1_000_i64).prop_map(|(n, amount)| Step::Add(n % 16, amount)),
        // Quarters: their sums are exact, whatever the order.
        4 => (any::<u8>(), 0..4_000_u32).prop_map(|(n, q)| Step::AddFloat(n % 16, f64::from(q) / 4.0)),
        1 => any::<u8>().prop_map(|n| Step::Remove(n % 16)),
    ]
}

proptest! {
    /// A map of numbers is the model: whatever is added and removed, from
    /// several recorders in turn, the registry has the same sums.
    #[test]
    fn sums_are_those_of_a_map(steps in prop::collection::vec(step(), 0..300)) {
        let registry = Registry::new(Options::default());
        let recorders: Vec<Recorder> = (0..3).map(|_| registry.recorder()).collect();
        let mut model = std::collections::HashMap::<u8, f64>::new();
        for (turn, step) in steps.into_iter().enumerate() {
            let recorder = &recorders[turn % 3];
            let id = |n: u8| series(&registry, Kind::Counter, "c", &[("n", &n.to_string())]);
            match step {
                Step::Add(n, amount) => {
                    recorder.add_int(id(n), amount).unwrap();
                    *model.entry(n).or_default() += amount as f64;
                }
                Step::AddFloat(n, amount) => {
                    recorder.add_float(id(n), amount).unwrap();
                    *model.entry(n).or_default() += amount;
                }
                Step::Remove(n) => {
                    let found = registry.find(&name("c"), &labels(&[("n", &n.to_string())]));
                    prop_assert_eq!(found.is_some(), model.remove(&n).is_some());
                    if let Some(id) = found {
                        prop_assert!(registry.remove(id));
                    }
                }
            }
        }
        prop_assert_eq!(registry.stats().series as usize, model.len());
        for (n, expected) in model {
            let found = registry.find(&name("c"), &labels(&[("n", &n.to_string())])).unwrap();
            prop_assert_eq!(sum(&registry, found).as_f64(), expected);
        }
    }
}
