//! The recently ended spans, within bounds.
//!
//! All room is open to the newest spans. Those that have to leave because newer
//! ones come are not all lost: up to a quarter of the room goes to traces with
//! an error, the newest of them, and up to a quarter to the slowest. So what an
//! operator looks for is still there when the node is busy.

use std::collections::{HashMap, VecDeque};
use std::ops::{Add, Div, Sub};
use std::sync::Arc;
use std::time::{Duration, Instant};

use erlmcp_trace::{Records, TraceId};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::traces::kept::Kept;
use crate::traces::origin::Origin;
use crate::traces::wire::{Bodies, Glance};

/// How much a [`TraceRing`] may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceRingLimits {
    /// Most spans. Default: 10 000.
    pub spans: usize,
    /// Most bytes of encoded spans, with what it costs to keep them. Default: 8 MiB.
    pub bytes: usize,
}

impl Default for TraceRingLimits {
    fn default() -> Self {
        Self { spans: 10_000, bytes: 8 << 20 }
    }
}

/// What a ring holds, and what has gone through it. At any time `added` is
/// `spans` and `displaced` together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceRingStats {
    /// Spans held.
    pub spans: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Spans that came.
    pub added: u64,
    /// Spans that left to make room.
    pub displaced: u64,
    /// Records that came and are no spans.
    pub unreadable: u64,
}

/// Keeps recently ended spans as they were encoded. See the module for which.
#[derive(Debug)]
pub struct TraceRing {
    held: Mutex<Held>,
    limit: Room,
}

/// A span in the ring.
#[derive(Debug, Clone)]
pub(crate) struct StoredSpan {
    pub(crate) trace_id: TraceId,
    pub(crate) origin: Arc<Origin>,
    pub(crate) body: Arc<[u8]>,
}

#[derive(Debug)]
struct Held {
    recent: VecDeque<StoredSpan>,
    recent_room: Room,
    /// What is known of the traces that have spans in `recent`.
    traces: HashMap<TraceId, Known, RandomState>,
    errors: Kept,
    slowest: Kept,
    origin: Option<Arc<Origin>>,
    stats: TraceRingStats,
}

#[derive(Debug, Default)]
struct Known {
    /// Spans in the recent part.
    spans: usize,
    error: bool,
    /// Of its longest span, in nanoseconds.
    longest: u64,
}

/// A number of spans and of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    spans: usize,
    bytes: usize,
}

/// The part of the whole room that either kind of kept traces may fill.
const KEPT_SHARE: usize = 4;

/// A slow trace is kept for this long: beyond, the worst minute in the life of
/// a node would hide what is slow today.
const SLOW_KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// What a span costs beside its bytes: its place, the counts of the shared
/// bytes, and its part of what is known of the trace.
const OVERHEAD_BYTES: usize = size_of::<StoredSpan>() + 2 * size_of::<usize>() + 48;

impl StoredSpan {
    pub(crate) fn room(&self) -> Room {
        Room { spans: 1, bytes: self.body.len() + OVERHEAD_BYTES }
    }
}

impl Room {
    pub(crate) fn fits(self, limit: Self) -> bool {
        self.spans <= limit.spans && self.bytes <= limit.bytes
    }
}

impl Add for Room {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { spans: self.spans + other.spans, bytes: self.bytes + other.bytes }
    }
}

impl Sub for Room {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            spans: self.spans.saturating_sub(other.spans),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl Div<usize> for Room {
    type Output = Self;

    fn div(self, parts: usize) -> Self {
        Self { spans: self.spans / parts, bytes: self.bytes / parts }
    }
}

impl TraceRing {
    /// An empty ring.
    #[must_use]
    pub fn new(limits: TraceRingLimits) -> Self {
        let limit = Room { spans: limits.spans, bytes: limits.bytes };
        let held = Held {
            recent: VecDeque::new(),
            recent_room: Room::default(),
            traces: HashMap::default(),
            errors: Kept::new(limit / KEPT_SHARE, None),
            slowest: Kept::new(limit / KEPT_SHARE, Some(SLOW_KEPT_FOR)),
            origin: None,
            stats: TraceRingStats::default(),
        };
        Self { held: Mutex::new(held), limit }
    }

    /// Takes a copy of a buffer of encoded spans. `resource` and `scope` frame
    /// them, as [`Origin::new`] has them. It copies and looks at a few
    /// fields, and decodes nothing.
    pub fn add(&self, resource: &[u8], scope: &[u8], records: &Records) {
        let now = Instant::now();
        let mut held = self.held.lock();
        let origin = held.origin(resource, scope);
        let mut readable = 0;
        for body in Bodies::of(&records.bytes) {
            if let Some((body, glance)) = body.ok().and_then(|b| Some((b, Glance::of(b)?))) {
                readable += 1;
                let body = Arc::from(body);
                let span =
                    StoredSpan { trace_id: glance.trace_id, origin: Arc::clone(&origin), body };
                held.take(span, &glance, self.limit, now);
            }
        }
        held.stats.added += readable;
        held.stats.unreadable += u64::from(records.count).saturating_sub(readable);
    }

    /// What it holds, and what has gone through it.
    #[must_use]
    pub fn stats(&self) -> TraceRingStats {
        let held = self.held.lock();
        let room = held.room();
        TraceRingStats { spans: room.spans as u64, bytes: room.bytes as u64, ..held.stats }
    }

    /// All spans, in no particular order of traces. They share their bytes with
    /// the ring.
    pub(crate) fn spans(&self) -> Vec<StoredSpan> {
        let held = self.held.lock();
        let kept = held.errors.spans().chain(held.slowest.spans());
        kept.chain(&held.recent).cloned().collect()
    }

    /// The spans of one trace, in the order in which they ended.
    pub(crate) fn spans_of(&self, trace_id: TraceId) -> Vec<StoredSpan> {
        let held = self.held.lock();
        let kept = [&held.slowest, &held.errors].map(|kept| kept.spans_of(trace_id));
        let recent = held.recent.iter().filter(|span| span.trace_id == trace_id);
        kept.into_iter().flatten().chain(recent).cloned().collect()
    }
}

impl Held {
    fn room(&self) -> Room {
        self.recent_room + self.errors.held() + self.slowest.held()
    }

    /// All buffers of a node have one origin: the last one seen is shared.
    fn origin(&mut self, resource: &[u8], scope: &[u8]) -> Arc<Origin> {
        match &self.origin {
            Some(origin) if origin.is_of(resource, scope) => Arc::clone(origin),
            _ => {
                let origin = Arc::new(Origin::new(resource, scope));
                self.origin = Some(Arc::clone(&origin));
                origin
            }
        }
    }

    fn take(&mut self, span: StoredSpan, glance: &Glance<'_>, limit: Room, now: Instant) {
        let room = span.room();
        if !room.fits(limit) {
            self.stats.displaced += 1;
            return;
        }
        let known = self.traces.entry(span.trace_id).or_default();
        known.spans += 1;
        known.error |= glance.error;
        known.longest = known.longest.max(glance.duration());
        self.recent_room = self.recent_room + room;
        self.recent.push_back(span);
        while !self.room().fits(limit)
            && let Some(oldest) = self.recent.pop_front()
        {
            self.retire(oldest, now);
        }
    }

    /// Moves a span out of the recent part: to those that are kept if its trace
    /// is worth it.
    fn retire(&mut self, span: StoredSpan, now: Instant) {
        self.recent_room = self.recent_room - span.room();
        let id = span.trace_id;
        let (mut error, mut longest) = (false, 0);
        if let Some(known) = self.traces.get_mut(&id) {
            (error, longest) = (known.error, known.longest);
            known.spans -= 1;
            if known.spans == 0 {
                self.traces.remove(&id);
            }
        }
        let error = error || !self.errors.spans_of(id).is_empty();
        self.stats.displaced += match error {
            // Ranked by age: the number of spans so far only grows.
            true => self.errors.admit(id, self.stats.added, span, now),
            false => self.slowest.admit(id, longest, span, now),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::sample::{failed, records, span};
    use std::collections::HashSet;

    fn ring(spans: usize, bytes: usize) -> TraceRing {
        TraceRing::new(TraceRingLimits { spans, bytes })
    }

    fn traces(ring: &TraceRing) -> HashSet<u8> {
        ring.spans().iter().map(|span| span.trace_id.to_bytes()[15]).collect()
    }

    fn sums_agree(ring: &TraceRing) {
        let stats = ring.stats();
        assert_eq!(stats.added, stats.spans + stats.displaced, "{stats:?}");
        assert_eq!(stats.spans as usize, ring.spans().len());
    }

    #[test]
    fn the_newest_stay() {
        let ring = ring(40, 1 << 20);
        for n in 1..=100 {
            ring.add(b"", b"", &records(&[span(n, 1, None, "s", u64::from(n), 1)]));
            sums_agree(&ring);
        }
        assert_eq!(ring.stats().spans, 40);
        assert_eq!(ring.stats().displaced, 60);
        assert!((80..=100).all(|n| traces(&ring).contains(&n)));
    }

    #[test]
    fn errors_and_the_slowest_outlive_the_newest() {
        let ring = ring(40, 1 << 20);
        let child = span(7, 1, Some(2), "child", 0, 1);
        ring.add(b"", b"", &records(&[child, failed(span(7, 2, None, "root", 0, 2))]));
        ring.add(b"", b"", &records(&[span(8, 1, None, "slow", 0, 9_000)]));
        for n in 0..2_000_u32 {
            let id = 100 + (n % 100) as u8;
            ring.add(b"", b"", &records(&[span(id, 1, None, "s", u64::from(n), 1)]));
        }
        sums_agree(&ring);
        assert!(traces(&ring).contains(&7) && traces(&ring).contains(&8));
        let id = span(7, 1, None, "", 0, 0).trace_id;
        let id = TraceId::from_bytes(id.try_into().unwrap()).unwrap();
        assert_eq!(ring.spans_of(id).len(), 2, "with its spans that did not fail");
    }

    #[test]
    fn the_newest_errors_are_kept_of_too_many() {
        let ring = ring(40, 1 << 20);
        for n in 1..=200 {
            ring.add(b"", b"", &records(&[failed(span(n, 1, None, "s", u64::from(n), 1))]));
            sums_agree(&ring);
        }
        assert!((161..=200).all(|n| traces(&ring).contains(&n)), "{:?}", traces(&ring));
    }

    #[test]
    fn one_trace_without_end_leaves_room_for_others() {
        let ring = ring(400, 1 << 20);
        ring.add(b"", b"", &records(&[failed(span(1, 1, None, "short", 0, 1))]));
        for n in 0..2_000 {
            ring.add(b"", b"", &records(&[failed(span(2, n, Some(1), "long", n, 1))]));
        }
        sums_agree(&ring);
        assert!(traces(&ring).contains(&1));
    }

    #[test]
    fn bytes_are_bounded() {
        let limit = 64 << 10;
        let ring = ring(100_000, limit);
        let long = "n".repeat(1_000);
        for n in 0..500 {
            ring.add(b"", b"", &records(&[span((n % 250) as u8, n, None, &long, n, n % 17)]));
            assert!(ring.stats().bytes as usize <= limit);
            sums_agree(&ring);
        }
        assert!(ring.stats().spans > 40);
        let huge = "n".repeat(limit);
        ring.add(b"", b"", &records(&[span(1, 1, None, &huge, 0, 1)]));
        assert!(ring.stats().spans > 40, "one that never fits displaces only itself");
        sums_agree(&ring);
    }

    #[test]
    fn what_is_no_span_is_counted() {
        let ring = ring(10, 1 << 20);
        ring.add(b"", b"", &Records { count: 3, bytes: vec![0x12, 2, 1, 1, 0xFF] });
        assert_eq!((ring.stats().unreadable, ring.stats().added), (3, 0));
    }
}
