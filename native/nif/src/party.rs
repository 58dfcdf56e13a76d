//! A process that threads which are not the VM's put questions to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::raw::{CallEnv, LocalPid, RawTerm, TermStore};

/// Numbers the questions, those of all parties.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
/// Answers that were never given are forgotten once there are this many.
const MAX_PENDING: usize = 64;

/// The process, and the ways back for what it has been asked.
#[derive(Debug)]
pub(crate) struct Party<T> {
    process: Mutex<Option<LocalPid>>,
    pending: Mutex<Option<HashMap<u64, T>>>,
}

impl<T> Party<T> {
    pub(crate) const fn new() -> Self {
        Self { process: Mutex::new(None), pending: Mutex::new(None) }
    }

    /// Names the process that is asked from now on. What its predecessor was
    /// asked will have no answer: dropped, so that nobody waits for it.
    pub(crate) fn register(&self, process: LocalPid) {
        *self.process.lock() = Some(process);
        let unanswered = self.pending.lock().take();
        drop(unanswered);
    }

    /// Sends the message that `question` makes of the question's number, and
    /// keeps the way back. `false` if nobody is there; the way back is dropped
    /// then, which tells those who wait.
    pub(crate) fn ask(
        &self,
        reply: T,
        question: impl FnOnce(CallEnv<'_>, RawTerm) -> RawTerm,
    ) -> bool {
        let Some(process) = *self.process.lock() else { return false };
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let forgotten = {
            let mut pending = self.pending.lock();
            let pending = pending.get_or_insert_default();
            let full = pending.len() >= MAX_PENDING;
            let forgotten = if full { std::mem::take(pending) } else { HashMap::new() };
            pending.insert(id, reply);
            forgotten
        };
        drop(forgotten);
        let mut store = TermStore::new();
        let env = store.env();
        let message = question(env, env.uint(id));
        let sent = store.send_from_outside(process, message);
        if !sent {
            drop(self.take(id));
        }
        sent
    }

    /// The way back for the answer to a question; none if it was given or
    /// forgotten.
    pub(crate) fn take(&self, id: u64) -> Option<T> {
        self.pending.lock().as_mut()?.remove(&id)
    }
}
