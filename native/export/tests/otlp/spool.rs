//! The spool: nothing is lost while a receiver is down, nor over a restart.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use erlmcp_export::otlp::{
    DropReason, Exporter, ExporterConfig, ExporterStartError, OtlpEndpoint, SpoolConfig,
};

use crate::common::*;
use crate::ports::nowhere;
use crate::receiver::{Options, Receiver};

fn config(address: SocketAddr, dir: &Path) -> ExporterConfig {
    let mut config = config_with(|signal| {
        OtlpEndpoint::new(HttpProtobuf, format!("http://{address}/v1/{signal}"))
    });
    config.spool = Some(SpoolConfig { dir: dir.to_owned(), max_bytes: 1 << 20 });
    config
}

fn receiver_at(address: SocketAddr) -> Receiver {
    Receiver::start(Options { address, ..Options::new(HttpProtobuf) }, [])
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// Runs an exporter without a receiver and leaves its records in the spool.
fn leave_behind(dir: &Path, spans: std::ops::Range<usize>) -> Vec<String> {
    let bench = Bench::new();
    let mut config = config(nowhere(), dir);
    config.max_batch_records = 100;
    let exporter = bench.start(config);
    let names = bench.spans(spans);
    let stopped = exporter.stop(LONG);
    assert!(stopped.complete);
    let traces = stopped.stats.signals.traces;
    assert_eq!(traces.spooled, traces.recovered + names.len() as u64);
    bench.assert_sums(&stopped.stats.signals);
    names
}

#[test]
fn with_a_spool_nothing_is_lost_while_the_receiver_is_down() {
    let (dir, address) = (temp_dir("down"), nowhere());
    let bench = Bench::with_capacity(1_000);
    let exporter = bench.start(config(address, &dir));
    let mut names = Vec::new();
    for round in 0..5 {
        names.extend(bench.spans(round * 800..(round + 1) * 800));
        assert!(exporter.flush(LONG).complete, "spooled counts as done");
    }
    bench.log("event");
    assert!(exporter.flush(LONG).complete);
    // What is in the spool is tried now and then: between two attempts.
    let mut stats = exporter.stats();
    eventually("a pause", || {
        stats = exporter.stats();
        stats.signals.traces.in_flight + stats.signals.logs.in_flight == 0
    });
    assert_eq!(stats.signals.traces.spooled, 4_000);
    assert!(stats.spool_bytes > 4_000);
    assert_eq!(bench.sources.spans.stats().held, 0, "the queue has room");
    assert_eq!(bench.sources.spans.stats().refused, 0);
    bench.assert_sums(&stats.signals);

    let receiver = receiver_at(address);
    eventually("all arrives", || exporter.stats().signals.traces.exported == 4_000);
    eventually("the log too", || exporter.stats().signals.logs.exported == 1);
    names.insert(0, "event".to_owned());
    assert_eq!(receiver.names(), names);
    bench.assert_sums(&exporter.stats().signals);
    assert_eq!(exporter.stats().spool_bytes, 0);
    assert!(files(&dir, "otlp").is_empty());

    bench.span("direct");
    assert!(exporter.flush(LONG).complete);
    assert_eq!(exporter.stats().signals.traces.exported, 4_001);
    exporter.stop(LONG);
}

#[test]
fn the_spool_survives_a_restart_and_is_read_in_order() {
    let dir = temp_dir("restart");
    let mut names = leave_behind(&dir, 0..500);
    names.extend(leave_behind(&dir, 500..800));
    let receiver = Receiver::new(HttpProtobuf, []);
    let bench = Bench::new();
    let exporter = bench.start(config(receiver.address, &dir));
    eventually("all arrives", || exporter.stats().signals.traces.exported == 800);
    let mut arrived: Vec<String> =
        receiver.received().into_iter().flat_map(|received| received.names).collect();
    // Two requests are on their way at once: either may be written first.
    let (first_run, second_run) = arrived.split_at_mut(500);
    first_run.sort();
    second_run.sort();
    assert!(arrived == names, "the first run's come first");
    let stats = exporter.stop(LONG).stats;
    assert_eq!(stats.signals.traces.recovered, 800);
    assert_eq!(stats.signals.traces.spooled, 0);
    bench.assert_sums(&stats.signals);
}

#[test]
fn damaged_files_are_set_aside_and_counted() {
    let dir = temp_dir("damaged");
    leave_behind(&dir, 0..400);
    let spooled = files(&dir, "otlp");
    assert_eq!(spooled.len(), 4);
    // One cut off, one with a flipped bit, one that never was a request.
    let whole = fs::read(&spooled[0]).unwrap();
    fs::write(&spooled[0], &whole[..whole.len() / 2]).unwrap();
    let mut flipped = fs::read(&spooled[1]).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&spooled[1], flipped).unwrap();
    fs::write(dir.join("00000000000000000099-traces-7.otlp"), b"").unwrap();
    // What a crash leaves, and what is somebody else's.
    fs::write(dir.join("00000000000000000100-traces-5.tmp"), b"begun").unwrap();
    fs::write(dir.join("README"), b"not ours").unwrap();

    let receiver = Receiver::new(HttpProtobuf, []);
    let bench = Bench::new();
    let exporter = bench.start(config(receiver.address, &dir));
    eventually("what is whole arrives", || receiver.names().len() == 200);
    eventually("the rest is counted", || exporter.stats().signals.traces.spooled == 0);
    let stats = exporter.stop(LONG).stats;
    assert_eq!(stats.signals.traces.exported, 200);
    assert_eq!(stats.signals.traces.dropped.get(DropReason::SpoolError), 212);
    bench.assert_sums(&stats.signals);
    assert_eq!(files(&dir, "corrupt").len(), 3);
    assert!(files(&dir, "tmp").is_empty());
    assert!(dir.join("README").exists());
    assert!(bench.heard.text().contains("set aside"), "{}", bench.heard.text());
}

#[test]
fn a_full_spool_drops_by_name() {
    let dir = temp_dir("full");
    let bench = Bench::new();
    let mut config = config(nowhere(), &dir);
    config.spool.as_mut().unwrap().max_bytes = 4_000;
    config.max_batch_records = 100;
    let exporter = bench.start(config);
    bench.spans(0..1_000);
    assert!(exporter.flush(LONG).complete);
    let stats = exporter.stop(LONG).stats;
    assert!(stats.signals.traces.spooled >= 100);
    assert!(stats.signals.traces.dropped.get(DropReason::SpoolFull) >= 500);
    assert!(stats.spool_bytes <= 4_000);
    bench.assert_sums(&stats.signals);
    let on_disk: u64 = files(&dir, "otlp").iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    assert_eq!(on_disk, stats.spool_bytes);
}

#[test]
fn what_a_slow_receiver_cannot_take_goes_to_the_spool() {
    let dir = temp_dir("slow");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let bench = Bench::with_capacity(1_000);
    let mut config = config(silent.local_addr().unwrap(), &dir);
    config.max_batch_records = 100;
    let exporter = bench.start(config);
    for round in 0..10 {
        bench.spans(round * 200..(round + 1) * 200);
        eventually("the queue is no more than half full", || {
            bench.sources.spans.stats().held <= 600
        });
    }
    assert_eq!(bench.sources.spans.stats().refused, 0);
    let stopped = exporter.stop(millis(200));
    assert_eq!(stopped.stats.signals.traces.spooled, 2_000);
    bench.assert_sums(&stopped.stats.signals);
}

#[test]
fn a_spooled_request_too_large_for_the_receiver_is_split() {
    let dir = temp_dir("split");
    let names = leave_behind(&dir, 0..300);
    let options = Options { max_bytes: 1_000, ..Options::new(HttpProtobuf) };
    let receiver = Receiver::start(options, []);
    let bench = Bench::new();
    let exporter = bench.start(config(receiver.address, &dir));
    eventually("all arrives", || exporter.stats().signals.traces.exported == 300);
    assert_eq!(receiver.names(), names);
    bench.assert_sums(&exporter.stop(LONG).stats.signals);
}

#[test]
fn two_exporters_do_not_share_a_directory() {
    let dir = temp_dir("shared");
    let bench = Bench::new();
    let exporter = bench.start(config(nowhere(), &dir));
    let error = Exporter::start(config(nowhere(), &dir), Bench::new().sources).unwrap_err();
    assert!(matches!(error, ExporterStartError::SpoolInUse { .. }));
    assert!(error.to_string().contains(&dir.display().to_string()));
    exporter.stop(LONG);
    bench.start(config(nowhere(), &dir)).stop(LONG);
}

#[test]
fn a_directory_that_cannot_be_used_is_a_start_error() {
    let file = temp_dir("file").join("file");
    fs::write(&file, b"").unwrap();
    let error = Exporter::start(config(nowhere(), &file), Bench::new().sources).unwrap_err();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}
