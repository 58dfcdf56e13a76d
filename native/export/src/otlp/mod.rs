//! The OTLP exporter: takes encoded records, sends them in batches, and accounts
//! for each.
//!
//! A record enters as bytes ([`Records`](erlmcp_trace::Records)) and leaves
//! unchanged; see [`ScopeBytes`] for how a request is framed. Per signal there
//! is a pipeline (`pipeline.rs`), which cuts batches (`batch.rs`) and has them
//! delivered (`delivery.rs`) over HTTP (`http.rs`) or gRPC (`grpc.rs`), with
//! retries (`retry.rs`) and an optional stay on disk (`spool.rs`). Whoever holds
//! records has custody of them (`custody.rs`), so that none is lost from the
//! counts.

mod answer;
mod batch;
mod config;
mod connect;
mod custody;
mod delivery;
mod diagnostics;
mod error;
mod exporter;
mod families;
mod frame;
mod grpc;
mod http;
mod pipeline;
mod requests;
mod retry;
mod signal;
mod source;
mod spool;
mod stats;
mod status;
mod tls;

pub use config::{
    AttributeValue, ExporterConfig, OtlpCompression, OtlpEndpoint, OtlpProtocol, RetryConfig,
    SignalConfig, SpoolConfig,
};
pub use diagnostics::{DiagnosticLevel, Diagnostics};
pub use error::ExporterStartError;
pub use exporter::{Exporter, ExporterStopped, Flushed};
pub use families::{families, span_families};
pub use frame::ScopeBytes;
pub use signal::{PerSignal, Signal};
pub use source::{ExporterSources, MetricRecords, Tap};
pub use stats::{DropReason, Dropped, ExporterStats, RequestOutcome, Requests, SignalStats};
