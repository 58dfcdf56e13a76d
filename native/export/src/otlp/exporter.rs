//! The exporter: its thread, its start, its end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::batch::{BatchLimits, Pending};
use super::config::{ExporterConfig, OtlpEndpoint, OtlpProtocol};
use super::connect::{grpc_sender, http_sender, shown_url};
use super::custody::{Fate, Ledger};
use super::delivery::{Delivery, Sender};
use super::diagnostics::Reporter;
use super::error::ExporterStartError;
use super::frame::ScopeBytes;
use super::pipeline::{Intake, Parts, Pipeline, Wakes};
use super::retry::Backoff;
use super::signal::{PerSignal, Signal};
use super::source::ExporterSources;
use super::spool::Spool;
use super::stats::{Counts, DropReason, ExporterStats};

/// One thread sends; the work is waiting.
const WORKERS: usize = 1;
/// Threads for what blocks: names to resolve, metrics to collect, the spool.
const BLOCKING_THREADS: usize = 4;
const THREAD_NAME: &str = "erlmcp_export";
/// How long an idle thread for blocking work is kept.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(10);
/// At the end, the part of the time that is kept for writing to the spool.
const SPOOL_SHARE: u32 = 4;
/// Longest time that is kept for it.
const SPOOL_TIME: Duration = Duration::from_secs(1);
/// Longest wait beyond the deadline for what cannot be cut off: the spool's
/// last write.
const END_TIME: Duration = Duration::from_secs(1);
/// Longest wait for threads when all else has ended.
const THREADS_TIME: Duration = Duration::from_millis(500);

/// A running exporter.
///
/// It has threads of its own and sends nothing on the thread that starts, stops
/// or drops it. Dropped without [`Exporter::stop`] it sends nothing more and
/// what it held counts as dropped.
#[derive(Debug)]
pub struct Exporter {
    /// There until the exporter is stopped or dropped.
    runtime: Mutex<Option<Runtime>>,
    stop_at: watch::Sender<Option<tokio::time::Instant>>,
    ledgers: PerSignal<Arc<Ledger>>,
    wakes: PerSignal<Option<Arc<Wakes>>>,
    spool: Option<Arc<Spool>>,
    scope: Arc<ScopeBytes>,
}

/// What a flush came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Whether all that was queued before has been exported, spooled or
    /// dropped.
    pub complete: bool,
}

/// How an exporter ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExporterStopped {
    /// Whether all signals came to their end in time.
    pub complete: bool,
    /// The last counts.
    pub stats: ExporterStats,
}

impl Exporter {
    /// Reads certificates, opens the spool, and begins to export `sources`.
    /// Receivers are first spoken to when there is something to send.
    ///
    /// # Errors
    ///
    /// [`ExporterStartError`] when a setting makes no sense or cannot be used,
    /// or when no thread can be started.
    pub fn start(
        config: ExporterConfig,
        sources: ExporterSources,
    ) -> Result<Self, ExporterStartError> {
        config.check()?;
        let scope = ScopeBytes::new(&config.resource, &config.scope_name, &config.scope_version);
        let limits = limits(&config, &scope)?;
        // Everything that can go wrong goes wrong before a queue is touched.
        let mut senders = PerSignal::from_fn(|_| None);
        for signal in Signal::ALL {
            if let Some(endpoint) = config.endpoint(signal) {
                *senders.get_mut(signal) = Some(sender(signal, endpoint)?);
            }
        }
        let queues = [Some(&sources.spans), None, Some(&sources.logs)];
        let mut queues = queues.into_iter();
        let ledgers = PerSignal::from_fn(|signal| {
            let queue = queues.next().flatten().map(Arc::clone);
            Arc::new(Ledger { signal, counts: Counts::default(), queue })
        });
        let spool = config.spool.as_ref().map(|spool| open_spool(spool, &ledgers)).transpose()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_keep_alive(THREAD_KEEP_ALIVE)
            .thread_name(THREAD_NAME)
            .enable_io()
            .enable_time()
            .build()
            .map_err(ExporterStartError::Threads)?;
        let scope = Arc::new(scope);
        let mut exporter = Self {
            runtime: Mutex::new(Some(runtime)),
            stop_at: watch::Sender::new(None),
            ledgers,
            wakes: PerSignal::default(),
            spool,
            scope,
        };
        for signal in Signal::ALL {
            let sender = senders.get_mut(signal).take();
            exporter.run(signal, &config, &sources, sender, limits);
        }
        Ok(exporter)
    }

    /// Starts the pipeline of a signal.
    fn run(
        &mut self,
        signal: Signal,
        config: &ExporterConfig,
        sources: &ExporterSources,
        sender: Option<Sender>,
        limits: BatchLimits,
    ) {
        let ledger = self.ledgers.get(signal);
        let (intake, tick) = match (&ledger.queue, &sources.metrics) {
            (Some(queue), _) => (Intake::Queue(Arc::clone(queue)), config.scheduled_delay(signal)),
            // Metrics are collected at a price: for nobody they are not.
            (None, Some(metrics)) if sender.is_some() || !sources.taps.is_empty() => {
                (Intake::Collector(Arc::clone(metrics)), config.metric_interval)
            }
            (None, _) => return,
        };
        let delivery = config.endpoint(signal).zip(sender).map(|(endpoint, sender)| {
            Arc::new(Delivery::new(
                sender,
                (shown_url(&endpoint.url), endpoint.timeout),
                config.retry(signal),
                self.spool.clone(),
                Arc::clone(ledger),
                Reporter::new(sources.diagnostics.clone()),
                self.stop_at.subscribe(),
            ))
        });
        let wakes = Arc::new(Wakes::default());
        let pipeline = Pipeline::new(Parts {
            ledger: Arc::clone(ledger),
            taps: sources.taps.clone(),
            scope: Arc::clone(&self.scope),
            delivery,
            wakes: Arc::clone(&wakes),
            stop_at: self.stop_at.subscribe(),
            tick,
            pending: Pending::new(
                Arc::clone(ledger),
                Arc::clone(&self.scope),
                BatchLimits { records: config.max_batch_records(signal), ..limits },
            ),
            backoff: Backoff::new(&config.retry),
            intake,
        });
        if let Some(queue) = &ledger.queue {
            let called = Arc::clone(&wakes.queue);
            queue.set_waker(Some(Arc::new(move || called.notify_one())));
        }
        if let Some(runtime) = self.runtime.get_mut() {
            // Closed also when the runtime ends before the pipeline does.
            let close = CloseOnDrop(Arc::clone(&wakes));
            runtime.spawn(async move {
                let _close = close;
                pipeline.run().await;
            });
        }
        *self.wakes.get_mut(signal) = Some(wakes);
    }

    /// Resource and scope of what this exporter sends.
    #[must_use]
    pub fn scope(&self) -> &Arc<ScopeBytes> {
        &self.scope
    }

    /// Has the queued spans taken in, and so shown to the taps, and waits for it
    /// up to `deadline`. `true` if the taps have seen all that were queued when
    /// this was called; `false` also for an exporter that has ended. Blocks; not
    /// to be called from a task of an async runtime.
    pub fn take_in_spans(&self, deadline: Duration) -> bool {
        let end = later(deadline);
        let Some(wakes) = &self.wakes.traces else { return false };
        wakes.take_in.wait(wakes.take_in.request(), end)
    }

    /// Sends everything that is queued now, and the metrics as they are now,
    /// and waits for it up to `deadline`. Blocks; not to be called from a task
    /// of an async runtime.
    pub fn flush(&self, deadline: Duration) -> Flushed {
        let end = later(deadline);
        let wakes = Signal::ALL.map(|signal| self.wakes.get(signal).as_ref());
        let requested = wakes.map(|wakes| wakes.map(|wakes| (wakes, wakes.flush.request())));
        let mut complete = true;
        for (wakes, number) in requested.into_iter().flatten() {
            complete &= wakes.flush.wait(number, end);
        }
        Flushed { complete }
    }

    /// Ends the exporter: sends what is queued, and the metrics as they are now,
    /// for up to `deadline`; what is left then goes to the spool or is dropped.
    /// What is recorded meanwhile stays in the queue. Blocks for `deadline` and
    /// 1.5 seconds at the most.
    ///
    /// Not to be called from a task of an async runtime, where blocking panics.
    pub fn stop(&self, deadline: Duration) -> ExporterStopped {
        let Some(runtime) = self.runtime.lock().take() else {
            return ExporterStopped { complete: true, stats: self.stats() };
        };
        let spool_time = match &self.spool {
            Some(_) => (deadline / SPOOL_SHARE).min(SPOOL_TIME),
            None => Duration::ZERO,
        };
        let sending = deadline.saturating_sub(spool_time);
        self.stop_at.send_replace(Some(later(sending).into()));
        let end = later(deadline.saturating_add(END_TIME));
        let mut complete = true;
        for signal in Signal::ALL {
            if let Some(wakes) = self.wakes.get(signal) {
                complete &= wakes.flush.wait_closed(end);
            }
        }
        self.unhook();
        runtime.shutdown_timeout(THREADS_TIME);
        if let Some(spool) = &self.spool {
            spool.close();
        }
        ExporterStopped { complete, stats: self.stats() }
    }

    /// Counts since the start, and what there is now.
    #[must_use]
    pub fn stats(&self) -> ExporterStats {
        let spooled = |signal| self.spool.as_ref().map_or(0, |spool| spool.records(signal));
        let (spool_bytes, spool_capacity_bytes) =
            self.spool.as_ref().map_or((0, 0), |spool| spool.bytes());
        ExporterStats {
            signals: PerSignal::from_fn(|signal| {
                self.ledgers.get(signal).counts.stats(spooled(signal))
            }),
            spool_bytes,
            spool_capacity_bytes,
            collections_skipped: self.ledgers.metrics.counts.collections_skipped.load(Relaxed),
        }
    }

    /// Nobody is called any more by the queues.
    fn unhook(&self) {
        for signal in Signal::ALL {
            if let Some(queue) = &self.ledgers.get(signal).queue {
                queue.set_waker(None);
            }
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.get_mut().take() {
            self.unhook();
            runtime.shutdown_background();
        }
    }
}

/// Says that a pipeline has ended, however it did.
struct CloseOnDrop(Arc<Wakes>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn sender(signal: Signal, endpoint: &OtlpEndpoint) -> Result<Sender, ExporterStartError> {
    Ok(match endpoint.protocol {
        OtlpProtocol::HttpProtobuf => Sender::Http(http_sender(signal, endpoint)?),
        OtlpProtocol::Grpc => Sender::Grpc(grpc_sender(signal, endpoint)?),
    })
}

fn limits(config: &ExporterConfig, scope: &ScopeBytes) -> Result<BatchLimits, ExporterStartError> {
    // The spool writes lengths with 32 bits, and so does gRPC.
    let most = config.max_batch_bytes.min(u32::MAX as usize);
    match most.checked_sub(scope.overhead()) {
        Some(bytes) if bytes > 0 => Ok(BatchLimits { records: config.max_batch_records, bytes }),
        _ => Err(ExporterStartError::NoRoom {
            max_batch_bytes: config.max_batch_bytes,
            taken: scope.overhead(),
        }),
    }
}

fn open_spool(
    config: &super::config::SpoolConfig,
    ledgers: &PerSignal<Arc<Ledger>>,
) -> Result<Arc<Spool>, ExporterStartError> {
    let (spool, found) = Spool::open(&config.dir, config.max_bytes)?;
    for signal in Signal::ALL {
        let (whole, unfinished) = *found.get(signal);
        let ledger = ledgers.get(signal);
        ledger.counts.recovered.fetch_add(whole + unfinished, Relaxed);
        ledger.settle(unfinished, Fate::Dropped(DropReason::SpoolError));
    }
    Ok(Arc::new(spool))
}

/// An instant so far from now, or as far as the clock goes.
fn later(wait: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(86_400);
    Instant::now() + wait.min(LONGEST)
}
