//! The begin of a connection: TLS, where it is spoken.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustls::{Error, HandshakeKind};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::accept::Door;
use crate::connection::linger;
use crate::door::{ClientCertificate, Failure, HandshakeFailure, Stream, Tls, displaced};

/// What those are told who speak HTTP where TLS is spoken.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
     content-length: 57\r\nconnection: close\r\n\r\n\
     This port speaks HTTPS: ask again with https:// instead.\n";

/// Makes of a connection what HTTP can be spoken on, with the client's
/// certificate if it has shown one. None where that fails, which is counted.
///
/// One in the reserve takes no place among the handshakes, so that a peer beyond
/// its share displaces nobody's: its place in the reserve bounds it.
pub(crate) async fn begin(
    stream: TcpStream,
    peer: IpAddr,
    in_reserve: bool,
    longest: Duration,
    door: &Door,
) -> Option<(Stream, Option<ClientCertificate>)> {
    let Some(tls) = door.app.gate.tls() else {
        return Some((Stream::Plain(stream), None));
    };
    let mut place = (!in_reserve).then(|| door.handshakes.enter());
    let shaken = tokio::select! {
        shaken = timeout(longest, shake_hands(stream, tls)) => match shaken {
            Ok(shaken) => shaken,
            Err(_) => Err((HandshakeFailure::Timeout, None)),
        },
        () = displaced(place.as_mut()) => Err((HandshakeFailure::Displaced, None)),
        () = door.lifecycle.stopped() => return None,
    };
    drop(place);
    match shaken {
        Ok(shaken) => Some(shaken),
        Err((reason, stream)) => {
            door.app.stats.door.handshake_failed(reason);
            if reason == HandshakeFailure::ClientCertificate {
                door.app.gate.refused(Failure::Certificate, peer, "a TLS handshake", None);
            }
            if let Some(mut stream) = stream {
                linger(&mut stream).await;
            }
            None
        }
    }
}

type Shaken = (Stream, Option<ClientCertificate>);
type Unshaken = (HandshakeFailure, Option<TcpStream>);

async fn shake_hands(mut stream: TcpStream, tls: &Tls) -> Result<Shaken, Unshaken> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => {}
        _ => return Err((HandshakeFailure::ClientGone, None)),
    }
    // A method's first letter; TLS begins with the byte 22.
    if first.iter().all(u8::is_ascii_alphabetic) {
        // Whether it comes through makes no difference here.
        let _ = stream.write_all(SPEAK_TLS.as_bytes()).await;
        return Err((HandshakeFailure::PlainHttp, Some(stream)));
    }
    let loaded = tls.current();
    let accepting = TlsAcceptor::from(loaded.config.clone()).accept(stream).into_fallible();
    match accepting.await {
        Ok(stream) => {
            let (_, session) = stream.get_ref();
            let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
            let verified = (!is_resumed).then_some(loaded.generation);
            let chain = session.peer_certificates().unwrap_or_default();
            let certificate = ClientCertificate::new(chain, verified);
            Ok((Stream::Tls(Box::new(stream)), certificate))
        }
        Err((error, stream)) => Err((reason(&error), Some(stream))),
    }
}

fn reason(error: &io::Error) -> HandshakeFailure {
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => {
            HandshakeFailure::ClientCertificate
        }
        Some(Error::AlertReceived(_)) => HandshakeFailure::ClientAlert,
        Some(_) => HandshakeFailure::Protocol,
        None => HandshakeFailure::ClientGone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_text() {
        let (head, body) = SPEAK_TLS.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
