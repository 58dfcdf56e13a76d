//! Span contexts, sampling, span encoding, and the bounded queue of ended spans.
//!
//! This crate knows no Erlang, does no I/O and starts no thread. A [`Tracer`]
//! is shared; each recording thread has a [`LocalTracer`]. A span is encoded as
//! it is filled, straight into the bytes of an OTLP `Span`, and its end puts
//! them on a [`Queue`] from which whoever exports takes them.
//!
//! ```
//! use erlmcp_trace::{SpanKind, Start, Tracer};
//!
//! let tracer = Tracer::default();
//! let mut local = tracer.local();
//! let start = Start { name: "ping", kind: SpanKind::Server, owner: 1, ..Start::default() };
//! let span = local.start(&start, |span| span.set_attribute("tries", |value| value.int(1)));
//! let span = span.expect("tracing is not disabled");
//! assert!(local.end(span.id, None, |_| ()));
//! assert_eq!(tracer.queue().drain()[0].count, 1);
//! ```
#![forbid(unsafe_code)]

mod attribute;
mod clock;
mod context;
mod count;
mod id;
mod limits;
mod log;
mod open;
mod owner;
pub mod propagation;
mod queue;
mod redaction;
mod sampler;
mod span;
mod tail;
mod trace_state;
mod tracer;
mod wire;

pub use attribute::{ArrayWriter, MapWriter, ValueWriter};
pub use context::{FLAG_RECORDING, FLAG_REMOTE, FLAG_SAMPLED, SpanContext};
pub use count::SpanStats;
pub use id::{IdGenerator, SpanId, TraceId};
pub use limits::SpanLimits;
pub use log::{LogHead, LogRecord};
pub use open::OpenId;
pub use queue::{Producer, Queue, QueueFull, QueueLimits, QueueStats, RECORD_TAG, Records};
pub use redaction::{DEFAULT_SECRET_NAMES, MAX_SECRET_NAME, REDACTED, SecretKeys};
pub use sampler::{ParentBased, RateLimited, Sampler, SamplerError, TraceIdRatio};
pub use span::{AttributesWriter, Link, OpenSpan, SpanKind, StatusCode};
pub use tail::TailRule;
pub use trace_state::{MAX_TRACE_STATE_LENGTH, MAX_TRACE_STATE_MEMBERS, TraceState};
pub use tracer::{LocalTracer, MAX_OPEN_SPANS, Parent, Start, Started, Tracer, TracerConfig};
