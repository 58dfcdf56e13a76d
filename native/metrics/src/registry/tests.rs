use super::*;

fn name(text: &str) -> MetricName {
    MetricName::new(text).unwrap()
}

fn labels(n: u32) -> LabelSet {
    LabelSet::from_pairs([("n", n.to_string().as_str())]).unwrap()
}

/// A registry that uses freed slots again at once.
fn hasty(options: Options) -> Registry {
    Registry::with_quarantine(options, Duration::ZERO)
}

#[test]
fn a_slot_that_is_used_again_begins_at_zero() {
    let registry = hasty(Options::default());
    let recorder = registry.recorder();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Info) {
        let metric = name(kind.as_str());
        for n in 0..100 {
            let id = registry.series(kind, &metric, &labels(n)).unwrap().id;
            match registry.value(id).unwrap() {
                Value::Sum(Number::Uint(0) | Number::Int(0)) | Value::Gauge(GaugeValue::Int(0)) => {
                }
                Value::Histogram(histogram) if histogram.count() == 0 && histogram.sum == 0.0 => {}
                Value::Exponential(value) if value.count() == 0 && value.explicit.sum == 0.0 => {}
                other => panic!("a new {kind:?} holds {other:?}"),
            }
            if kind.is_histogram() {
                recorder.observe(id, 3.0).unwrap();
            } else {
                recorder.add_int(id, 7).unwrap();
                recorder.add_float(id, 0.5).unwrap();
            }
            assert!(registry.remove(id));
            assert!(!registry.remove(id));
            assert_eq!(registry.value(id), None);
            assert!(recorder.add_int(id, 1).is_err());
        }
    }
    assert_eq!(registry.stats().series, 0);
}

#[test]
fn churn_holds_no_more_than_what_lives() {
    let registry = hasty(Options::default());
    let recorder = registry.recorder();
    let metric = name("sessions");
    let mut bytes = 0;
    for n in 0..50_000 {
        let id = registry.series(Kind::Counter, &metric, &labels(n)).unwrap().id;
        recorder.add_int(id, 1).unwrap();
        assert!(registry.remove(id));
        if n == 1_000 {
            bytes = registry.stats().bytes;
        }
    }
    let after = registry.stats().bytes;
    assert!(after < bytes + 4_096, "{bytes} bytes grew to {after}");
}

#[test]
fn a_removed_series_is_gone_from_the_exposition_and_can_come_back() {
    use crate::exposition::{Format, Scope, render};
    let registry = hasty(Options::default());
    let text = || {
        let exposition = render(&registry, &[], Format::Text, Scope::Application);
        String::from_utf8(exposition.chunks.concat()).unwrap()
    };
    let metric = name("jobs_total");
    let first = registry.series(Kind::Counter, &metric, &labels(1)).unwrap().id;
    assert!(text().contains("jobs_total{n=\"1\"} 0\n"));
    registry.remove(first);
    assert_eq!(text(), "");
    let second = registry.series(Kind::Counter, &metric, &labels(1)).unwrap().id;
    assert_ne!(first, second);
    assert!(text().contains("jobs_total{n=\"1\"} 0\n"));
}
