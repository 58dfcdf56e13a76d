//! What the tests share: records, an exporter in a hurry, and the sums.

use std::sync::Arc;
use std::time::{Duration, Instant};

use erlmcp_export::otlp::{
    AttributeValue, DiagnosticLevel, Diagnostics, Exporter, ExporterConfig, ExporterSources,
    ExporterStartError, OtlpEndpoint, OtlpProtocol, PerSignal, RetryConfig, Signal, SignalConfig,
};
use erlmcp_trace::{Producer, Queue, QueueLimits};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;

use crate::receiver::Receiver;

pub(crate) use OtlpProtocol::{Grpc, HttpProtobuf};

pub(crate) const BOTH: [OtlpProtocol; 2] = [HttpProtobuf, Grpc];
/// Ends what hangs; nothing that is well takes so long.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Queues, and what was heard.
pub(crate) struct Bench {
    pub(crate) sources: ExporterSources,
    spans: Producer,
    logs: Producer,
    pub(crate) heard: Arc<Heard>,
}

#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<(DiagnosticLevel, String)>>);

impl Diagnostics for Heard {
    fn report(&self, level: DiagnosticLevel, message: String) {
        self.0.lock().push((level, message));
    }
}

impl Heard {
    pub(crate) fn levels(&self) -> Vec<DiagnosticLevel> {
        self.0.lock().iter().map(|(level, _)| *level).collect()
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("\n")
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_capacity(10_000)
    }

    pub(crate) fn with_capacity(records: u32) -> Self {
        let queue = || Queue::new(QueueLimits { records, bytes: 64 << 20, wake_at: 256 });
        let heard = Arc::new(Heard::default());
        let sources = ExporterSources {
            spans: queue(),
            logs: queue(),
            metrics: None,
            taps: Vec::new(),
            diagnostics: Some(Arc::clone(&heard) as Arc<dyn Diagnostics>),
        };
        let (spans, logs) = (sources.spans.producer(), sources.logs.producer());
        Self { sources, spans, logs, heard }
    }

    /// Ends a span. Says whether there was room.
    pub(crate) fn span(&self, name: &str) -> bool {
        let span = Span { name: name.to_owned(), ..Span::default() };
        self.spans.push(&span.encode_to_vec()).is_ok()
    }

    /// Ends spans, and returns their names.
    pub(crate) fn spans(&self, range: std::ops::Range<usize>) -> Vec<String> {
        let names: Vec<String> = range.map(|n| format!("span-{n:06}")).collect();
        for name in &names {
            assert!(self.span(name));
        }
        names
    }

    pub(crate) fn log(&self, name: &str) {
        let record = LogRecord { event_name: name.to_owned(), ..LogRecord::default() };
        self.logs.push(&record.encode_to_vec()).unwrap();
    }

    pub(crate) fn start(&self, config: ExporterConfig) -> Exporter {
        Exporter::start(config, self.sources.clone()).unwrap()
    }

    /// The sums of the contract, once nothing moves.
    #[track_caller]
    pub(crate) fn assert_sums(&self, stats: &PerSignal<erlmcp_export::otlp::SignalStats>) {
        for (signal, queue) in
            [(Signal::Traces, &self.sources.spans), (Signal::Logs, &self.sources.logs)]
        {
            let (stats, queue) = (stats.get(signal), queue.stats());
            let ended = stats.exported + stats.kept + stats.dropped.total();
            assert_eq!(
                queue.accepted + stats.recovered,
                ended + queue.held + stats.spooled,
                "{signal}: {stats:?} {queue:?}"
            );
            assert_eq!(stats.taken + stats.recovered, ended + stats.pending + stats.spooled);
            assert_eq!(stats.in_flight, 0);
        }
    }
}

pub(crate) fn endpoint(
    protocol: OtlpProtocol,
    receiver: &Receiver,
    signal: Signal,
) -> OtlpEndpoint {
    let scheme = if receiver.tls { "https" } else { "http" };
    let base = format!("{scheme}://localhost:{}", receiver.address.port());
    let url = match protocol {
        Grpc => base,
        HttpProtobuf => format!("{base}/v1/{signal}"),
    };
    OtlpEndpoint::new(protocol, url)
}

/// An exporter in a hurry, with every signal to one receiver.
pub(crate) fn config(protocol: OtlpProtocol, receiver: &Receiver) -> ExporterConfig {
    config_with(|signal| endpoint(protocol, receiver, signal))
}

pub(crate) fn config_with(endpoint: impl Fn(Signal) -> OtlpEndpoint) -> ExporterConfig {
    let to = |signal| SignalConfig { endpoint: Some(endpoint(signal)), ..SignalConfig::default() };
    ExporterConfig {
        resource: vec![("service.name".to_owned(), AttributeValue::String("test".to_owned()))],
        traces: to(Signal::Traces),
        metrics: to(Signal::Metrics),
        logs: to(Signal::Logs),
        scheduled_delay: millis(20),
        retry: RetryConfig {
            initial: millis(10),
            max: millis(40),
            multiplier: 2.0,
            max_elapsed: LONG,
        },
        ..ExporterConfig::default()
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(millis(2));
    }
}

/// An empty directory of a test's own.
pub(crate) fn temp_dir(test: &str) -> std::path::PathBuf {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("otlp-{test}"));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// What is wrong with an endpoint.
#[track_caller]
pub(crate) fn start_error(endpoint: OtlpEndpoint) -> ExporterStartError {
    let config = config_with(|_| endpoint.clone());
    Exporter::start(config, Bench::new().sources).unwrap_err()
}
