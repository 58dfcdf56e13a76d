//! Listening sockets.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::StartError;

/// Connections that the kernel keeps ready until they are accepted.
const BACKLOG: i32 = 1_024;

/// The kernel's buffer for what a connection has not delivered yet. Left to
/// itself Linux lets it grow to megabytes, which a slow reader would hold; and
/// as a full one takes more only once a third of it is free, such a reader
/// would seem to make no progress for minutes.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// Listens on every address, or on none and says which one it was.
pub(crate) fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for (index, &address) in addresses.iter().enumerate() {
        // The same port twice would fail as "in use" and blame a stranger.
        let repeated = address.port() != 0 && addresses.iter().take(index).any(|a| *a == address);
        if !repeated {
            let listener = listen_on(address, has_ipv4_twin(address, addresses))
                .map_err(|error| StartError::listen(address, error))?;
            listeners.push(listener);
        }
    }
    Ok(listeners)
}

/// Whether `[::]` has to leave IPv4 to a listener of its own on the same port.
fn has_ipv4_twin(address: SocketAddr, addresses: &[SocketAddr]) -> bool {
    address.ip() == Ipv6Addr::UNSPECIFIED
        && addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port())
}

fn listen_on(address: SocketAddr, only_ipv6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a server that just ended linger on its port for a minute:
    // without this a restart would find it in use.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_ipv6)?;
    }
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_given_twice_is_one_listener() {
        let first = listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = first.first().unwrap().local_addr().unwrap();
        drop(first);
        assert_eq!(listen(&[address, address]).unwrap().len(), 1);
    }

    #[test]
    fn accepted_connections_have_a_bounded_buffer() {
        let listeners = listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let listener = listeners.first().unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        // Linux doubles it, for its own bookkeeping.
        let bytes = socket2::SockRef::from(&accepted).send_buffer_size().unwrap();
        assert!(bytes <= 2 * SEND_BUFFER_BYTES, "{bytes}");
    }

    #[test]
    fn both_families_share_a_port() {
        let v4 = listen(&["0.0.0.0:0".parse().unwrap()]).unwrap();
        let port = v4.first().unwrap().local_addr().unwrap().port();
        drop(v4);
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let v4 = SocketAddr::from(([0, 0, 0, 0], port));
        if listen(&[v6]).is_err() {
            return; // a host without IPv6
        }
        assert_eq!(listen(&[v4, v6]).unwrap().len(), 2);
        assert_eq!(listen(&[v6, v4]).unwrap().len(), 2);
    }
}
