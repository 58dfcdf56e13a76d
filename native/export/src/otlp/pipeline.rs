//! One signal's way through the exporter: in from the queue or the collector,
//! past the taps, out in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use erlmcp_trace::{Queue, Records};
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::batch::Pending;
use super::custody::{Fate, Ledger};
use super::delivery::{Delivery, Replay, StopAt};
use super::frame::ScopeBytes;
use super::requests::Requests;
use super::retry::Backoff;
use super::source::{MetricRecords, Tap};
use super::stats::DropReason;

/// Most requests of a signal that wait for their answer at once.
const MAX_IN_FLIGHT: usize = 2;
/// After a call that found the queue empty, which every record does that a full
/// queue refuses, further calls are not heard for so long.
const DEAF_TIME: Duration = Duration::from_millis(10);

/// Most batches of a signal that are being written to the spool at once.
const MAX_STORING: usize = 1;
/// Most flushes that are waited for one by one; more are waited for together.
const MAX_FLUSHES: usize = 16;
/// What a flush waits for until its metrics have been collected.
const NOT_COLLECTED: u64 = u64::MAX;

/// Where records come from.
#[derive(Debug)]
pub(crate) enum Intake {
    /// Whoever records puts them into a queue.
    Queue(Arc<Queue>),
    /// They are asked for.
    Collector(Arc<dyn MetricRecords>),
}

/// What wakes a pipeline, and how it says how far it is.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// The queue has enough for a request.
    pub(crate) queue: Arc<Notify>,
    /// To take in, and show to the taps, what is queued.
    pub(crate) take_in: Requests,
    /// To send everything.
    pub(crate) flush: Requests,
}

impl Wakes {
    /// The pipeline has ended.
    pub(crate) fn close(&self) {
        self.take_in.close();
        self.flush.close();
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pipeline {
    ledger: Arc<Ledger>,
    intake: Intake,
    taps: Vec<Arc<dyn Tap>>,
    scope: Arc<ScopeBytes>,
    delivery: Option<Arc<Delivery>>,
    wakes: Arc<Wakes>,
    stop_at: StopAt,
    tick: Duration,
    pending: Pending,
    /// Records up to this one are sent even if they do not fill a request.
    due: u64,
    /// The batches that are under way.
    under_way: Vec<UnderWay>,
    /// Flushes that wait: their number, and the record they wait for.
    flushes: Vec<(u64, u64)>,
    tasks: JoinSet<Done>,
    /// The newest flush when the collection that is under way began.
    collecting: Option<u64>,
    collect_again: bool,
    replaying: bool,
    probe: Probe,
}

/// A batch of which some records have not met their fate.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    /// The task that brings it on its way.
    task: Id,
    /// The number of its first record.
    first: u64,
    /// Whether it is on its way to the spool.
    storing: bool,
}

/// When the spool is read back.
#[derive(Debug)]
struct Probe {
    at: Instant,
    backoff: Backoff,
}

#[derive(Debug)]
enum Done {
    /// A batch has met its fate.
    Batch,
    Collected(Records),
    Replayed(Replay),
}

/// What a pipeline is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) intake: Intake,
    pub(crate) taps: Vec<Arc<dyn Tap>>,
    pub(crate) scope: Arc<ScopeBytes>,
    pub(crate) delivery: Option<Arc<Delivery>>,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) stop_at: StopAt,
    pub(crate) tick: Duration,
    pub(crate) pending: Pending,
    pub(crate) backoff: Backoff,
}

impl Pipeline {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            ledger: parts.ledger,
            intake: parts.intake,
            taps: parts.taps,
            scope: parts.scope,
            delivery: parts.delivery,
            wakes: parts.wakes,
            stop_at: parts.stop_at,
            tick: parts.tick,
            pending: parts.pending,
            due: 0,
            under_way: Vec::new(),
            flushes: Vec::new(),
            tasks: JoinSet::new(),
            collecting: None,
            collect_again: false,
            replaying: false,
            probe: Probe { at: Instant::now(), backoff: parts.backoff },
        }
    }

    /// Runs until the exporter stops, and then until all is delivered or it may
    /// wait no longer.
    pub(crate) async fn run(mut self) {
        let mut ticks = ticks(self.tick);
        let mut deaf_until = Instant::now();
        let wakes = Arc::clone(&self.wakes);
        let mut stop_at = self.stop_at.clone();
        loop {
            self.dispatch();
            self.answer_flushes();
            let probe_at = self.probe_at();
            tokio::select! {
                _ = ticks.tick() => self.tick(),
                () = wakes.queue.notified(), if deaf_until <= Instant::now() => {
                    if self.take_in() == 0 {
                        deaf_until = Instant::now() + DEAF_TIME;
                    }
                }
                () = sleep_until(deaf_until), if deaf_until > Instant::now() => {}
                () = wakes.take_in.requested() => {
                    self.take_in();
                }
                () = wakes.flush.requested() => self.flush(),
                Some(done) = self.tasks.join_next_with_id() => self.done(done),
                () = sleep_until(probe_at.unwrap_or(deaf_until)), if probe_at.is_some() => {
                    self.replay();
                }
                () = stopping(&mut stop_at) => break,
            }
        }
        self.finish().await;
    }

    /// Delivers what there is, up to the end that was set.
    async fn finish(mut self) {
        self.take_all();
        let end = *self.stop_at.borrow();
        let end = sleep_until(end.unwrap_or_else(Instant::now));
        tokio::pin!(end);
        loop {
            self.dispatch();
            self.answer_flushes();
            if self.is_idle() && self.collecting.is_none() {
                break;
            }
            tokio::select! {
                () = &mut end => break,
                Some(done) = self.tasks.join_next_with_id() => self.done(done),
            }
        }
        self.leave_behind().await;
    }

    /// When it may wait no longer: what is left goes to the spool or is dropped.
    async fn leave_behind(&mut self) {
        while let Some(batch) = self.pending.next() {
            match &self.delivery {
                Some(delivery) => delivery.give_up(batch, DropReason::Shutdown).await,
                None => batch.custody.settle(Fate::Dropped(DropReason::Shutdown)),
            }
        }
        // Deliveries look at the clock themselves; a spool may be writing.
        while !self.under_way.is_empty() {
            let Some(done) = self.tasks.join_next_with_id().await else { break };
            self.done(done);
        }
        self.answer_flushes();
    }

    /// It is time to send, or to collect.
    fn tick(&mut self) {
        if matches!(self.intake, Intake::Collector(_)) && !self.may_collect() {
            self.ledger.counts.collections_skipped.fetch_add(1, Relaxed);
            return;
        }
        self.take_all();
    }

    /// Takes what there is and has all of it sent, in whatever number.
    fn take_all(&mut self) {
        self.take_in();
        self.due = self.pending.came();
    }

    /// Takes what there is. Returns how many records that were.
    fn take_in(&mut self) -> u64 {
        let asked = self.wakes.take_in.newest();
        let drained = match &self.intake {
            Intake::Queue(queue) => queue.drain(),
            Intake::Collector(_) => {
                self.collect_again = true;
                self.collect();
                return 0;
            }
        };
        let taken = drained.into_iter().map(|records| self.take(records)).sum();
        // What was queued when they asked, the taps have seen.
        self.wakes.take_in.reached(asked);
        taken
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.under_way.is_empty()
    }

    /// Metrics are not collected while those of the last time are under way, so
    /// that no more than one collection takes memory. Nothing is lost by it.
    fn may_collect(&self) -> bool {
        self.is_idle() && self.collecting.is_none()
    }

    /// Asks for metrics if they are wanted, as soon as that may be.
    fn collect(&mut self) {
        let Intake::Collector(collector) = &self.intake else { return };
        if !self.collect_again || !self.may_collect() {
            return;
        }
        self.collect_again = false;
        self.collecting = Some(self.wakes.flush.newest());
        let collector = Arc::clone(collector);
        self.tasks.spawn(async move {
            let collected = tokio::task::spawn_blocking(move || collector.collect()).await;
            Done::Collected(collected.unwrap_or_default())
        });
    }

    fn take(&mut self, records: Records) -> u64 {
        let count = u64::from(records.count);
        if count == 0 {
            return 0;
        }
        for tap in &self.taps {
            tap.records(self.ledger.signal, &self.scope, &records);
        }
        self.pending.push(records);
        count
    }

    /// Starts as much as may run at once.
    fn dispatch(&mut self) {
        while !self.pending.is_empty() {
            if self.pending.cut() >= self.due && !self.pending.fills_a_batch() {
                break;
            }
            let Some(storing) = self.next_way() else { break };
            let first = self.pending.cut();
            let Some(batch) = self.pending.next() else { continue };
            let Some(delivery) = &self.delivery else {
                let fate = match self.taps.as_slice() {
                    [] => Fate::Dropped(DropReason::NoEndpoint),
                    _ => Fate::Kept,
                };
                batch.custody.settle(fate);
                continue;
            };
            let delivery = Arc::clone(delivery);
            let task = self.tasks.spawn(async move {
                if storing {
                    delivery.store(batch).await;
                } else {
                    delivery.deliver(batch).await;
                }
                Done::Batch
            });
            self.under_way.push(UnderWay { task: task.id(), first, storing });
        }
        self.collect();
    }

    /// Whether the next batch goes to the spool without an attempt, or nothing
    /// if it has to wait.
    ///
    /// It goes there behind others that wait for a receiver that is down, and
    /// when a receiver takes its time while the queue fills up.
    fn next_way(&self) -> Option<bool> {
        let storing = self.under_way.iter().filter(|batch| batch.storing).count();
        let sending = self.under_way.len() - storing;
        let free = sending < MAX_IN_FLIGHT;
        let Some(delivery) = &self.delivery else { return Some(false) };
        let Some(spool) = &delivery.spool else { return free.then_some(false) };
        let behind = delivery.is_down() && !spool.is_empty(self.ledger.signal);
        if behind || (!free && self.is_crowded()) {
            return (storing < MAX_STORING).then_some(true);
        }
        free.then_some(false)
    }

    /// Whether the queue is half full.
    fn is_crowded(&self) -> bool {
        let Intake::Queue(queue) = &self.intake else { return false };
        let stats = queue.stats();
        let half_full = |held: u64, capacity: u64| held.saturating_mul(2) > capacity;
        half_full(stats.held, stats.capacity) || half_full(stats.held_bytes, stats.capacity_bytes)
    }

    fn done(&mut self, done: Result<(Id, Done), JoinError>) {
        let task = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let batches = self.under_way.len();
        self.under_way.retain(|batch| batch.task != task);
        match done.map(|(_, done)| done) {
            Ok(Done::Batch) => {}
            Ok(Done::Collected(records)) => {
                self.take(records);
                self.due = self.pending.came();
                let since = self.collecting.take();
                // Those who asked before the collection began have what they want.
                for (number, record) in &mut self.flushes {
                    if since.is_some_and(|since| *number <= since) {
                        *record = self.due;
                    }
                }
            }
            Ok(Done::Replayed(end)) => self.replayed(end),
            // The task panicked. The records of a batch have been counted as
            // dropped when it went.
            Err(_) if self.under_way.len() < batches => {}
            Err(_) => {
                self.replaying = false;
                self.collecting = None;
            }
        }
    }
}

/// Flushing.
impl Pipeline {
    fn flush(&mut self) {
        let number = self.wakes.flush.newest();
        self.take_all();
        // Metrics count once they are here.
        let record = match self.intake {
            Intake::Queue(_) => self.due,
            Intake::Collector(_) => NOT_COLLECTED,
        };
        if self.flushes.len() >= MAX_FLUSHES {
            // The new one waits for all that this one does.
            self.flushes.pop();
        }
        self.flushes.push((number, record));
    }

    fn answer_flushes(&mut self) {
        let under_way = self.under_way.iter().map(|batch| batch.first).min();
        let settled = under_way.unwrap_or(u64::MAX).min(self.pending.cut());
        let reached = self.flushes.iter().filter(|(_, record)| *record <= settled);
        if let Some(number) = reached.map(|(number, _)| *number).max() {
            self.flushes.retain(|(other, _)| *other > number);
            self.wakes.flush.reached(number);
        }
    }
}

/// Reading the spool back.
impl Pipeline {
    fn probe_at(&self) -> Option<Instant> {
        let spool = self.delivery.as_ref()?.spool.as_ref()?;
        (!self.replaying && !spool.is_empty(self.ledger.signal)).then_some(self.probe.at)
    }

    fn replay(&mut self) {
        let Some(delivery) = &self.delivery else { return };
        self.replaying = true;
        let delivery = Arc::clone(delivery);
        self.tasks.spawn(async move { Done::Replayed(delivery.replay().await) });
    }

    fn replayed(&mut self, end: Replay) {
        self.replaying = false;
        match end {
            Replay::Empty => self.probe.backoff.reset(),
            Replay::Failed(after) => {
                self.probe.at = Instant::now() + self.probe.backoff.next(after)
            }
        }
    }
}

/// Comes back when the exporter begins to stop.
async fn stopping(stop_at: &mut StopAt) {
    // An error means that the exporter is gone, and everything ends with it.
    let _ = stop_at.wait_for(Option::is_some).await;
}

/// The first tick after one interval.
fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
