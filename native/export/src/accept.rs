//! Taking connections in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::app::App;
use crate::connection::{self, Limits};
use crate::lifecycle::{Lifecycle, Opened};

/// Shortest and longest pause after an accept that failed for want of
/// something, such as file descriptors, that time may bring back.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Most refused connections that are told so at the same time; beyond, they are
/// closed without a word.
const MAX_REFUSALS: usize = 32;

/// What the listeners share.
pub(crate) struct Door {
    pub(crate) app: Arc<App>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) limits: Limits,
    pub(crate) max_connections: usize,
    refusals: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(
        app: Arc<App>,
        lifecycle: Arc<Lifecycle>,
        limits: Limits,
        max_connections: usize,
    ) -> Arc<Self> {
        let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
        Arc::new(Self { app, lifecycle, limits, max_connections, refusals })
    }

    /// Accepts until the server stops, and closes the listener.
    pub(crate) async fn keep(self: Arc<Self>, listener: TcpListener, opened: Opened) {
        tokio::select! {
            () = self.lifecycle.stopped() => {}
            () = self.accept(&listener) => {}
        }
        drop(listener);
        drop(opened);
    }

    async fn accept(&self, listener: &TcpListener) {
        let mut pause = FIRST_PAUSE;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    self.admit(stream, peer);
                }
                Err(error) => {
                    self.app.stats.accept_error();
                    if !concerns_one_connection(&error) {
                        sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
        }
    }

    fn admit(&self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        if let Some(opened) = self.lifecycle.open_connection(self.max_connections) {
            let (app, lifecycle) = (Arc::clone(&self.app), Arc::clone(&self.lifecycle));
            let limits = self.limits;
            tokio::spawn(async move {
                connection::serve(stream, peer.ip(), app, limits, lifecycle).await;
                drop(opened);
            });
            return;
        }
        self.app.stats.rejected();
        if let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() {
            tokio::spawn(async move {
                connection::refuse(stream).await;
                drop(permit);
            });
        }
    }
}

/// Whether the next accept may well succeed: this one met a connection that had
/// gone already, or an error that the network left for it.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}
