//! Taking connections in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::app::App;
use crate::connection::{self, Limits, Seat};
use crate::door::{PeerKey, Shares, Turnover};
use crate::lifecycle::{Lifecycle, Opened};

/// Shortest and longest pause after an accept that failed for want of
/// something, such as file descriptors, that time may bring back.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connections beyond those for which there is room: health probes among them
/// are answered, all others told that there is none. One more closes the oldest
/// of them, so that a crowd cannot keep a probe out.
const RESERVE: usize = 64;

/// What there is room for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) connections: usize,
    pub(crate) a_peer: usize,
    pub(crate) handshakes: usize,
}

/// What the listeners share.
pub(crate) struct Door {
    pub(crate) app: Arc<App>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) limits: Limits,
    pub(crate) handshakes: Arc<Turnover>,
    max_connections: usize,
    shares: Arc<Shares>,
    reserve: Arc<Turnover>,
}

impl Door {
    pub(crate) fn new(
        app: Arc<App>,
        lifecycle: Arc<Lifecycle>,
        limits: Limits,
        room: Room,
    ) -> Arc<Self> {
        Arc::new(Self {
            app,
            lifecycle,
            limits,
            handshakes: Turnover::new(room.handshakes),
            max_connections: room.connections,
            shares: Shares::new(room.a_peer),
            reserve: Turnover::new(RESERVE),
        })
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

    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
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

    fn admit(self: &Arc<Self>, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let share = self.shares.take(PeerKey::of(peer.ip()));
        let opened = match share.is_some() {
            true => self.lifecycle.open_connection(self.max_connections),
            false => None,
        };
        let seat = match opened.is_some() {
            true => Seat::Regular,
            false => Seat::Reserve(self.reserve.enter()),
        };
        let door = Arc::clone(self);
        tokio::spawn(async move {
            connection::serve(stream, peer.ip(), seat, &door).await;
            drop((opened, share));
        });
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
