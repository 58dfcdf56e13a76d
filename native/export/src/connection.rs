//! One connection, from its first byte to its last.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::accept::Door;
use crate::app::App;
use crate::door::{Place, Stream, displaced};
use crate::handshake;
use crate::lifecycle::Lifecycle;
use crate::phase::{Phase, PhaseCell};
use crate::stats::{Cut, OTHER_PATH};
use crate::timed_stream::{Deadlines, Missed, TimedStream};
use crate::visitor::Visitor;

/// What each connection is served with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) deadlines: Deadlines,
    pub(crate) max_headers: usize,
    pub(crate) max_header_bytes: usize,
    pub(crate) handshake: Duration,
}

/// The room that a connection has.
#[derive(Debug)]
pub(crate) enum Seat {
    /// One of those for everybody.
    Regular,
    /// One of the few for health probes when there is no other.
    Reserve(Place),
}

impl Seat {
    fn reserved(&mut self) -> Option<&mut Place> {
        match self {
            Self::Regular => None,
            Self::Reserve(place) => Some(place),
        }
    }
}

/// How long a connection in the reserve may take for its handshake, and again
/// for its request.
const RESERVE_TIME: Duration = Duration::from_secs(1);

/// hyper takes no smaller buffer than this.
const MIN_BUFFER_BYTES: usize = 8 * 1024;

/// How long, and how many bytes, a client that was refused is listened to. A
/// socket closed with bytes unread resets the connection, and the client might
/// lose the answer that says why: it has to send all that its own and our socket
/// hold (on loopback some MB) before it looks, and may be slow to look.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 8 * 1024 * 1024;

/// Serves a connection until the client or the server has had enough.
pub(crate) async fn serve(stream: TcpStream, peer: IpAddr, mut seat: Seat, door: &Door) {
    // A response goes out whole; waiting for more would only delay its end.
    // A socket that refuses this is slower and no worse.
    let _ = stream.set_nodelay(true);
    let in_reserve = matches!(seat, Seat::Reserve(_));
    let mut limits = door.limits;
    if in_reserve {
        limits.deadlines.header = limits.deadlines.header.min(RESERVE_TIME);
        limits.handshake = limits.handshake.min(RESERVE_TIME);
    }
    let conversation = async {
        let longest = limits.handshake;
        let (stream, certificate) =
            handshake::begin(stream, peer, in_reserve, longest, door).await?;
        let visitor = Arc::new(Visitor::new(peer, certificate, in_reserve));
        attend(stream, &visitor, limits, door).await;
        Some(visitor)
    };
    let visitor = tokio::select! {
        visitor = conversation => visitor,
        () = displaced(seat.reserved()) => None,
    };
    if in_reserve && !visitor.is_some_and(|visitor| visitor.was_served()) {
        door.app.stats.rejected();
    }
}

async fn attend(stream: Stream, visitor: &Arc<Visitor>, limits: Limits, door: &Door) {
    let Door { app, lifecycle, .. } = door;
    let phase = PhaseCell::new();
    let mut stream = TimedStream::new(stream, limits.deadlines, phase.clone());
    let result = converse(&mut stream, visitor, app, limits, &phase, lifecycle).await;

    let cut = match (stream.missed(), result) {
        (None, Ok(())) if visitor.left_a_body() => {
            linger(stream.get_mut()).await;
            None
        }
        (Some(Missed::Idle), _) | (None, Ok(())) => None,
        (Some(Missed::Header), _) => Some(Cut::HeaderTimeout),
        (Some(Missed::Write), _) => Some(Cut::WriteTimeout),
        (Some(Missed::Rate), _) => Some(Cut::SlowReader),
        (None, Err(error)) => match refusal(&error) {
            Some(code) => {
                app.stats.request(OTHER_PATH, code);
                linger(stream.get_mut()).await;
                None
            }
            None => stream.interrupted().then_some(Cut::ClientGone),
        },
    };
    if let Some(reason) = cut {
        app.stats.cut(reason);
        // Nobody takes what is still in the kernel's buffer: it would be held
        // there for minutes.
        let _ = stream.get_ref().tcp().set_zero_linger();
    }
}

async fn converse(
    stream: &mut TimedStream<Stream>,
    visitor: &Arc<Visitor>,
    app: &Arc<App>,
    limits: Limits,
    phase: &PhaseCell,
    lifecycle: &Lifecycle,
) -> hyper::Result<()> {
    let service =
        service_fn(|request| Arc::clone(app).respond(request, Arc::clone(visitor), phase.clone()));
    let connection = Builder::new()
        // The stream keeps this deadline and others: see there.
        .header_read_timeout(None)
        // A client may close its sending half once it has asked.
        .half_close(true)
        .keep_alive(!visitor.is_in_reserve())
        .max_headers(limits.max_headers)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(limits.max_header_bytes.max(MIN_BUFFER_BYTES))
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        () = lifecycle.stopped() => {}
    }
    // hyper would wait for the rest of a head, up to its deadline.
    if phase.get().phase == Phase::Head {
        return Ok(());
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// The status with which hyper itself refused a request.
fn refusal(error: &hyper::Error) -> Option<u16> {
    if error.is_parse_too_large() {
        Some(431)
    } else if error.is_parse() {
        Some(400)
    } else {
        None
    }
}

/// Ends our side of the conversation and lets the client end its own.
pub(crate) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let drain = async {
        stream.shutdown().await?;
        // On the heap: on the stack it would be part of every connection.
        let mut sink = vec![0; 16 * 1024];
        let mut drained = 0;
        while drained < LINGER_BYTES {
            match stream.read(&mut sink).await? {
                0 => break,
                n => drained += n,
            }
        }
        io::Result::Ok(())
    };
    // However it ends, the connection is over.
    let _ = timeout(LINGER_TIME, drain).await;
}
