//! The settings of the exporter.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ExporterStartError;
use super::signal::Signal;

/// What is exported where, and how hard it is tried.
#[derive(Debug, Clone)]
pub struct ExporterConfig {
    /// Attributes of the resource that everything exported belongs to.
    pub resource: Vec<(String, AttributeValue)>,
    /// Name of the instrumentation scope.
    pub scope_name: String,
    /// Its version.
    pub scope_version: String,
    /// Where spans go.
    pub traces: SignalConfig,
    /// Where metrics go.
    pub metrics: SignalConfig,
    /// Where log records go.
    pub logs: SignalConfig,
    /// Longest wait of a queued record until it is sent. Default: 1 s.
    pub scheduled_delay: Duration,
    /// Most records in a request. Default: 512.
    pub max_batch_records: u32,
    /// Largest request in bytes, before compression. Collectors take 4 MiB by
    /// default. Default: 3 MiB.
    pub max_batch_bytes: usize,
    /// Time from one export of metrics to the next. Default: 60 s.
    pub metric_interval: Duration,
    /// Where requests rest that no receiver takes; without, they are dropped
    /// once the time for retrying is over. Default: none.
    pub spool: Option<SpoolConfig>,
    /// When a failed request is sent again.
    pub retry: RetryConfig,
}

impl Default for ExporterConfig {
    fn default() -> Self {
        Self {
            resource: Vec::new(),
            scope_name: "erlmcp_instrumentation".to_owned(),
            scope_version: env!("CARGO_PKG_VERSION").to_owned(),
            traces: SignalConfig::default(),
            metrics: SignalConfig::default(),
            logs: SignalConfig::default(),
            scheduled_delay: Duration::from_secs(1),
            max_batch_records: 512,
            max_batch_bytes: 3 << 20,
            metric_interval: Duration::from_secs(60),
            spool: None,
            retry: RetryConfig::default(),
        }
    }
}

/// The value of an attribute of the resource.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// Text.
    String(String),
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Several texts.
    Strings(Vec<String>),
}

/// Where one signal goes.
#[derive(Debug, Clone, Default)]
pub struct SignalConfig {
    /// The receiver; without one the signal is not sent.
    pub endpoint: Option<OtlpEndpoint>,
    /// In the place of [`field@ExporterConfig::scheduled_delay`].
    pub scheduled_delay: Option<Duration>,
    /// In the place of [`field@ExporterConfig::max_batch_records`].
    pub max_batch_records: Option<u32>,
    /// In the place of [`RetryConfig::max_elapsed`].
    pub max_elapsed: Option<Duration>,
}

/// How the receiver is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// OTLP over gRPC, usually port 4317.
    Grpc,
    /// OTLP over HTTP with protobuf bodies, usually port 4318.
    HttpProtobuf,
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpCompression {
    /// Not at all.
    None,
    /// With gzip.
    Gzip,
}

/// A receiver of OTLP.
#[derive(Clone)]
pub struct OtlpEndpoint {
    /// For [`OtlpProtocol::HttpProtobuf`] the whole URL that is posted to, with
    /// its path: nothing is appended. For [`OtlpProtocol::Grpc`] the scheme may
    /// be left out, then `insecure` decides, and a path is ignored.
    pub url: String,
    /// The protocol.
    pub protocol: OtlpProtocol,
    /// Header fields, or gRPC metadata, of each request. Their values are
    /// secrets: no message shows them.
    pub headers: Vec<(String, String)>,
    /// Longest time of one attempt, connecting included. Default: 10 s.
    pub timeout: Duration,
    /// Compression of requests. Default: none.
    pub compression: OtlpCompression,
    /// Whether a gRPC URL without scheme is spoken to in clear text. A scheme
    /// decides for itself. Default: no.
    pub insecure: bool,
    /// PEM file of the authorities to trust. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate chain that this client shows.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub client_key_file: Option<PathBuf>,
}

impl OtlpEndpoint {
    /// A receiver with the defaults for everything else.
    #[must_use]
    pub fn new(protocol: OtlpProtocol, url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            protocol,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            compression: OtlpCompression::None,
            insecure: false,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
        }
    }
}

impl fmt::Debug for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("OtlpEndpoint")
            .field("url", &self.url)
            .field("protocol", &self.protocol)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

/// When a failed request is sent again: after a random part of a time that
/// grows from one attempt to the next, and not before the receiver wishes.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryConfig {
    /// Longest wait before the second attempt. Default: 1 s.
    pub initial: Duration,
    /// Longest wait before any attempt that the receiver has not asked for.
    /// Default: 5 s, so that a receiver that is back has the spans soon.
    pub max: Duration,
    /// How much longer the wait may be from one attempt to the next. Default: 2.
    pub multiplier: f64,
    /// How long after its first attempt a request is given up. Default: 5 min.
    pub max_elapsed: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(5),
            multiplier: 2.0,
            max_elapsed: Duration::from_secs(300),
        }
    }
}

/// Where requests rest that no receiver takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// A directory of its own: two nodes may not share it. It is made if it is
    /// not there.
    pub dir: PathBuf,
    /// Most bytes of all files together.
    pub max_bytes: u64,
}

impl ExporterConfig {
    /// What is set for a signal.
    pub(crate) const fn signal(&self, signal: Signal) -> &SignalConfig {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        }
    }

    /// Where a signal goes.
    pub(crate) const fn endpoint(&self, signal: Signal) -> Option<&OtlpEndpoint> {
        self.signal(signal).endpoint.as_ref()
    }

    /// When a failed request of a signal is sent again.
    pub(crate) fn retry(&self, signal: Signal) -> RetryConfig {
        let max_elapsed = self.signal(signal).max_elapsed.unwrap_or(self.retry.max_elapsed);
        RetryConfig { max_elapsed, ..self.retry.clone() }
    }

    /// The longest wait of a signal's queued record.
    pub(crate) fn scheduled_delay(&self, signal: Signal) -> Duration {
        self.signal(signal).scheduled_delay.unwrap_or(self.scheduled_delay)
    }

    /// The most records in a request of a signal.
    pub(crate) fn max_batch_records(&self, signal: Signal) -> u32 {
        self.signal(signal).max_batch_records.unwrap_or(self.max_batch_records)
    }

    /// Refuses settings with which nothing could ever be exported.
    pub(crate) fn check(&self) -> Result<(), ExporterStartError> {
        let endpoints = Signal::ALL.map(|signal| self.endpoint(signal));
        let no_time = endpoints.iter().flatten().any(|endpoint| endpoint.timeout.is_zero());
        let at_least_one = [
            (
                "scheduled_delay",
                Signal::ALL.iter().any(|signal| self.scheduled_delay(*signal).is_zero()),
            ),
            ("metric_interval", self.metric_interval.is_zero()),
            (
                "max_batch_records",
                Signal::ALL.iter().any(|signal| self.max_batch_records(*signal) == 0),
            ),
            ("max_batch_bytes", self.max_batch_bytes == 0),
            ("retry.initial", self.retry.initial.is_zero()),
            ("retry.max", self.retry.max.is_zero()),
            ("timeout", no_time),
            ("spool.max_bytes", self.spool.as_ref().is_some_and(|spool| spool.max_bytes == 0)),
        ];
        if let Some((setting, _)) = at_least_one.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(ExporterStartError::Zero { setting });
        }
        if !(self.retry.multiplier >= 1.0 && self.retry.multiplier.is_finite()) {
            return Err(ExporterStartError::Multiplier { multiplier: self.retry.multiplier });
        }
        Ok(())
    }
}
