//! What can go wrong when the server starts.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::door::DoorError;

/// Why the server did not start. Nothing is left open or running then.
#[derive(Debug, Error)]
pub enum StartError {
    /// The list of addresses is empty.
    #[error("there is no address to listen on: give at least one, such as 127.0.0.1:8080")]
    NoAddress,
    /// A limit is zero that has to let something through.
    #[error("{setting} must not be 0")]
    Zero {
        /// The setting's name.
        setting: &'static str,
    },
    /// Something listens on this port already.
    #[error(
        "cannot listen on {address}: port {} is in use. Stop what listens there \
         (`ss -ltnp 'sport = :{}'` shows it), or give this listener another port",
        address.port(), address.port()
    )]
    PortInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The operating system reserves this port.
    #[error(
        "cannot listen on {address}: this user may not open port {}. Ports below 1024 \
         need a privilege; give this listener a higher one",
        address.port()
    )]
    PortReserved {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address belongs to no network interface of this host.
    #[error(
        "cannot listen on {address}: this host has no address {}. Give one of its own, \
         or 0.0.0.0 or [::] for all of them",
        address.ip()
    )]
    NoSuchAddress {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The operating system refused for another reason.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// A setting of the door, or a file that it names, cannot be used.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The server's threads could not be started.
    #[error("cannot start the threads of the HTTP server: {0}")]
    Threads(#[source] io::Error),
}

impl StartError {
    /// The error that says what `error`, met while listening on `address`, means.
    pub(crate) fn listen(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse { address },
            io::ErrorKind::PermissionDenied => Self::PortReserved { address },
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress { address },
            _ => Self::Listen { address, error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_says_which_and_what_to_do() {
        let address = "[::1]:8080".parse().unwrap();
        let error = StartError::listen(address, io::ErrorKind::AddrInUse.into());
        assert_eq!(
            error.to_string(),
            "cannot listen on [::1]:8080: port 8080 is in use. Stop what listens there \
             (`ss -ltnp 'sport = :8080'` shows it), or give this listener another port"
        );
    }
}
