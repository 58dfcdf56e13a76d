//! The tail rule: what the sampler left out is kept after all, if it failed or
//! took long.
//!
//! The spans of one trace in this node wait with the first of them, its local
//! root. When that ends, all of them are queued or none. A span that ends
//! after its local root is judged by itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Which spans that are not sampled are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailRule {
    /// Keep traces in which a span failed.
    pub errors: bool,
    /// Keep traces in which a span took this long or longer, in nanoseconds.
    pub slow_ns: Option<u64>,
    /// Most bytes of ended spans that wait for their local roots, together.
    pub max_bytes: u64,
}

impl TailRule {
    /// Whether a span is a reason to keep its trace.
    pub(crate) fn keeps(&self, failed: bool, duration_ns: u64) -> bool {
        self.errors && failed || self.slow_ns.is_some_and(|slow| duration_ns >= slow)
    }
}

/// The ended spans that wait with a local root.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    pub(crate) keep: bool,
}

impl Tail {
    /// Adds an ended span, if there is room within the budget.
    pub(crate) fn push(&mut self, span: &[u8], rule: &TailRule, used: &AtomicU64) -> bool {
        let more = span.len() as u64;
        let Ok(end) = u32::try_from(self.bytes.len() + span.len()) else { return false };
        if used.fetch_add(more, Ordering::Relaxed) + more > rule.max_bytes {
            used.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes.extend_from_slice(span);
        self.ends.push(end);
        true
    }

    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Calls `each` with those that wait, in the order in which they ended,
    /// and gives back their room.
    pub(crate) fn release(&mut self, used: &AtomicU64, mut each: impl FnMut(&[u8])) {
        let mut start = 0;
        for end in self.ends.drain(..) {
            each(&self.bytes[start..end as usize]);
            start = end as usize;
        }
        used.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
        self.bytes = Vec::new();
    }
}
