//! The registry beside prometheus-client, in the same run: what the decision
//! not to use it rests on (docs/decisions/0001-own-registry-and-encoders.md).
//!
//! `cargo bench -p erlmcp-metrics`

use std::hint::black_box;
use std::time::{Duration, Instant};

use erlmcp_metrics::exposition::{Format, Scope, render};
use erlmcp_metrics::{Buckets, Declaration, Kind, LabelSet, MetricName, Options, Registry};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

const SERIES: u64 = 10_000;
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const RUNS: usize = 7;

type Labels = Vec<(String, String)>;

/// Median of several runs.
fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| run()).collect();
    times.sort_unstable();
    times[RUNS / 2]
}

fn timed<T>(body: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(body());
    start.elapsed()
}

fn ours() -> Registry {
    let registry = Registry::new(Options { series_limit: 20_000, ..Options::default() });
    let histogram = MetricName::new("bench_seconds").expect("a legal name");
    registry
        .declare(Declaration {
            buckets: Some(Buckets::new(&BOUNDS).expect("legal bounds")),
            ..Declaration::new(Kind::Histogram, histogram.clone())
        })
        .expect("a new metric");
    let counter = MetricName::new("bench").expect("a legal name");
    let recorder = registry.recorder();
    for n in 0..SERIES {
        let labels = LabelSet::from_pairs([("id", n.to_string().as_str())]).expect("legal labels");
        let id = registry.series(Kind::Counter, &counter, &labels).expect("room").id;
        recorder.add_int(id, n.cast_signed()).expect("a counter");
        let id = registry.series(Kind::Histogram, &histogram, &labels).expect("room").id;
        recorder.observe(id, (n % 1_000) as f64 / 100.0).expect("a histogram");
    }
    registry
}

fn theirs() -> prometheus_client::registry::Registry {
    let mut registry = prometheus_client::registry::Registry::default();
    let counters = Family::<Labels, Counter>::default();
    let histograms = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(BOUNDS));
    registry.register("bench", "Bench", counters.clone());
    registry.register("bench_seconds", "Bench", histograms.clone());
    for n in 0..SERIES {
        let labels = vec![("id".to_owned(), n.to_string())];
        counters.get_or_create(&labels).inc_by(n);
        histograms.get_or_create(&labels).observe((n % 1_000) as f64 / 100.0);
    }
    registry
}

fn main() {
    let (ours, theirs) = (ours(), theirs());
    let mut bytes = (0, 0);
    let render_ours = median(|| {
        timed(|| {
            let exposition = render(&ours, &[], Format::OpenMetrics, Scope::Application);
            bytes.0 = exposition.chunks.iter().map(Vec::len).sum();
            exposition
        })
    });
    let render_theirs = median(|| {
        timed(|| {
            let mut text = String::new();
            encode(&mut text, &theirs).expect("writing to a string");
            bytes.1 = text.len();
            text
        })
    });
    println!("OpenMetrics text of {SERIES} counters and {SERIES} histograms of 11 buckets:");
    println!("  erlmcp-metrics     {render_ours:>10.2?}  {} bytes", bytes.0);
    println!("  prometheus-client  {render_theirs:>10.2?}  {} bytes", bytes.1);

    const CALLS: u32 = 5_000_000;
    let registry = Registry::new(Options::default());
    let name = MetricName::new("hot").expect("a legal name");
    let id = registry.series(Kind::Counter, &name, &LabelSet::empty()).expect("room").id;
    let recorder = registry.recorder();
    let counter = Counter::<u64>::default();
    let add_ours = median(|| {
        timed(|| (0..CALLS).for_each(|_| recorder.add_int(black_box(id), 1).expect("a counter")))
    });
    let add_theirs = median(|| timed(|| (0..CALLS).for_each(|_| _ = black_box(&counter).inc())));
    println!("one addition, one thread:");
    print_each(add_ours, add_theirs, CALLS);

    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let together = |body: &(dyn Fn() + Sync)| {
        median(|| {
            timed(|| {
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(body);
                    }
                });
            })
        })
    };
    let add_ours = together(&|| {
        let recorder = registry.recorder();
        (0..CALLS).for_each(|_| recorder.add_int(black_box(id), 1).expect("a counter"));
    });
    let add_theirs = together(&|| (0..CALLS).for_each(|_| _ = black_box(&counter).inc()));
    println!("one addition, {threads} threads at once:");
    print_each(add_ours, add_theirs, CALLS);
}

fn print_each(ours: Duration, theirs: Duration, calls: u32) {
    let each = |total: Duration| total.as_secs_f64() * 1e9 / f64::from(calls);
    println!("  erlmcp-metrics     {:>8.2} ns", each(ours));
    println!("  prometheus-client  {:>8.2} ns", each(theirs));
}
