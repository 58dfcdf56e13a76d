//! One connection, from its first byte to its last.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::app::App;
use crate::lifecycle::Lifecycle;
use crate::phase::{Phase, PhaseCell};
use crate::stats::{Cut, OTHER_PATH};
use crate::timed_stream::{Deadlines, Missed, TimedStream};

/// What each connection is served with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) deadlines: Deadlines,
    pub(crate) max_headers: usize,
    pub(crate) max_header_bytes: usize,
}

/// hyper takes no smaller buffer than this.
const MIN_BUFFER_BYTES: usize = 8 * 1024;

/// How long, and how many bytes, a client that was refused is listened to. A
/// socket closed with bytes unread resets the connection, and the client might
/// lose the answer that says why.
const LINGER_TIME: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 256 * 1024;

/// Serves a connection until the client or the server has had enough.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    app: Arc<App>,
    limits: Limits,
    lifecycle: Arc<Lifecycle>,
) {
    // A response goes out whole; waiting for more would only delay its end.
    // A socket that refuses this is slower and no worse.
    let _ = stream.set_nodelay(true);
    let phase = PhaseCell::new();
    let mut stream = TimedStream::new(stream, limits.deadlines, phase.clone());
    let result = converse(&mut stream, peer, &app, limits, &phase, &lifecycle).await;

    let cut = match (stream.missed(), result) {
        (Some(Missed::Idle), _) | (None, Ok(())) => None,
        (Some(Missed::Header), _) => Some(Cut::HeaderTimeout),
        (Some(Missed::Write), _) => Some(Cut::WriteTimeout),
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
        let _ = stream.get_ref().set_zero_linger();
    }
}

async fn converse(
    stream: &mut TimedStream<TcpStream>,
    peer: IpAddr,
    app: &Arc<App>,
    limits: Limits,
    phase: &PhaseCell,
    lifecycle: &Lifecycle,
) -> hyper::Result<()> {
    let service = service_fn(|request| Arc::clone(app).respond(request, peer, phase.clone()));
    let connection = Builder::new()
        // The stream keeps this deadline and others: see there.
        .header_read_timeout(None)
        // A client may close its sending half once it has asked.
        .half_close(true)
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

/// Answers a connection for which there is no room, and closes it.
pub(crate) async fn refuse(mut stream: TcpStream) {
    const BODY: &str = "too many connections: try again later\n";
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nretry-after: 1\r\ncache-control: no-store\r\n\
         connection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let answered = timeout(LINGER_TIME, stream.write_all(response.as_bytes())).await;
    if matches!(answered, Ok(Ok(()))) {
        linger(&mut stream).await;
    }
}

/// Ends our side of the conversation and lets the client end its own.
async fn linger(stream: &mut TcpStream) {
    let drain = async {
        stream.shutdown().await?;
        let mut sink = [0; 4 * 1024];
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
