//! What is open, and the word that it is to end.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

/// Counts the server's open sockets and tells their tasks to stop.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    open: Mutex<Open>,
    closed_one: Condvar,
    stopping: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Open {
    listeners: usize,
    connections: usize,
}

/// A socket that counts as open until this is dropped.
#[derive(Debug)]
pub(crate) struct Opened {
    lifecycle: Arc<Lifecycle>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Listener,
    Connection,
}

impl Lifecycle {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            closed_one: Condvar::new(),
            stopping: watch::Sender::new(false),
        })
    }

    pub(crate) fn open_listener(self: &Arc<Self>) -> Opened {
        self.open.lock().listeners += 1;
        self.opened(Kind::Listener)
    }

    /// Counts a connection, unless `limit` of them are open already.
    pub(crate) fn open_connection(self: &Arc<Self>, limit: usize) -> Option<Opened> {
        let mut open = self.open.lock();
        if open.connections >= limit {
            return None;
        }
        open.connections += 1;
        Some(self.opened(Kind::Connection))
    }

    pub(crate) fn connections(&self) -> usize {
        self.open.lock().connections
    }

    /// Tells all tasks to come to an end.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Comes back when all tasks are told to come to an end.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as `self`, so there is no other end.
        let _ = self.stopping.subscribe().wait_for(|stop| *stop).await;
    }

    /// Blocks until every listener is closed, at most until `deadline`.
    pub(crate) fn wait_for_listeners(&self, deadline: Instant) {
        self.wait_until(deadline, |open| open.listeners == 0);
    }

    /// Blocks until everything is closed, at most until `deadline`, and says
    /// how many connections are still open.
    pub(crate) fn wait_for_all(&self, deadline: Instant) -> usize {
        self.wait_until(deadline, |open| open.listeners + open.connections == 0)
    }

    fn wait_until(&self, deadline: Instant, done: impl Fn(&Open) -> bool) -> usize {
        let mut open = self.open.lock();
        self.closed_one.wait_while_until(&mut open, |open| !done(open), deadline);
        open.connections
    }

    fn opened(self: &Arc<Self>, kind: Kind) -> Opened {
        Opened { lifecycle: Arc::clone(self), kind }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut open = self.lifecycle.open.lock();
        let count = match self.kind {
            Kind::Listener => &mut open.listeners,
            Kind::Connection => &mut open.connections,
        };
        *count = count.saturating_sub(1);
        drop(open);
        self.lifecycle.closed_one.notify_all();
    }
}
