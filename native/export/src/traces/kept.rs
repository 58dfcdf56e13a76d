//! The part of the ring for traces that are worth more than the newest ones.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use erlmcp_trace::TraceId;
use foldhash::fast::RandomState;

use crate::traces::ring::{Room, StoredSpan};

/// Traces, of which the one with the lowest rank makes room for others.
#[derive(Debug)]
pub(crate) struct Kept {
    traces: HashMap<TraceId, KeptTrace, RandomState>,
    by_rank: BTreeSet<(u64, TraceId)>,
    held: Room,
    limit: Room,
    /// A trace leaves after this time, however high its rank.
    keep_for: Option<Duration>,
    next_sweep: Instant,
}

#[derive(Debug)]
struct KeptTrace {
    rank: u64,
    since: Instant,
    spans: Vec<StoredSpan>,
    held: Room,
}

/// One trace may fill this part of the room.
const SHARE_OF_A_TRACE: usize = 4;

/// How often it is looked for traces that have been kept for long enough.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

impl Kept {
    pub(crate) fn new(limit: Room, keep_for: Option<Duration>) -> Self {
        Self {
            traces: HashMap::default(),
            by_rank: BTreeSet::new(),
            held: Room::default(),
            limit,
            keep_for,
            next_sweep: Instant::now() + SWEEP_EVERY,
        }
    }

    /// Takes a span of a trace that now has this rank, and says how many spans
    /// were displaced, the new one perhaps among them.
    pub(crate) fn admit(&mut self, id: TraceId, rank: u64, span: StoredSpan, now: Instant) -> u64 {
        let mut displaced = self.sweep(now);
        let needed = span.room();
        let is_new = !self.traces.contains_key(&id);
        let too_low = || self.by_rank.first().is_some_and(|lowest| (rank, id) < *lowest);
        if is_new && !(self.held + needed).fits(self.limit) && too_low() {
            return displaced + 1;
        }
        let trace = self.traces.entry(id).or_insert_with(|| KeptTrace {
            rank,
            since: now,
            spans: Vec::new(),
            held: Room::default(),
        });
        if !(trace.held + needed).fits(self.limit / SHARE_OF_A_TRACE) {
            if trace.spans.is_empty() {
                self.traces.remove(&id);
            }
            return displaced + 1;
        }
        self.by_rank.remove(&(trace.rank, id));
        trace.rank = trace.rank.max(rank);
        self.by_rank.insert((trace.rank, id));
        trace.held = trace.held + needed;
        trace.spans.push(span);
        self.held = self.held + needed;
        while !self.held.fits(self.limit)
            && let Some((_, lowest)) = self.by_rank.first().copied()
        {
            displaced += self.remove(lowest);
        }
        displaced
    }

    fn sweep(&mut self, now: Instant) -> u64 {
        let Some(keep_for) = self.keep_for else {
            return 0;
        };
        if now < self.next_sweep {
            return 0;
        }
        self.next_sweep = now + SWEEP_EVERY;
        let old = |trace: &KeptTrace| now.saturating_duration_since(trace.since) >= keep_for;
        let old: Vec<TraceId> =
            self.traces.iter().filter(|(_, trace)| old(trace)).map(|(id, _)| *id).collect();
        old.into_iter().map(|id| self.remove(id)).sum()
    }

    fn remove(&mut self, id: TraceId) -> u64 {
        let Some(trace) = self.traces.remove(&id) else {
            return 0;
        };
        self.by_rank.remove(&(trace.rank, id));
        self.held = self.held - trace.held;
        trace.spans.len() as u64
    }

    pub(crate) fn held(&self) -> Room {
        self.held
    }

    pub(crate) fn spans(&self) -> impl Iterator<Item = &StoredSpan> {
        self.traces.values().flat_map(|trace| &trace.spans)
    }

    pub(crate) fn spans_of(&self, id: TraceId) -> &[StoredSpan] {
        self.traces.get(&id).map_or(&[], |trace| &trace.spans)
    }
}
