//! Questions to a party that may be slow, gone, or late.
//!
//! The Erlang VM is asked for its figures and for signs of life. However many
//! requests wait for an answer, one question is under way at a time, so that a
//! VM that is stuck does not find its mailbox full when it comes back. Answers
//! are kept: whoever waits no longer gets the last one, and one that comes too
//! late for everybody is there for the next.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

/// After this time a question counts as lost though its [`Reply`] was never
/// dropped, and is asked again. An answer that comes after all is still taken.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// One kind of question, whose answers are `T`.
#[derive(Debug)]
pub(crate) struct Inquiry<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Rings at each answer and at each question that will have none.
    bell: watch::Sender<()>,
    /// The same for those who block.
    settled: Condvar,
}

#[derive(Debug)]
struct State<T> {
    last: Option<Answer<T>>,
    under_way: Option<Question>,
    asked: u64,
    answered: u64,
}

#[derive(Debug, Clone, Copy)]
struct Question {
    number: u64,
    asked_at: Instant,
}

/// What was answered, and when.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) value: Arc<T>,
    pub(crate) at: Instant,
}

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), at: self.at }
    }
}

/// What an [`Inquiry`] ends with.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// Answered within the time given.
    Fresh(Answer<T>),
    /// Not answered in time; the last answer there was, if any.
    Stale(Option<Answer<T>>),
}

/// The way back for one answer. Dropped without [`Reply::send`], it says that
/// there will be none, and nobody goes on waiting for it.
///
/// Sending and dropping never block and may be done from any thread.
pub struct Reply<T> {
    shared: Arc<Shared<T>>,
    number: u64,
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<T> Reply<T> {
    /// Gives the answer to all who wait. It is never too late: an answer for
    /// which nobody waits any more is kept for the next one who asks.
    pub fn send(self, value: T) {
        let answer = Answer { value: Arc::new(value), at: Instant::now() };
        let mut state = self.shared.state.lock();
        let replaced = state.last.replace(answer);
        state.answered += 1;
        drop(state);
        drop(replaced);
        // The drop of `self` ends the question and rings.
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if state.under_way.is_some_and(|q| q.number == self.number) {
            state.under_way = None;
        }
        drop(state);
        self.shared.settled.notify_all();
        self.shared.bell.send_replace(());
    }
}

impl<T> State<T> {
    fn settled(&self, before: u64) -> bool {
        self.answered > before || self.under_way.is_none()
    }

    fn outcome(&self, before: u64) -> Outcome<T> {
        match &self.last {
            Some(answer) if self.answered > before => Outcome::Fresh(answer.clone()),
            last => Outcome::Stale(last.clone()),
        }
    }
}

impl<T> Inquiry<T> {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State { last: None, under_way: None, asked: 0, answered: 0 }),
                bell: watch::Sender::new(()),
                settled: Condvar::new(),
            }),
        }
    }

    /// Waits up to `patience` for an answer. `ask` poses the question when none
    /// is under way, and says whether somebody is there to answer it.
    pub(crate) async fn answer(
        &self,
        patience: Duration,
        ask: impl FnOnce(Reply<T>) -> bool,
    ) -> Outcome<T> {
        let mut bell = self.shared.bell.subscribe();
        let (before, new_question) = self.join();
        if let Some(reply) = new_question
            && !ask(reply)
        {
            return Outcome::Stale(self.last());
        }
        let settled = async { while !self.settled(before) && bell.changed().await.is_ok() {} };
        // Both a time-out and a question that was given up end here.
        let _ = tokio::time::timeout(patience, settled).await;
        self.shared.state.lock().outcome(before)
    }

    /// As [`Self::answer`], for a thread that may wait.
    pub(crate) fn answer_blocking(
        &self,
        patience: Duration,
        ask: impl FnOnce(Reply<T>) -> bool,
    ) -> Outcome<T> {
        let deadline = Instant::now() + patience;
        let (before, new_question) = self.join();
        if let Some(reply) = new_question
            && !ask(reply)
        {
            return Outcome::Stale(self.last());
        }
        let mut state = self.shared.state.lock();
        while !state.settled(before)
            && !self.shared.settled.wait_until(&mut state, deadline).timed_out()
        {}
        state.outcome(before)
    }

    /// The number of answers so far, and the way back for a new question unless
    /// one is under way.
    fn join(&self) -> (u64, Option<Reply<T>>) {
        let mut state = self.shared.state.lock();
        let now = Instant::now();
        let waiting = state.under_way.is_some_and(|q| now.duration_since(q.asked_at) < LOST_AFTER);
        if waiting {
            return (state.answered, None);
        }
        state.asked += 1;
        let number = state.asked;
        state.under_way = Some(Question { number, asked_at: now });
        let reply = Reply { shared: Arc::clone(&self.shared), number };
        (state.answered, Some(reply))
    }

    fn settled(&self, before: u64) -> bool {
        self.shared.state.lock().settled(before)
    }

    fn last(&self) -> Option<Answer<T>> {
        self.shared.state.lock().last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(60);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
    }

    fn fresh(outcome: &Outcome<u32>) -> Option<u32> {
        match outcome {
            Outcome::Fresh(answer) => Some(*answer.value),
            Outcome::Stale(_) => None,
        }
    }

    fn stale(outcome: &Outcome<u32>) -> Option<u32> {
        match outcome {
            Outcome::Stale(Some(answer)) => Some(*answer.value),
            _ => None,
        }
    }

    #[test]
    fn an_answer_at_once_is_fresh() {
        runtime().block_on(async {
            let inquiry = Inquiry::new();
            for n in 1..=3 {
                let outcome = inquiry
                    .answer(LONG, |reply| {
                        reply.send(n);
                        true
                    })
                    .await;
                assert_eq!(fresh(&outcome), Some(n));
            }
        });
    }

    #[test]
    fn who_is_gone_is_not_waited_for() {
        runtime().block_on(async {
            let inquiry = Inquiry::<u32>::new();
            let outcome = inquiry.answer(LONG, |_| false).await;
            assert!(matches!(outcome, Outcome::Stale(None)));
            // Taken, and then lost on the way.
            let outcome = inquiry.answer(LONG, |_| true).await;
            assert!(matches!(outcome, Outcome::Stale(None)));
        });
    }

    #[test]
    fn a_late_answer_is_kept_and_asks_only_once() {
        runtime().block_on(async {
            let inquiry = Inquiry::new();
            let kept = Mutex::new(None);
            let ask = |reply| {
                assert!(kept.lock().replace(reply).is_none(), "asked twice");
                true
            };
            assert!(matches!(inquiry.answer(SHORT, ask).await, Outcome::Stale(None)));
            assert!(matches!(inquiry.answer(SHORT, ask).await, Outcome::Stale(None)));
            kept.lock().take().unwrap().send(7);
            let outcome = inquiry.answer(SHORT, ask).await;
            assert_eq!(stale(&outcome), Some(7));
        });
    }

    #[test]
    fn a_thread_that_blocks_is_answered_too() {
        let inquiry = Inquiry::new();
        let outcome = inquiry.answer_blocking(LONG, |reply| {
            std::thread::spawn(move || {
                std::thread::sleep(SHORT);
                reply.send(1);
            });
            true
        });
        assert_eq!(fresh(&outcome), Some(1));
        let begin = Instant::now();
        assert_eq!(stale(&inquiry.answer_blocking(LONG, |_| true)), Some(1), "given up");
        assert_eq!(stale(&inquiry.answer_blocking(LONG, |_| false)), Some(1), "nobody there");
        assert!(begin.elapsed() < LONG);
        let kept = Mutex::new(None);
        let ask = |reply| kept.lock().replace(reply).is_none();
        assert_eq!(stale(&inquiry.answer_blocking(SHORT, ask)), Some(1), "too late");
    }

    #[test]
    fn those_who_come_together_share_one_question() {
        runtime().block_on(async {
            let inquiry = Arc::new(Inquiry::new());
            let asked = Arc::new(AtomicUsize::new(0));
            let kept = Arc::new(Mutex::new(None));
            let waiting: Vec<_> = (0..10)
                .map(|_| {
                    let (inquiry, asked, kept) =
                        (Arc::clone(&inquiry), Arc::clone(&asked), Arc::clone(&kept));
                    tokio::spawn(async move {
                        inquiry
                            .answer(LONG, |reply| {
                                asked.fetch_add(1, Ordering::SeqCst);
                                *kept.lock() = Some(reply);
                                true
                            })
                            .await
                    })
                })
                .collect();
            // Until all of them wait.
            tokio::time::sleep(Duration::from_secs(1)).await;
            kept.lock().take().unwrap().send(1);
            for task in waiting {
                assert_eq!(fresh(&task.await.unwrap()), Some(1));
            }
            assert_eq!(asked.load(Ordering::SeqCst), 1);
        });
    }
}
