//! What is queued arrives, whatever the protocol, and in good batches.

use std::time::Instant;

use erlmcp_export::otlp::{OtlpCompression, RequestOutcome, Signal};
use tonic::Code;

use crate::common::*;
use crate::receiver::{Receiver, Reply};

#[test]
fn what_is_queued_arrives_over_both_protocols() {
    for protocol in BOTH {
        for compression in [OtlpCompression::None, OtlpCompression::Gzip] {
            let receiver = Receiver::new(protocol, []);
            let bench = Bench::new();
            let exporter = bench.start(config_with(|signal| {
                let mut endpoint = endpoint(protocol, &receiver, signal);
                endpoint.compression = compression;
                endpoint.headers = vec![("X-Api-Key".to_owned(), "secret".to_owned())];
                endpoint
            }));
            let mut names = bench.spans(0..2000);
            bench.log("event");
            assert!(exporter.flush(LONG).complete);
            names.insert(0, "event".to_owned());
            assert_eq!(receiver.names(), names);
            for received in receiver.received() {
                assert_eq!(received.headers["x-api-key"], "secret");
                let agent = received.headers["user-agent"].to_str().unwrap();
                assert!(agent.starts_with("OTel-OTLP-Exporter-Erlang/"), "{agent}");
                assert!(received.names.len() <= 512);
                if received.signal == Signal::Traces {
                    assert!(received.service.contains("test"));
                }
            }
            let stats = exporter.stop(LONG).stats;
            assert_eq!(stats.signals.traces.exported, 2000);
            assert_eq!(stats.signals.logs.exported, 1);
            assert!(stats.signals.traces.requests.get(RequestOutcome::Success) >= 4);
            bench.assert_sums(&stats.signals);
            assert_eq!(bench.heard.text(), "");
        }
    }
}

#[test]
fn a_record_waits_no_longer_than_the_delay() {
    let receiver = Receiver::new(HttpProtobuf, []);
    let bench = Bench::new();
    let exporter = bench.start(config(HttpProtobuf, &receiver));
    bench.span("one");
    eventually("it arrives without a flush", || receiver.names() == ["one"]);
    exporter.stop(LONG);
}

#[test]
fn a_full_batch_does_not_wait_for_the_delay() {
    let receiver = Receiver::new(HttpProtobuf, []);
    let bench = Bench::new();
    let mut config = config(HttpProtobuf, &receiver);
    config.scheduled_delay = LONG * 10;
    config.max_batch_records = 100;
    let exporter = bench.start(config);
    bench.spans(0..256);
    eventually("two full batches arrive", || receiver.names().len() == 200);
    eventually("the others wait", || bench.sources.spans.stats().held == 56);
    exporter.stop(LONG);
    assert_eq!(receiver.names().len(), 256);
}

#[test]
fn retry_after_is_honoured() {
    for (protocol, reply) in [
        (HttpProtobuf, Reply::Http(429, Some("1".to_owned()))),
        (HttpProtobuf, Reply::Http(503, Some("1".to_owned()))),
        (Grpc, Reply::Grpc(Code::Unavailable, Some(millis(1000)))),
        (Grpc, Reply::Grpc(Code::ResourceExhausted, Some(millis(1000)))),
    ] {
        let receiver = Receiver::new(protocol, [reply]);
        let bench = Bench::new();
        let exporter = bench.start(config(protocol, &receiver));
        let begin = Instant::now();
        bench.span("one");
        assert!(exporter.flush(LONG).complete);
        assert!(begin.elapsed() >= millis(1000), "{:?}", begin.elapsed());
        assert_eq!(receiver.names(), ["one"]);
        let stats = exporter.stop(LONG).stats;
        assert_eq!(stats.signals.traces.retries, 1);
        assert_eq!(stats.signals.traces.requests.get(RequestOutcome::Retryable), 1);
        bench.assert_sums(&stats.signals);
    }
}
