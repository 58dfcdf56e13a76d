//! Starting and ending spans.
//!
//! A [`Tracer`] is shared; each thread that traces has a [`LocalTracer`] of its
//! own. Between start and end a span is in a slot, from any thread, under the
//! slot's own lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::RwLock;

use crate::clock::Clock;
use crate::count::{Counts, SpanStats};
use crate::id::{IdGenerator, SpanId, TraceId};
use crate::limits::SpanLimits;
use crate::open::{FreeSlots, OpenId, Slots};
use crate::owner::{Owner, Owners};
use crate::queue::{Producer, Queue, QueueLimits};
use crate::redaction::SecretKeys;
use crate::sampler::Sampler;
use crate::span::{Head, OpenSpan, SpanKind, StatusCode};
use crate::tail::{Tail, TailRule};

/// What can be changed while spans are recorded.
#[derive(Debug, Default)]
pub struct TracerConfig {
    /// Which traces are recorded.
    pub sampler: Sampler,
    /// What is kept besides.
    pub tail: Option<TailRule>,
    /// What a span may hold.
    pub limits: SpanLimits,
    /// What a log record may hold; of these limits those of attributes, values
    /// and bytes count.
    pub log_limits: SpanLimits,
    /// Whether nothing is recorded and no id is made.
    pub disabled: bool,
}

/// Most spans that are open at once, by default.
pub const MAX_OPEN_SPANS: u32 = 100_000;

/// Records spans. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracer(Arc<Shared>);

struct Shared {
    config: RwLock<Arc<TracerConfig>>,
    /// Changes with the configuration.
    version: AtomicU64,
    slots: Slots,
    owners: Owners,
    queue: Arc<Queue>,
    counts: RwLock<Vec<Arc<Counts>>>,
    tail_bytes: AtomicU64,
    origin: Instant,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The span that a new one continues.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// Whether it is sampled.
    pub sampled: bool,
    /// Whether its context came from elsewhere.
    pub remote: bool,
    /// Its handle in this node, or 0.
    pub handle: u64,
    /// Its `tracestate`.
    pub trace_state: &'a str,
}

/// What a span starts with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start<'a> {
    /// The span that it continues; without, it begins a trace.
    pub parent: Option<Parent<'a>>,
    /// Its name.
    pub name: &'a str,
    /// Its kind.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since 1970, if not now.
    pub start_ns: Option<u64>,
    /// The process that it belongs to.
    pub owner: u64,
    /// Recorded whatever the sampler says, so that its end is known even if
    /// its process is killed; exported only if it is sampled. The text is for
    /// whoever ends it then: [`OpenSpan::note`].
    pub note: Option<&'a str>,
}

/// A span that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id, and its handle if it is recorded.
    pub id: OpenId,
    /// Whether it is sampled: what its children and other services are told.
    pub sampled: bool,
    /// Whether its owner has not been seen before: its end has to be watched.
    pub owner_is_new: bool,
}

impl Default for Tracer {
    fn default() -> Self {
        Self::new(TracerConfig::default(), QueueLimits::default(), MAX_OPEN_SPANS)
    }
}

impl Tracer {
    /// A tracer with an empty queue.
    #[must_use]
    pub fn new(config: TracerConfig, queue: QueueLimits, max_open_spans: u32) -> Self {
        Self(Arc::new(Shared {
            config: RwLock::new(Arc::new(config)),
            version: AtomicU64::new(1),
            slots: Slots::new(max_open_spans),
            owners: Owners::default(),
            queue: Queue::new(queue),
            counts: RwLock::default(),
            tail_bytes: AtomicU64::new(0),
            origin: Instant::now(),
        }))
    }

    /// Changes the configuration. Spans that are open keep their limits.
    pub fn configure(&self, config: TracerConfig, queue: QueueLimits, max_open_spans: u32) {
        self.0.slots.set_limit(max_open_spans);
        self.0.queue.set_limits(queue);
        *self.0.config.write() = Arc::new(config);
        // Release: a thread that sees the version sees the configuration; it
        // takes the lock for it anyway.
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// Where ended spans go.
    #[must_use]
    pub fn queue(&self) -> &Arc<Queue> {
        &self.0.queue
    }

    /// A thread's part.
    #[must_use]
    pub fn local(&self) -> LocalTracer {
        let counts = Arc::new(Counts::default());
        self.0.counts.write().push(Arc::clone(&counts));
        LocalTracer {
            version: self.0.version.load(Ordering::Acquire),
            config: Arc::clone(&self.0.config.read()),
            ids: IdGenerator::default(),
            clock: Clock::new(self.0.origin),
            free: FreeSlots::default(),
            producer: self.0.queue.producer(),
            counts,
            owner: None,
            scratch: Vec::new(),
            shared: Arc::clone(&self.0),
        }
    }

    /// Counts since the start.
    #[must_use]
    pub fn stats(&self) -> SpanStats {
        let mut stats = SpanStats::default();
        self.0.counts.read().iter().for_each(|counts| counts.add_to(&mut stats));
        stats.open = stats.recorded.saturating_sub(stats.ended);
        stats.owners = self.0.owners.count() as u64;
        stats
    }

    /// Processes that have a span open for `age_ns` or longer and whose end
    /// nobody waits for, at most `limit`: whoever asks waits for it from now
    /// on, and tells [`LocalTracer::owner_is_down`] the reason.
    #[must_use]
    pub fn watch_owners(&self, age_ns: u64, limit: usize) -> Vec<u64> {
        let now = Clock::new(self.0.origin).now().0;
        self.0.owners.watch(now.saturating_sub(age_ns), limit)
    }

    /// Whoever waited for ends of processes does so no more.
    pub fn unwatch_owners(&self) {
        self.0.owners.unwatch_all();
    }

    /// Whether somebody waits for the reason of a process' end.
    #[must_use]
    pub fn is_watched(&self, owner: u64) -> bool {
        self.0.owners.find(owner).is_some_and(|owner| owner.is_watched())
    }
}

/// Starts and ends spans on one thread.
#[derive(Debug)]
pub struct LocalTracer {
    shared: Arc<Shared>,
    version: u64,
    config: Arc<TracerConfig>,
    ids: IdGenerator,
    clock: Clock,
    free: FreeSlots,
    producer: Producer,
    counts: Arc<Counts>,
    /// The owner of the span that was started last.
    owner: Option<Arc<Owner>>,
    scratch: Vec<u8>,
}

impl LocalTracer {
    /// Starts a span, and has `fill` write its attributes and links if it is
    /// recorded. `None` if tracing is disabled: the parent goes on.
    #[inline]
    pub fn start(
        &mut self,
        start: &Start<'_>,
        fill: impl FnOnce(&mut OpenSpan),
    ) -> Option<Started> {
        if self.config().disabled {
            return None;
        }
        let (now_ns, clock_offset_ns) = self.clock.now();
        let parent = start.parent;
        let trace_id = parent.map_or_else(|| self.ids.trace_id(), |parent| parent.trace_id);
        let span_id = self.ids.span_id();
        let sampled = self.config.sampler.should_sample(
            parent.map(|parent| (parent.sampled, parent.remote)),
            &trace_id,
            now_ns - clock_offset_ns,
        );
        let mut started =
            Started { trace_id, id: OpenId { handle: 0, span_id }, sampled, owner_is_new: false };
        if !sampled && self.config.tail.is_none() && start.note.is_none() {
            self.counts.sampled_out(1);
            return Some(started);
        }
        let Some((handle, mut slot)) = self.shared.slots.take(&mut self.free) else {
            self.counts.too_many_open();
            return Some(started);
        };
        started.id.handle = handle;
        self.counts.recorded();
        let owner = self.owner.take().filter(|owner| owner.id == start.owner);
        let owner = match owner.filter(|owner| owner.add(started.id, now_ns)) {
            Some(owner) => owner,
            None => {
                let (owner, is_new) = self.shared.owners.add(start.owner, started.id, now_ns);
                started.owner_is_new = is_new;
                owner
            }
        };
        let head = Head {
            trace_id,
            span_id,
            sampled,
            parent: parent.map(|parent| (parent.span_id, parent.remote)),
            trace_state: parent.map_or("", |parent| parent.trace_state),
            name: start.name,
            kind: start.kind,
            start_ns: start.start_ns.unwrap_or(now_ns),
        };
        let slot_ref = &mut *slot;
        slot_ref.span_id = Some(span_id);
        slot_ref.sampled = sampled;
        slot_ref.clock_offset_ns = clock_offset_ns;
        slot_ref.span.begin(&head, self.config.limits, start.note);
        fill(&mut slot_ref.span);
        slot_ref.owner = Some(Arc::clone(&owner));
        self.owner = Some(owner);
        drop(slot);
        if !sampled && self.config.tail.is_some() {
            self.join_tail(started.id, parent);
        }
        Some(started)
    }

    /// What a log record may hold.
    #[must_use]
    pub fn log_limits(&mut self) -> SpanLimits {
        self.config().log_limits
    }

    /// Keys whose values are not shown.
    #[must_use]
    pub fn secrets(&mut self) -> &'static SecretKeys {
        self.config().limits.secrets
    }

    fn config(&mut self) -> &TracerConfig {
        if self.version != self.shared.version.load(Ordering::Relaxed) {
            self.refresh();
        }
        &self.config
    }

    #[cold]
    fn refresh(&mut self) {
        self.version = self.shared.version.load(Ordering::Acquire);
        self.config = Arc::clone(&self.shared.config.read());
    }

    /// Finds the local root of a span that is not sampled.
    fn join_tail(&self, id: OpenId, parent: Option<Parent<'_>>) {
        let parent = parent
            .filter(|parent| parent.handle != 0 && !parent.remote)
            .map(|parent| OpenId { handle: parent.handle, span_id: parent.span_id })
            .and_then(|parent| self.shared.slots.find(parent)?.root);
        if let Some(mut slot) = self.shared.slots.find(id) {
            slot.root = Some(parent.unwrap_or(id));
        }
    }

    /// Does something with an open span; `None` if it has ended or is not
    /// recorded.
    #[inline]
    pub fn with<T>(&mut self, id: OpenId, change: impl FnOnce(&mut OpenSpan) -> T) -> Option<T> {
        let mut slot = self.shared.slots.find(id)?;
        Some(change(&mut slot.span))
    }

    /// Now, in nanoseconds since 1970, as a span's events are dated.
    #[must_use]
    pub fn now_ns(&mut self) -> u64 {
        self.clock.now().0
    }

    /// Ends a span, after `last` has changed it. `false` if it has ended
    /// before or is not recorded.
    #[inline]
    pub fn end(
        &mut self,
        id: OpenId,
        end_ns: Option<u64>,
        last: impl FnOnce(&mut OpenSpan),
    ) -> bool {
        let Some(mut slot) = self.shared.slots.find(id) else { return false };
        if let Some(owner) = slot.owner.take() {
            owner.remove(id);
        }
        last(&mut slot.span);
        self.counts.ended();
        let end_ns = end_ns.unwrap_or_else(|| self.clock.now_by(slot.clock_offset_ns));
        if slot.sampled {
            // The queue counts what it refuses.
            let _ = self.producer.push(slot.span.finish(end_ns));
            self.shared.slots.give_back(&mut self.free, id.handle, slot);
        } else {
            // The local root's slot has to be locked, and only one at a time.
            let outcome = Outcome {
                failed: slot.span.status() == StatusCode::Error,
                duration_ns: end_ns.saturating_sub(slot.span.start_ns()),
            };
            let (root, tail) = (slot.root.take(), std::mem::take(&mut slot.tail));
            self.scratch.clear();
            self.scratch.extend_from_slice(slot.span.finish(end_ns));
            self.shared.slots.give_back(&mut self.free, id.handle, slot);
            self.end_unsampled(id, root, tail, outcome);
        }
        true
    }

    fn end_unsampled(
        &mut self,
        id: OpenId,
        root: Option<OpenId>,
        mut tail: Tail,
        outcome: Outcome,
    ) {
        let Some(rule) = self.config.tail else {
            // The rule has been taken away meanwhile.
            self.counts.sampled_out(1 + tail.len());
            tail.release(&self.shared.tail_bytes, |_| ());
            return;
        };
        let keep = rule.keeps(outcome.failed, outcome.duration_ns);
        if root != Some(id)
            && let Some(mut slot) = root.and_then(|root| self.shared.slots.find(root))
        {
            slot.tail.keep |= keep;
            if !slot.tail.push(&self.scratch, &rule, &self.shared.tail_bytes) {
                drop(slot);
                self.counts.tail_full();
            }
            return;
        }
        if keep || tail.keep {
            let producer = &self.producer;
            tail.release(&self.shared.tail_bytes, |span| {
                let _ = producer.push(span);
            });
            let _ = producer.push(&self.scratch);
        } else {
            self.counts.sampled_out(1 + tail.len());
            tail.release(&self.shared.tail_bytes, |_| ());
        }
    }

    /// Ends the spans that a process has left open. `last` sees each of them
    /// before. Returns how many there were.
    pub fn owner_is_down(&mut self, owner: u64, mut last: impl FnMut(&mut OpenSpan)) -> usize {
        if self.owner.as_ref().is_some_and(|cached| cached.id == owner) {
            self.owner = None;
        }
        let Some(owner) = self.shared.owners.remove(owner) else { return 0 };
        // Children before their parents.
        let spans = owner.end();
        spans.iter().rev().filter(|id| self.end(**id, None, &mut last)).count()
    }

    /// Makes another process the owner of an open span; whether that process
    /// has not been seen before. `None` if the span is not open.
    pub fn give_away(&mut self, id: OpenId, owner: u64) -> Option<bool> {
        let mut slot = self.shared.slots.find(id)?;
        let (new, is_new) = self.shared.owners.add(owner, id, self.clock.now().0);
        if let Some(old) = slot.owner.replace(new) {
            old.remove(id);
        }
        Some(is_new)
    }
}

/// What the tail rule looks at.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    failed: bool,
    duration_ns: u64,
}
