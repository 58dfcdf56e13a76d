//! Stopping, dropping, and signals without a receiver.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use erlmcp_export::otlp::{
    DropReason, ExporterConfig, MetricRecords, ScopeBytes, Signal, SignalConfig, Tap,
};
use erlmcp_trace::{Queue, QueueLimits, Records};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use parking_lot::Mutex;
use prost::Message;

use crate::common::*;
use crate::receiver::{Receiver, Reply};

#[test]
fn stop_sends_a_full_queue() {
    for protocol in BOTH {
        let receiver = Receiver::new(protocol, []);
        let bench = Bench::with_capacity(8_192);
        let mut config = config(protocol, &receiver);
        config.scheduled_delay = LONG * 10;
        let exporter = bench.start(config);
        let names = bench.spans(0..8_192);
        let stopped = exporter.stop(LONG);
        assert!(stopped.complete);
        assert_eq!(receiver.names(), names);
        assert_eq!(stopped.stats.signals.traces.exported, 8_192);
        bench.assert_sums(&stopped.stats.signals);
    }
}

#[test]
fn stop_keeps_its_deadline_and_counts_what_is_left() {
    // A receiver that accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let bench = Bench::new();
    let exporter = bench.start(config_with(|_| {
        erlmcp_export::otlp::OtlpEndpoint::new(HttpProtobuf, format!("http://{address}/v1/x"))
    }));
    bench.spans(0..5_000);
    bench.log("event");
    let begin = Instant::now();
    let stopped = exporter.stop(millis(300));
    assert!(begin.elapsed() >= millis(300), "it tried");
    // An attempt would end by itself after ten.
    assert!(begin.elapsed() < millis(8_000), "{:?}", begin.elapsed());
    let signals = stopped.stats.signals;
    assert_eq!(signals.traces.dropped.get(DropReason::Shutdown), 5_000);
    assert_eq!(signals.logs.dropped.get(DropReason::Shutdown), 1);
    bench.assert_sums(&signals);
    assert_eq!(bench.sources.spans.stats().held, 0);
}

#[test]
fn a_dropped_exporter_gives_the_room_back() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let bench = Bench::with_capacity(1_000);
    let exporter = bench.start(config_with(|_| {
        erlmcp_export::otlp::OtlpEndpoint::new(Grpc, format!("http://{address}"))
    }));
    bench.spans(0..1_000);
    eventually("they are taken", || exporter.stats().signals.traces.taken == 1_000);
    drop(exporter);
    eventually("the room is back", || bench.sources.spans.stats().held == 0);
    // The queue serves the next exporter.
    let receiver = Receiver::new(HttpProtobuf, []);
    let exporter = bench.start(config(HttpProtobuf, &receiver));
    let names = bench.spans(0..1_000);
    assert!(exporter.flush(LONG).complete);
    assert_eq!(receiver.names(), names);
    exporter.stop(LONG);
}

#[test]
fn it_can_be_dropped_on_a_runtime_of_others() {
    let receiver = Receiver::new(HttpProtobuf, []);
    let bench = Bench::new();
    let exporter = bench.start(config(HttpProtobuf, &receiver));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move { drop(exporter) });
}

#[derive(Debug)]
struct Counting(AtomicU64);

impl Tap for Counting {
    fn records(&self, _signal: Signal, _scope: &ScopeBytes, records: &Records) {
        self.0.fetch_add(u64::from(records.count), Relaxed);
    }
}

#[test]
fn without_a_receiver_records_are_kept_by_the_taps() {
    let mut bench = Bench::new();
    let tap = Arc::new(Counting(AtomicU64::new(0)));
    bench.sources.taps.push(Arc::clone(&tap) as Arc<dyn Tap>);
    let exporter = bench.start(ExporterConfig::default());
    bench.spans(0..700);
    assert!(exporter.flush(LONG).complete);
    assert_eq!(tap.0.load(Relaxed), 700);
    let stats = exporter.stop(LONG).stats;
    assert_eq!(stats.signals.traces.kept, 700);
    bench.assert_sums(&stats.signals);
}

/// The numbers of the records that came by, bodies of eight bytes.
#[derive(Debug, Default)]
struct Numbers(Mutex<HashSet<u64>>);

impl Tap for Numbers {
    fn records(&self, _signal: Signal, _scope: &ScopeBytes, records: &Records) {
        let bodies = records.bytes.chunks_exact(10).map(|framed| framed[2..].try_into().unwrap());
        self.0.lock().extend(bodies.map(u64::from_be_bytes));
    }
}

#[test]
fn what_was_queued_when_asked_has_been_shown() {
    const ROUNDS: u64 = 2_000;
    let mut bench = Bench::new();
    let tap = Arc::new(Numbers::default());
    bench.sources.taps.push(Arc::clone(&tap) as Arc<dyn Tap>);
    let exporter = bench.start(ExporterConfig::default());
    thread::scope(|scope| {
        for thread in 0..6 {
            let (exporter, tap, producer) = (&exporter, &tap, bench.sources.spans.producer());
            scope.spawn(move || {
                for number in thread * ROUNDS..(thread + 1) * ROUNDS {
                    producer.push(&number.to_be_bytes()).unwrap();
                    assert!(exporter.take_in_spans(LONG));
                    assert!(tap.0.lock().contains(&number), "{number}");
                }
            });
        }
    });
    let stats = exporter.stop(LONG).stats;
    assert_eq!(stats.signals.traces.kept, 6 * ROUNDS);
    bench.assert_sums(&stats.signals);
    assert!(!exporter.take_in_spans(LONG), "it has ended, and says so at once");
}

#[test]
fn without_anybody_records_are_dropped_by_name() {
    let bench = Bench::new();
    let exporter = bench.start(ExporterConfig::default());
    bench.spans(0..700);
    assert!(exporter.flush(LONG).complete);
    let stats = exporter.stop(LONG).stats;
    assert_eq!(stats.signals.traces.dropped.get(DropReason::NoEndpoint), 700);
    bench.assert_sums(&stats.signals);
}

/// Collects one metric, named for how often it was asked.
#[derive(Debug)]
struct Asked(AtomicU64);

impl MetricRecords for Asked {
    fn collect(&self) -> Records {
        let times = self.0.fetch_add(1, Relaxed);
        let queue = Queue::new(QueueLimits::default());
        let metric = Metric { name: format!("asked-{times}"), ..Metric::default() };
        queue.producer().push(&metric.encode_to_vec()).unwrap();
        queue.drain().remove(0)
    }
}

#[test]
fn metrics_are_sent_at_their_interval_and_at_flush_and_stop() {
    for protocol in BOTH {
        let receiver = Receiver::new(protocol, []);
        let mut bench = Bench::new();
        bench.sources.metrics = Some(Arc::new(Asked(AtomicU64::new(0))));
        let mut config = config(protocol, &receiver);
        config.metric_interval = millis(300);
        let exporter = bench.start(config);
        assert!(exporter.flush(LONG).complete);
        assert_eq!(receiver.names(), ["asked-0"]);
        eventually("the interval passes", || receiver.names().len() == 2);
        let stats = exporter.stop(LONG).stats;
        assert_eq!(receiver.names(), ["asked-0", "asked-1", "asked-2"]);
        assert_eq!(stats.signals.metrics.taken, 3);
        assert_eq!(stats.signals.metrics.exported, 3);
    }
}

#[test]
fn metrics_under_way_are_not_collected_again() {
    let receiver = Receiver::new(HttpProtobuf, [Reply::Slow(millis(1_000)), Reply::Partial(7)]);
    let mut bench = Bench::new();
    bench.sources.metrics = Some(Arc::new(Asked(AtomicU64::new(0))));
    let mut config = config(HttpProtobuf, &receiver);
    config.metric_interval = millis(50);
    config.traces = SignalConfig::default();
    let exporter = bench.start(config);
    eventually("the second is there", || receiver.names().len() >= 2);
    assert_eq!(receiver.names()[..2], ["asked-0", "asked-1"]);
    let stats = exporter.stop(LONG).stats;
    assert!(stats.collections_skipped >= 3, "{stats:?}");
    let metrics = stats.signals.metrics;
    assert_eq!(metrics.rejected_points, 7);
    assert_eq!(metrics.taken, metrics.exported);
}
