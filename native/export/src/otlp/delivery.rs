//! Brings a request to its receiver: attempts, waits, splits, and what becomes of
//! its records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::answer::Answer;
use super::batch::{Batch, Request};
use super::config::RetryConfig;
use super::custody::{Fate, Ledger};
use super::diagnostics::{DiagnosticLevel, Kind, Reporter};
use super::grpc::GrpcSender;
use super::http::HttpSender;
use super::retry::Backoff;
use super::spool::{Spool, StoreError};
use super::stats::{DropReason, RequestOutcome};

/// With a spool, how often a request is tried before it goes there.
const ATTEMPTS_BEFORE_SPOOL: u32 = 3;

/// Set to the end of all attempts once the exporter is to stop.
pub(crate) type StopAt = watch::Receiver<Option<Instant>>;

/// Either protocol.
#[derive(Debug)]
pub(crate) enum Sender {
    Http(HttpSender),
    Grpc(GrpcSender),
}

/// Everything that delivering one signal's requests needs.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) sender: Sender,
    /// Where to, for messages.
    pub(crate) url: String,
    pub(crate) timeout: Duration,
    pub(crate) retry: RetryConfig,
    pub(crate) spool: Option<Arc<Spool>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) reporter: Reporter,
    pub(crate) stop_at: StopAt,
    /// Whether the last attempt failed for want of a receiver.
    down: AtomicBool,
}

/// What the attempts at one request came to.
enum Outcome {
    Accepted { rejected: u64 },
    TooLarge,
    Refused,
    GivenUp(DropReason),
}

/// Why reading the spool back has paused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Replay {
    /// There is nothing left.
    Empty,
    /// The receiver did not take the oldest request; it wants to be left alone
    /// for so long.
    Failed(Option<Duration>),
}

impl Delivery {
    pub(crate) fn new(
        sender: Sender,
        (url, timeout): (String, Duration),
        retry: RetryConfig,
        spool: Option<Arc<Spool>>,
        ledger: Arc<Ledger>,
        reporter: Reporter,
        stop_at: StopAt,
    ) -> Self {
        let down = AtomicBool::new(false);
        Self { sender, url, timeout, retry, spool, ledger, reporter, stop_at, down }
    }

    /// Whether the receiver could not be reached last time.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// Sends a batch until it is clear what becomes of each of its records.
    pub(crate) async fn deliver(self: Arc<Self>, batch: Batch) {
        // Only halves of halves get here: as many as a number has bits.
        let mut batches = vec![batch];
        while let Some(batch) = batches.pop() {
            match self.attempts(&batch.request).await {
                Outcome::Accepted { rejected } => batch.custody.settle(Fate::Exported { rejected }),
                Outcome::Refused => batch.custody.settle(Fate::Dropped(DropReason::Rejected)),
                Outcome::GivenUp(reason) => self.give_up(batch, reason).await,
                Outcome::TooLarge => match batch.halves() {
                    Ok((first, second)) => batches.extend([second, first]),
                    Err(batch) => self.too_large(batch),
                },
            }
        }
    }

    fn too_large(&self, batch: Batch) {
        self.reporter.say(DiagnosticLevel::Error, Kind::TooLarge, || {
            let (signal, bytes) = (self.ledger.signal, batch.request.body.len());
            format!("A record of {signal} was dropped: {bytes} bytes are too many for {}", self.url)
        });
        batch.custody.settle(Fate::Dropped(DropReason::TooLarge));
    }

    /// Puts a batch into the spool, if there is one, and drops it otherwise.
    pub(crate) async fn give_up(&self, batch: Batch, reason: DropReason) {
        if self.spool.is_some() {
            self.store(batch).await;
            return;
        }
        self.report_loss(batch.request.count, reason);
        batch.custody.settle(Fate::Dropped(reason));
    }

    /// Puts a batch into the spool.
    pub(crate) async fn store(&self, batch: Batch) {
        let Some(spool) = self.spool.clone() else { return };
        let (signal, request) = (self.ledger.signal, batch.request);
        let count = request.count;
        let stored =
            tokio::task::spawn_blocking(move || spool.store(signal, &request, false)).await;
        let fate = match stored {
            Ok(Ok(())) => Fate::Spooled,
            Ok(Err(error)) => {
                let reason = match error {
                    StoreError::Full => DropReason::SpoolFull,
                    StoreError::Io(_) => DropReason::SpoolError,
                };
                self.reporter.say(DiagnosticLevel::Error, Kind::Spool, || {
                    format!("{count} records of {signal} were dropped: {error}.")
                });
                Fate::Dropped(reason)
            }
            // The runtime is ending.
            Err(_) => Fate::Dropped(DropReason::Shutdown),
        };
        batch.custody.settle(fate);
    }

    async fn attempts(&self, request: &Request) -> Outcome {
        let begin = Instant::now();
        let mut backoff = Backoff::new(&self.retry);
        let mut attempts: u32 = 0;
        loop {
            let answer = tokio::select! {
                answer = self.attempt(request) => answer,
                () = self.cut_off() => return Outcome::GivenUp(DropReason::Shutdown),
            };
            attempts = attempts.saturating_add(1);
            let after = match answer {
                Answer::Accepted { rejected, .. } => return Outcome::Accepted { rejected },
                Answer::TooLarge { .. } => return Outcome::TooLarge,
                Answer::Refused { .. } => return Outcome::Refused,
                Answer::Later { after, .. } => after,
            };
            let wait = backoff.next(after);
            let stopping = self.stop_at.borrow().is_some();
            if self.spool.is_some() && (attempts >= ATTEMPTS_BEFORE_SPOOL || stopping) {
                return Outcome::GivenUp(DropReason::RetriesExhausted);
            }
            if begin.elapsed() + wait > self.retry.max_elapsed {
                return Outcome::GivenUp(DropReason::RetriesExhausted);
            }
            tokio::select! {
                () = sleep(wait) => {}
                // One more attempt at once, unless the receiver asked for peace.
                () = self.stopping(), if !stopping && after.is_none() => {}
                () = self.cut_off() => return Outcome::GivenUp(DropReason::Shutdown),
            }
            self.ledger.counts.retries.fetch_add(1, Relaxed);
        }
    }

    /// Sends a request once, and notes how it went.
    async fn attempt(&self, request: &Request) -> Answer {
        let answer = {
            let _in_flight = InFlight::new(&self.ledger);
            match timeout(self.timeout, self.send(request.body.clone())).await {
                Ok(answer) => answer,
                Err(_) => Answer::Later {
                    after: None,
                    why: format!("no answer within {} ms", self.timeout.as_millis()),
                },
            }
        };
        self.note(request, &answer);
        answer
    }

    async fn send(&self, body: Bytes) -> Answer {
        match &self.sender {
            Sender::Http(sender) => sender.send(body).await,
            Sender::Grpc(sender) => sender.send(body).await,
        }
    }

    fn note(&self, request: &Request, answer: &Answer) {
        let signal = self.ledger.signal;
        let outcome = match answer {
            Answer::Accepted { rejected, message } => {
                let bytes = request.body.len() as u64;
                self.ledger.counts.exported_bytes.fetch_add(bytes, Relaxed);
                if *rejected > 0 || !message.is_empty() {
                    self.reporter.say(DiagnosticLevel::Warning, Kind::PartialSuccess, || {
                        format!("{} refused {rejected} of {signal}: {message}", self.url)
                    });
                }
                if *rejected > 0 { RequestOutcome::PartialSuccess } else { RequestOutcome::Success }
            }
            Answer::Later { .. } => RequestOutcome::Retryable,
            Answer::TooLarge { .. } => RequestOutcome::TooLarge,
            Answer::Refused { why } => {
                self.reporter.say(DiagnosticLevel::Error, Kind::Rejected, || {
                    let count = request.count;
                    format!("{} refused {count} records of {signal} for good: {why}", self.url)
                });
                RequestOutcome::Rejected
            }
        };
        self.ledger.counts.request(outcome);
        match answer {
            Answer::Later { why, .. } => {
                if !self.down.swap(true, Relaxed) {
                    self.reporter.say(DiagnosticLevel::Warning, Kind::Failing, || {
                        format!("{signal} cannot be sent to {}, which is retried: {why}", self.url)
                    });
                }
            }
            Answer::Accepted { .. } | Answer::TooLarge { .. } | Answer::Refused { .. } => {
                if self.down.swap(false, Relaxed) {
                    self.reporter.say(DiagnosticLevel::Info, Kind::Recovered, || {
                        format!("{} takes {signal} again", self.url)
                    });
                }
            }
        }
    }

    fn report_loss(&self, count: u32, reason: DropReason) {
        self.reporter.say(DiagnosticLevel::Error, Kind::GivenUp, || {
            let signal = self.ledger.signal;
            format!("{count} records of {signal} were dropped: {}", reason.as_str())
        });
    }

    /// Sends what is in the spool, the oldest first, until there is nothing
    /// left or the receiver takes no more.
    pub(crate) async fn replay(self: Arc<Self>) -> Replay {
        let Some(spool) = self.spool.clone() else { return Replay::Empty };
        let signal = self.ledger.signal;
        while let Some(entry) = spool.oldest(signal) {
            let reading = Arc::clone(&spool);
            let loaded = tokio::task::spawn_blocking(move || reading.load(signal, entry)).await;
            let request = match loaded {
                Ok(Ok(request)) => request,
                Ok(Err(error)) => {
                    spool.set_aside(signal, entry);
                    self.reporter.say(DiagnosticLevel::Error, Kind::Spool, || {
                        let count = entry.count;
                        format!("{count} records of {signal} are lost: {error}")
                    });
                    let fate = Fate::Dropped(DropReason::SpoolError);
                    self.ledger.settle(u64::from(entry.count), fate);
                    continue;
                }
                Err(_) => return Replay::Failed(None),
            };
            let answer = tokio::select! {
                answer = self.attempt(&request) => answer,
                () = self.cut_off() => return Replay::Failed(None),
            };
            let fate = match answer {
                Answer::Later { after, .. } => {
                    self.ledger.counts.retries.fetch_add(1, Relaxed);
                    return Replay::Failed(after);
                }
                Answer::Accepted { rejected, .. } => Fate::Exported { rejected },
                Answer::Refused { .. } => Fate::Dropped(DropReason::Rejected),
                Answer::TooLarge { .. } => match request.halves() {
                    None => Fate::Dropped(DropReason::TooLarge),
                    Some((first, second, _)) => {
                        self.store_halves(&spool, [first, second]).await;
                        Fate::Spooled
                    }
                },
            };
            spool.remove(signal, entry);
            self.ledger.settle(u64::from(entry.count), fate);
        }
        Replay::Empty
    }

    /// Puts the halves of a request into the spool, beyond its bound if need
    /// be: the whole leaves it right after.
    async fn store_halves(&self, spool: &Arc<Spool>, halves: [Request; 2]) {
        let signal = self.ledger.signal;
        for half in halves {
            let count = half.count;
            let writing = Arc::clone(spool);
            let stored =
                tokio::task::spawn_blocking(move || writing.store(signal, &half, true)).await;
            if !matches!(stored, Ok(Ok(()))) {
                self.report_loss(count, DropReason::SpoolError);
                self.ledger.settle(u64::from(count), Fate::Dropped(DropReason::SpoolError));
            }
        }
    }

    /// Comes back when the exporter begins to stop.
    async fn stopping(&self) {
        let mut stop_at = self.stop_at.clone();
        if stop_at.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Comes back when the exporter may wait no longer.
    pub(crate) async fn cut_off(&self) {
        let mut stop_at = self.stop_at.clone();
        let at = stop_at.wait_for(Option::is_some).await.map(|at| *at);
        match at {
            Ok(Some(at)) => sleep_until(at).await,
            _ => std::future::pending().await,
        }
    }
}

/// Counts a request that waits for its answer, as long as it does.
struct InFlight<'a>(&'a Ledger);

impl<'a> InFlight<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        ledger.counts.in_flight.fetch_add(1, Relaxed);
        Self(ledger)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.counts.in_flight.fetch_sub(1, Relaxed);
    }
}
