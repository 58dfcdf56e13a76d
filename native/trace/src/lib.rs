//! Span contexts, sampling, span encoding, and the bounded queue of ended spans.
//!
//! This crate knows no Erlang, does no I/O and starts no thread.
#![forbid(unsafe_code)]

mod context;
mod id;
pub mod propagation;
mod queue;
mod sampler;
mod trace_state;

pub use context::{FLAG_RECORDING, FLAG_REMOTE, FLAG_SAMPLED, SpanContext};
pub use id::{IdGenerator, SpanId, TraceId};
pub use queue::{Producer, Queue, QueueFull, QueueLimits, QueueStats, RECORD_TAG, Records};
pub use sampler::{ParentBased, RateLimited, Sampler, SamplerError, TraceIdRatio};
pub use trace_state::{MAX_TRACE_STATE_LENGTH, MAX_TRACE_STATE_MEMBERS, TraceState};
