//! Span contexts, sampling, span encoding, and the bounded queue of ended spans.
//!
//! This crate knows no Erlang, does no I/O and starts no thread.
#![forbid(unsafe_code)]

mod id;
mod queue;

pub use id::{IdGenerator, SpanId, TraceId};
pub use queue::{Producer, Queue, QueueFull, QueueLimits, QueueStats, RECORD_TAG, Records};
