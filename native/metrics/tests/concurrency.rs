//! Many threads at once: nothing is lost, nothing is counted twice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use erlmcp_metrics::exposition::{Format, Scope, render};
use erlmcp_metrics::{
    Exemplar, GaugeValue, Kind, LabelSet, MetricName, Number, Options, Registry, Value,
};

const THREADS: u64 = 8;
const ROUNDS: u64 = 50_000;

fn name(text: &str) -> MetricName {
    MetricName::new(text).unwrap()
}

fn label(key: &str, n: u64) -> LabelSet {
    LabelSet::from_pairs([(key, n.to_string().as_str())]).unwrap()
}

#[test]
fn sums_are_exact() {
    let registry = Registry::new(Options::default());
    let id = |kind, text| registry.series(kind, &name(text), &LabelSet::empty()).unwrap().id;
    let counter = id(Kind::Counter, "counter");
    let floats = id(Kind::Counter, "floats");
    let open = id(Kind::UpDownCounter, "open");
    let gauge = id(Kind::Gauge, "gauge");
    let histogram = id(Kind::Histogram, "histogram");
    let exponential = id(Kind::ExponentialHistogram, "exponential");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let registry = &registry;
            scope.spawn(move || {
                let recorder = registry.recorder();
                for round in 0..ROUNDS {
                    recorder.add_int(counter, 1).unwrap();
                    recorder.add_float(floats, 0.5).unwrap();
                    recorder.add_int(open, if round % 2 == 0 { 3 } else { -2 }).unwrap();
                    recorder.add_int(gauge, if thread % 2 == 0 { 1 } else { -1 }).unwrap();
                    recorder.observe(histogram, (round % 4) as f64 * 0.25).unwrap();
                    recorder.observe(exponential, (round % 4) as f64 * 0.25).unwrap();
                }
            });
        }
    });
    let total = THREADS * ROUNDS;
    assert_eq!(registry.value(counter), Some(Value::Sum(Number::Uint(total))));
    assert_eq!(registry.value(floats), Some(Value::Sum(Number::Float(total as f64 / 2.0))));
    assert_eq!(registry.value(open), Some(Value::Sum(Number::Int(total as i64 / 2))));
    assert_eq!(registry.value(gauge), Some(Value::Gauge(GaugeValue::Int(0))));
    let Some(Value::Histogram(value)) = registry.value(histogram) else { panic!("no histogram") };
    assert_eq!(value.count(), total);
    assert_eq!(value.sum, total as f64 * 0.375);
    assert_eq!(value.counts[0], total / 4);
    let Some(Value::Exponential(exponential)) = registry.value(exponential) else {
        panic!("no exponential histogram")
    };
    assert_eq!(exponential.explicit, value);
    assert_eq!((exponential.count(), exponential.zero_count), (total, total / 4));
    // 0.25, 0.5 and 0.75 are too far apart for 160 buckets above scale 6.
    assert_eq!(exponential.scale, 6);
}

#[test]
fn a_thread_that_ends_leaves_its_counts_and_its_cells() {
    let registry = Registry::new(Options::default());
    let id = registry.series(Kind::Counter, &name("c"), &LabelSet::empty()).unwrap().id;
    for _ in 0..100 {
        thread::scope(|scope| {
            scope.spawn(|| registry.recorder().add_int(id, 1).unwrap());
        });
    }
    assert_eq!(registry.value(id), Some(Value::Sum(Number::Uint(100))));
    assert_eq!(registry.stats().threads, 1);
}

#[test]
fn threads_that_register_the_same_series_get_the_same() {
    let registry = Registry::new(Options::default());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let recorder = registry.recorder();
                for n in 0..1_000 {
                    let metric = name(&format!("metric_{}", n % 7));
                    let bound = registry.series(Kind::Counter, &metric, &label("n", n)).unwrap();
                    recorder.add_int(bound.id, 1).unwrap();
                }
            });
        }
    });
    assert_eq!(registry.stats().series, 1_000);
    for n in 0..1_000 {
        let metric = name(&format!("metric_{}", n % 7));
        let id = registry.find(&metric, &label("n", n)).unwrap();
        assert_eq!(registry.value(id), Some(Value::Sum(Number::Uint(THREADS))));
    }
}

/// Series come and go while others are recorded into and everything is
/// scraped: what stays is exact, and no scrape shows a line twice.
#[test]
fn churn_does_not_disturb_what_stays() {
    let registry = Registry::new(Options::default());
    let stays: Vec<_> = (0..64)
        .map(|n| registry.series(Kind::Counter, &name("c"), &label("stays", n)).unwrap().id)
        .collect();
    let recorded = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let recorders: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let recorder = registry.recorder();
                    for round in 0..200_000 {
                        recorder.add_int(stays[round % 64], 1).unwrap();
                    }
                    recorded.fetch_add(200_000, Ordering::Relaxed);
                })
            })
            .collect();
        for worker in 0..2 {
            let (registry, done) = (&registry, &done);
            scope.spawn(move || {
                let recorder = registry.recorder();
                for n in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let labels = label("goes", worker + 2 * (n % 500));
                    let id = registry.series(Kind::Counter, &name("c"), &labels).unwrap().id;
                    recorder.add_int(id, 1).unwrap();
                    registry.remove(id);
                }
            });
        }
        scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let exposition = render(&registry, &[], Format::Text, Scope::Application);
                let text = String::from_utf8(exposition.chunks.concat()).unwrap();
                let mut seen = std::collections::HashSet::new();
                let mut sum = 0_u64;
                for line in text.lines().filter(|line| !line.starts_with('#')) {
                    let (series, value) = line.rsplit_once(' ').unwrap();
                    assert!(seen.insert(series), "twice: {series}");
                    if series.contains("stays") {
                        sum += value.parse::<u64>().unwrap();
                    }
                }
                assert!(sum >= last, "{sum} after {last}");
                last = sum;
            }
        });
        for recorder in recorders {
            recorder.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let total: u64 = stays
        .iter()
        .map(|id| match registry.value(*id) {
            Some(Value::Sum(Number::Uint(n))) => n,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(total, recorded.load(Ordering::Relaxed));
}

/// A scrape between the bucket and the sum of an observation, or between two
/// threads' buckets, still shows a count that is the sum of its buckets.
#[test]
fn a_histogram_is_consistent_while_it_is_observed() {
    let registry = Registry::new(Options::default());
    let id = registry.series(Kind::Histogram, &name("h"), &LabelSet::empty()).unwrap().id;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let recorder = registry.recorder();
                    (0..100_000).for_each(|n| recorder.observe(id, f64::from(n % 11)).unwrap());
                })
            })
            .collect();
        scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let exposition = render(&registry, &[], Format::Text, Scope::Application);
                let text = String::from_utf8(exposition.chunks.concat()).unwrap();
                let number = |prefix: &str| {
                    let line = text.lines().find(|line| line.starts_with(prefix)).unwrap();
                    line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
                };
                let count = number("h_count");
                assert_eq!(count, number("h_bucket{le=\"+Inf\"}"));
                assert!(count >= last);
                last = count;
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let Some(Value::Histogram(value)) = registry.value(id) else { panic!("no histogram") };
    assert_eq!(value.count(), 300_000);
}

#[test]
fn exemplars_are_of_their_series_and_end_with_it() {
    let registry = Registry::new(Options::default());
    let metric = name("latency");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let recorder = registry.recorder();
                    for round in 0..20_000_u64 {
                        let n = round % 8;
                        let id =
                            registry.series(Kind::Histogram, &metric, &label("n", n)).unwrap().id;
                        // Time flies, so that each is due.
                        let time_unix_nano = (1 << 60) + round * 1_000_000_000;
                        let ids = ([n as u8 + 1; 16], [1; 8]);
                        let (trace_id, span_id) = ids;
                        let exemplar = Exemplar { value: 0.3, time_unix_nano, trace_id, span_id };
                        let _ = recorder.observe_with_exemplar(id, exemplar);
                        if round % 5 == 0 {
                            registry.remove(id);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let shown = render(&registry, &[], Format::OpenMetrics, Scope::Application);
                let shown = String::from_utf8(shown.chunks.concat()).unwrap();
                for line in shown.lines().filter(|line| line.contains("trace_id")) {
                    let n: u8 = line.split('"').nth(1).unwrap().parse().unwrap();
                    let trace_id = format!("{:02x}", n + 1).repeat(16);
                    assert!(line.contains(&trace_id), "{line}");
                }
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    registry.remove_all(&metric);
    assert_eq!(registry.stats().exemplars, 0);
}

#[test]
fn exponential_histograms_are_consistent_while_they_are_observed() {
    let registry = Registry::new(Options::default());
    let metric = name("sizes");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u64)
            .map(|thread| {
                let (registry, metric) = (&registry, &metric);
                scope.spawn(move || {
                    let recorder = registry.recorder();
                    for round in 0..20_000_u64 {
                        let labels = label("n", round % 4);
                        let id = registry
                            .series(Kind::ExponentialHistogram, metric, &labels)
                            .unwrap()
                            .id;
                        // The scale goes down as the values spread.
                        let value = 1.01_f64.powi((round % (thread + 2) * (round / 100)) as i32);
                        let _ = recorder.observe(id, value.min(1e300));
                        if round % 97 == 0 && round % 4 == 3 {
                            registry.remove(id);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for n in 0..4 {
                    let id = registry.find(&metric, &label("n", n));
                    if let Some(Value::Exponential(value)) = id.and_then(|id| registry.value(id)) {
                        assert_eq!(value.count(), value.explicit.count());
                        assert!(value.positive.counts.len() <= 160);
                    }
                }
                let _ = render(&registry, &[], Format::Protobuf, Scope::Application);
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let before = registry.stats().bytes;
    registry.remove_all(&metric);
    assert!(registry.stats().bytes < before);
}
