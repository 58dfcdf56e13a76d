//! What becomes of records when receivers are down, slow, or say no.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use erlmcp_export::otlp::{
    DiagnosticLevel, DropReason, ExporterConfig, OtlpEndpoint, OtlpProtocol, RequestOutcome,
};
use tonic::Code;

use crate::common::*;
use crate::ports::nowhere;
use crate::receiver::{Options, Receiver, Reply};

fn config_to(protocol: OtlpProtocol, address: SocketAddr) -> ExporterConfig {
    config_with(|signal| match protocol {
        Grpc => OtlpEndpoint::new(Grpc, format!("http://{address}")),
        HttpProtobuf => OtlpEndpoint::new(HttpProtobuf, format!("http://{address}/v1/{signal}")),
    })
}

fn restart(protocol: OtlpProtocol, address: SocketAddr) -> Receiver {
    Receiver::start(Options { address, ..Options::new(protocol) }, [])
}

#[test]
fn answers_that_ask_for_another_attempt_get_one() {
    let codes = [Code::Cancelled, Code::DeadlineExceeded, Code::Aborted, Code::Unavailable];
    let http = [429, 502, 503, 504].map(|status| Reply::Http(status, None));
    for (protocol, script) in [
        (HttpProtobuf, http.to_vec()),
        (Grpc, codes.map(|code| Reply::Grpc(code, None)).to_vec()),
        (HttpProtobuf, vec![Reply::Close, Reply::Close]),
        (Grpc, vec![Reply::Close, Reply::Close]),
    ] {
        let failures = script.len() as u64;
        let receiver = Receiver::new(protocol, script);
        let bench = Bench::new();
        let exporter = bench.start(config(protocol, &receiver));
        bench.span("one");
        assert!(exporter.flush(LONG).complete);
        assert_eq!(receiver.names(), ["one"]);
        let stats = exporter.stop(LONG).stats;
        assert_eq!(stats.signals.traces.retries, failures);
        assert_eq!(stats.signals.traces.requests.get(RequestOutcome::Retryable), failures);
        assert_eq!(stats.signals.traces.exported, 1);
        bench.assert_sums(&stats.signals);
        let levels = [DiagnosticLevel::Warning, DiagnosticLevel::Info];
        assert_eq!(bench.heard.levels(), levels, "once each: {}", bench.heard.text());
    }
}

#[test]
fn a_receiver_that_comes_up_late_gets_everything() {
    for protocol in BOTH {
        let address = nowhere();
        let bench = Bench::new();
        let exporter = bench.start(config_to(protocol, address));
        let names = bench.spans(0..1500);
        assert!(!exporter.flush(millis(200)).complete);
        assert_eq!(bench.sources.spans.stats().held, 1500, "still counted at the door");
        let receiver = restart(protocol, address);
        assert!(exporter.flush(LONG).complete);
        assert_eq!(receiver.names(), names);
        let stats = exporter.stop(LONG).stats;
        assert_eq!(stats.signals.traces.exported, 1500);
        bench.assert_sums(&stats.signals);
    }
}

#[test]
fn a_full_queue_refuses_at_the_door_and_the_rest_arrives() {
    let address = nowhere();
    let bench = Bench::with_capacity(100);
    let exporter = bench.start(config_to(HttpProtobuf, address));
    let accepted = (0..500).filter(|n| bench.span(&format!("span-{n}"))).count();
    assert_eq!(accepted, 100);
    let receiver = restart(HttpProtobuf, address);
    assert!(exporter.flush(LONG).complete);
    assert_eq!(receiver.names().len(), 100);
    assert_eq!(bench.sources.spans.stats().refused, 400);
    assert!(bench.span("room again"));
    let stats = exporter.stop(LONG).stats;
    assert_eq!(stats.signals.traces.exported, 101);
    bench.assert_sums(&stats.signals);
}

#[test]
fn what_no_receiver_takes_is_given_up_in_the_end() {
    let bench = Bench::new();
    let mut config = config_to(Grpc, nowhere());
    config.retry.max_elapsed = millis(1_000);
    let exporter = bench.start(config);
    bench.spans(0..10);
    assert!(exporter.flush(LONG).complete, "dropped counts as done");
    let stats = exporter.stop(LONG).stats;
    assert_eq!(stats.signals.traces.dropped.get(DropReason::RetriesExhausted), 10);
    assert!(stats.signals.traces.retries > 0);
    bench.assert_sums(&stats.signals);
    assert_eq!(bench.heard.levels(), [DiagnosticLevel::Warning, DiagnosticLevel::Error]);
}

#[test]
fn an_attempt_ends_with_the_timeout() {
    for protocol in BOTH {
        let receiver = Receiver::new(protocol, [Reply::Slow(Duration::from_secs(60))]);
        let bench = Bench::new();
        let exporter = bench.start(config_with(|signal| {
            let mut endpoint = endpoint(protocol, &receiver, signal);
            // The second attempt has no more.
            endpoint.timeout = millis(2_000);
            endpoint
        }));
        // Before the attempt: its arrival may be noted late.
        let begin = Instant::now();
        bench.span("one");
        assert!(exporter.flush(LONG).complete);
        let received = receiver.received();
        assert_eq!(received.len(), 2, "once in vain");
        assert!(received[1].at - begin >= millis(2_000));
        let stats = exporter.stop(LONG).stats;
        assert_eq!(stats.signals.traces.exported, 1);
        assert_eq!(stats.signals.traces.requests.get(RequestOutcome::Retryable), 1);
        bench.assert_sums(&stats.signals);
    }
}

#[test]
fn a_slow_receiver_does_not_delay_another_signal() {
    let receiver = Receiver::new(HttpProtobuf, [Reply::Held]);
    let bench = Bench::new();
    let exporter = bench.start(config_with(|signal| {
        let mut endpoint = endpoint(HttpProtobuf, &receiver, signal);
        endpoint.timeout = LONG;
        endpoint
    }));
    bench.span("slow");
    eventually("the span is under way", || receiver.received().len() == 1);
    bench.log("quick");
    eventually("the log is there", || exporter.stats().signals.logs.exported == 1);
    assert_eq!(exporter.stats().signals.traces.exported, 0);
    assert_eq!(exporter.stats().signals.traces.in_flight, 1);
    receiver.release();
    let stats = exporter.stop(LONG).stats;
    assert_eq!(stats.signals.traces.exported, 1);
    bench.assert_sums(&stats.signals);
}

#[test]
fn partial_success_is_counted() {
    for protocol in BOTH {
        let receiver = Receiver::new(protocol, [Reply::Partial(3)]);
        let bench = Bench::new();
        let exporter = bench.start(config(protocol, &receiver));
        bench.spans(0..10);
        assert!(exporter.flush(LONG).complete);
        let stats = exporter.stop(LONG).stats;
        assert_eq!(stats.signals.traces.exported, 7);
        assert_eq!(stats.signals.traces.dropped.get(DropReason::PartialSuccess), 3);
        assert_eq!(stats.signals.traces.requests.get(RequestOutcome::PartialSuccess), 1);
        bench.assert_sums(&stats.signals);
        assert!(bench.heard.text().contains("some are bad"), "{}", bench.heard.text());
    }
}

#[test]
fn what_is_refused_for_good_is_not_sent_again() {
    for (protocol, reply) in [
        (HttpProtobuf, Reply::Http(400, None)),
        (HttpProtobuf, Reply::Http(401, None)),
        (HttpProtobuf, Reply::Http(500, None)),
        (HttpProtobuf, Reply::Http(307, None)),
        (Grpc, Reply::Grpc(Code::InvalidArgument, None)),
        (Grpc, Reply::Grpc(Code::Unimplemented, None)),
        (Grpc, Reply::Grpc(Code::Unknown, None)),
        (Grpc, Reply::Grpc(Code::ResourceExhausted, None)),
    ] {
        let receiver = Receiver::new(protocol, [reply]);
        let bench = Bench::new();
        let exporter = bench.start(config(protocol, &receiver));
        bench.spans(0..10);
        assert!(exporter.flush(LONG).complete);
        let stats = exporter.stop(LONG).stats;
        assert_eq!(receiver.received().len(), 1);
        assert_eq!(stats.signals.traces.dropped.get(DropReason::Rejected), 10);
        bench.assert_sums(&stats.signals);
        assert_eq!(bench.heard.levels(), [DiagnosticLevel::Error]);
    }
}

#[test]
fn a_request_too_large_for_the_receiver_is_split() {
    for protocol in BOTH {
        let options = Options { max_bytes: 2_000, ..Options::new(protocol) };
        let receiver = Receiver::start(options, []);
        let bench = Bench::new();
        let exporter = bench.start(config(protocol, &receiver));
        let mut names = bench.spans(0..400);
        bench.span(&"x".repeat(5_000));
        names.extend(bench.spans(400..500));
        assert!(exporter.flush(LONG).complete);
        assert_eq!(receiver.names(), names);
        assert!(receiver.received().iter().all(|received| received.bytes <= 2_000));
        let stats = exporter.stop(LONG).stats;
        assert_eq!(stats.signals.traces.exported, 500);
        assert_eq!(stats.signals.traces.dropped.get(DropReason::TooLarge), 1);
        assert!(stats.signals.traces.requests.get(RequestOutcome::TooLarge) > 8);
        bench.assert_sums(&stats.signals);
    }
}

#[test]
fn no_request_is_larger_than_the_limit() {
    let receiver = Receiver::new(HttpProtobuf, []);
    let bench = Bench::new();
    let mut config = config(HttpProtobuf, &receiver);
    config.max_batch_bytes = 1_000;
    let exporter = bench.start(config);
    let mut names = bench.spans(0..100);
    bench.span(&"x".repeat(1_000));
    names.extend(bench.spans(100..200));
    assert!(exporter.flush(LONG).complete);
    assert_eq!(receiver.names(), names);
    let sizes: Vec<usize> = receiver.received().iter().map(|received| received.bytes).collect();
    assert!(sizes.iter().all(|bytes| *bytes <= 1_000), "{sizes:?}");
    assert!(sizes.iter().filter(|bytes| **bytes > 900).count() > 2, "{sizes:?}");
    let stats = exporter.stop(LONG).stats;
    assert_eq!(stats.signals.traces.dropped.get(DropReason::TooLarge), 1);
    assert_eq!(stats.signals.traces.requests.get(RequestOutcome::TooLarge), 0);
    bench.assert_sums(&stats.signals);
}

#[test]
fn the_sums_agree_whatever_the_receiver_answers() {
    const THREADS: usize = 3;
    const EACH: usize = 5_000;
    for protocol in BOTH {
        let bad = |n: u16| match (protocol, n % 6) {
            (_, 0) => Reply::Close,
            (_, 1) => Reply::Partial(2),
            (_, 2) => Reply::Slow(millis(5)),
            (HttpProtobuf, 3) => Reply::Http(400, None),
            (HttpProtobuf, _) => Reply::Http(503, None),
            (Grpc, 3) => Reply::Grpc(Code::InvalidArgument, None),
            (Grpc, _) => Reply::Grpc(Code::Unavailable, None),
        };
        let script: Vec<Reply> = (0..60).flat_map(|n| [bad(n), Reply::Take]).collect();
        let receiver = Receiver::new(protocol, script);
        let bench = Bench::with_capacity(2_000);
        let mut config = config(protocol, &receiver);
        config.max_batch_records = 100;
        let exporter = bench.start(config);
        let queue = &bench.sources.spans;
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let producer = queue.producer();
                scope.spawn(move || {
                    for n in 0..EACH {
                        // An empty span; the queue may be full.
                        let _ = producer.push(&[]);
                        if n % 100 == 0 {
                            std::thread::sleep(millis(1));
                        }
                    }
                });
            }
        });
        assert!(exporter.flush(LONG).complete);
        bench.assert_sums(&exporter.stats().signals);
        let stats = exporter.stop(LONG).stats.signals.traces;
        let door = queue.stats();
        assert_eq!(door.accepted + door.refused, (THREADS * EACH) as u64);
        assert_eq!(door.held, 0);
        assert_eq!(stats.exported + stats.dropped.total(), door.accepted);
        let taken = receiver.names().len() as u64;
        assert_eq!(taken, stats.exported + stats.dropped.get(DropReason::PartialSuccess));
    }
}
