//! The settings of the HTTP server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::door::DoorConfig;
use crate::error::StartError;
use crate::traces::Audience;

/// Where the server listens, what it shows and what it puts up with.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Addresses to listen on; all of them serve the same paths. Port 0 takes
    /// any free port. Default: `127.0.0.1:8080` and `127.0.0.1:8086`.
    pub listen: Vec<SocketAddr>,
    /// Most connections open at once, over all addresses. Beyond it health
    /// probes are answered, and all else with 503. Default: 128.
    pub max_connections: usize,
    /// Most connections of one peer, an IPv4 address or a /64 network of IPv6.
    /// Beyond it, as beyond `max_connections`. Default: 64.
    pub max_connections_per_peer: usize,
    /// Longest wait for the whole head of a request, counted from the
    /// connection's begin or the first byte of a later request. Default: 5 s.
    pub header_timeout: Duration,
    /// Longest time in which a client takes no byte of a response before the
    /// connection is cut. Default: 30 s.
    pub write_timeout: Duration,
    /// Bytes a second that a client has to take of a response on average, once
    /// `write_timeout` has passed. Default: 16 KiB.
    pub min_send_rate: u32,
    /// How long a connection is kept open between two requests. Default: 120 s.
    pub idle_timeout: Duration,
    /// Longest wait of a scrape for fresh figures of the Erlang VM; after that
    /// the last known ones are served and marked as stale. Default: 500 ms.
    pub vm_timeout: Duration,
    /// Longest wait of a health probe for the Erlang VM's answer. Below one
    /// second, the default time-out of a Kubernetes probe. Default: 500 ms.
    pub health_timeout: Duration,
    /// Who is shown the details of the checks, which may hold names and
    /// addresses; all others see their states. Default: [`Audience::Loopback`].
    pub health_details: Audience,
    /// Most header fields in a request; more are answered with 431. Default: 64.
    pub max_headers: usize,
    /// Largest head of a request in bytes; a larger one is answered with 431.
    /// Default: 16 KiB.
    pub max_header_bytes: usize,
    /// Whether `/metrics` includes the `process_*` families. Default: yes.
    pub process_metrics: bool,
    /// Who may see `/debug/traces`. Default: [`Audience::Loopback`].
    pub debug_traces: Audience,
    /// Who may come in. Default: everybody.
    pub door: DoorConfig,
    /// The version that `/health` reports. Default: this crate's.
    pub version: String,
    /// The node name that `/health` reports until the Erlang VM has given its
    /// own. Default: `nonode@nohost`.
    pub node: String,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: [8080, 8086].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).to_vec(),
            max_connections: 128,
            max_connections_per_peer: 64,
            header_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(30),
            min_send_rate: 16 * 1024,
            idle_timeout: Duration::from_secs(120),
            vm_timeout: Duration::from_millis(500),
            health_timeout: Duration::from_millis(500),
            health_details: Audience::default(),
            max_headers: 64,
            max_header_bytes: 16 * 1024,
            process_metrics: true,
            debug_traces: Audience::default(),
            door: DoorConfig::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: "nonode@nohost".to_owned(),
        }
    }
}

impl ServerConfig {
    /// Refuses settings with which no request could ever be answered.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        if self.listen.is_empty() {
            return Err(StartError::NoAddress);
        }
        let at_least_one = [
            ("max_connections", self.max_connections == 0),
            ("max_connections_per_peer", self.max_connections_per_peer == 0),
            ("min_send_rate", self.min_send_rate == 0),
            ("handshake_timeout", self.door.handshake_timeout.is_zero()),
            ("reload_interval", self.door.reload_interval.is_zero()),
            ("header_timeout", self.header_timeout.is_zero()),
            ("write_timeout", self.write_timeout.is_zero()),
            ("idle_timeout", self.idle_timeout.is_zero()),
            ("max_headers", self.max_headers == 0),
            ("max_header_bytes", self.max_header_bytes == 0),
        ];
        match at_least_one.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((setting, _)) => Err(StartError::Zero { setting }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass() {
        ServerConfig::default().check().unwrap();
    }

    #[test]
    fn what_could_serve_nobody_is_refused_by_name() {
        let no_address = ServerConfig { listen: Vec::new(), ..ServerConfig::default() };
        assert!(matches!(no_address.check(), Err(StartError::NoAddress)));
        let no_connection = ServerConfig { max_connections: 0, ..ServerConfig::default() };
        let error = no_connection.check().unwrap_err();
        assert_eq!(error.to_string(), "max_connections must not be 0");
    }
}
