//! Everything of the instrumentation library that does I/O.
//!
//! That is the HTTP server for scrapes, health probes and recent traces, with
//! TLS and authentication, the OTLP exporter ([`otlp`]), and the files that
//! telemetry can be written to. None of them knows Erlang: what the server needs of the Erlang VM it asks for
//! through [`VmSource`] and [`HealthSource`], waits a bounded time, and goes on
//! without.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use erlmcp_export::{HealthReply, HealthReport, HealthSource, Probe};
//! use erlmcp_export::{RegistrySource, Server, ServerConfig, Sources};
//! use erlmcp_metrics::{Options, Registry};
//!
//! struct Always;
//!
//! impl HealthSource for Always {
//!     fn request(&self, _probe: Probe, reply: HealthReply) -> bool {
//!         reply.send(HealthReport {
//!             node: "demo@localhost".to_owned(),
//!             uptime: Duration::ZERO,
//!             checks: Vec::new(),
//!         });
//!         true
//!     }
//! }
//!
//! let metrics = RegistrySource::new(Registry::new(Options::default()))?;
//! let metrics = Arc::new(metrics);
//! let sources = Sources { metrics, vm: None, health: Arc::new(Always), traces: None };
//! let server = Server::start(ServerConfig::default(), sources)?;
//! server.stop(Duration::from_secs(5));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod accept;
mod answer;
mod app;
mod body;
mod config;
mod connection;
mod diagnostics;
mod door;
mod error;
mod family;
mod file_exporter;
mod flight;
mod gzip;
mod handshake;
mod health;
mod inquiry;
mod json;
mod lifecycle;
mod listen;
mod negotiate;
pub mod otlp;
mod otlp_json;
mod otlp_metrics;
mod phase;
mod process;
mod rfc3339;
mod route;
mod scrape;
mod server;
mod source;
mod stats;
mod timed_stream;
mod traces;
mod turn;
mod visitor;
mod vm;

pub use config::ServerConfig;
pub use diagnostics::{DiagnosticLevel, Diagnostics};
pub use door::{
    Access, AccessRule, DoorConfig, DoorError, Method, PasswordError, RuleError, TlsFiles,
    TokenError, Who, password_entry, token_entry,
};
pub use error::StartError;
pub use file_exporter::{
    FileExportError, FileExporter, FileExporterConfig, FileExporterStats, OnFileError, RequestKind,
};
pub use health::{Check, HealthReply, HealthReport, HealthSource, Probe};
pub use inquiry::Reply;
pub use otlp_metrics::{
    FamilySource, RegistryRecords, Temporality, TemporalityState, encode_metrics,
};
pub use process::ProcessFigures;
pub use server::{Server, Sources, Stopped};
pub use source::{MetricSource, RegistrySource, SourceError};
pub use traces::{
    Audience, DecodedSpans, EventView, LinkView, Origin, SpanKind, SpanView, StatusView, TraceRing,
    TraceRingLimits, TraceRingStats, TraceSource, Traces, ValueView, decode_spans,
};
pub use vm::{VmReply, VmSource};
