//! Who may see the traces.
//!
//! Spans hold what an application handles. Unless it is told otherwise, the
//! server shows them only to this host, and a browser on this host only when it
//! was asked for this host: a page from elsewhere whose name was made to
//! resolve to 127.0.0.1 ("DNS rebinding") asks under its own name.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, HeaderName};
use hyper::http::uri::Authority;

/// Who may see what is not for everybody: `/debug/traces`, the details of
/// `/health`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Audience {
    /// Nobody.
    Off,
    /// Clients on this host that ask for it by a loopback name.
    #[default]
    Loopback,
    /// Whoever can reach the listener.
    Open,
}

impl Audience {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Off, Self::Loopback, Self::Open];

    /// The value's name, as settings give it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Loopback => "loopback",
            Self::Open => "open",
        }
    }

    /// The value with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == name)
    }
}

/// What a proxy adds to a request that it passes on. The client is elsewhere
/// then, though the proxy may be on this host.
const PROXIED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Why a request is refused, for the client to read.
pub(crate) fn refusal(
    setting: Audience,
    peer: IpAddr,
    target: Option<&Authority>,
    headers: &HeaderMap,
) -> Option<&'static str> {
    match setting {
        Audience::Open => return None,
        Audience::Off => return Some("Traces are not shown here: debug_traces is off.\n"),
        Audience::Loopback => {}
    }
    if !peer.to_canonical().is_loopback() {
        return Some(
            "Traces are shown only to clients on the node's own host, because debug_traces is \
             loopback.\nAsk from there, for example through `ssh -L 8080:127.0.0.1:8080`, or set \
             debug_traces to open if whoever reaches this port may see what spans hold.\n",
        );
    }
    if PROXIED.iter().any(|name| headers.contains_key(HeaderName::from_static(name))) {
        return Some(
            "This request came through a proxy, and debug_traces is loopback: traces are shown \
             only to clients on the node's own host.\nSet debug_traces to open if whoever \
             reaches the proxy may see what spans hold.\n",
        );
    }
    let mut hosts = headers.get_all(HOST).iter().peekable();
    let named = hosts.peek().is_some()
        && hosts.all(|host| host.to_str().is_ok_and(is_loopback_name))
        && target.is_none_or(|target| is_loopback_name(target.as_str()));
    (!named).then_some(
        "Traces are shown only to those who ask for localhost, 127.0.0.1 or [::1], because \
         debug_traces is loopback: the Host header of this request names something else.\n\
         Use one of these names, or set debug_traces to open.\n",
    )
}

/// Whether a client may see what is for this audience.
pub(crate) fn admits(
    audience: Audience,
    peer: IpAddr,
    target: Option<&Authority>,
    headers: &HeaderMap,
) -> bool {
    refusal(audience, peer, target, headers).is_none()
}

/// Whether a Host header, with or without a port, can only mean this host.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => {
            if port.parse::<u16>().is_err() {
                return false;
            }
            name
        }
        _ => host,
    };
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse().is_ok_and(|address: std::net::Ipv6Addr| address.is_loopback());
    }
    name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn refused(setting: Audience, peer: &str, lines: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        refusal(setting, peer.parse().unwrap(), None, &headers).is_some()
    }

    #[test]
    fn only_this_host_by_its_own_names() {
        let loopback = |peer, host| refused(Audience::Loopback, peer, &[("host", host)]);
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!loopback(peer, "localhost:8080"), "{peer}");
        }
        for peer in ["10.0.0.1", "192.168.1.2", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0"] {
            assert!(loopback(peer, "localhost:8080"), "{peer}");
        }
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8"]
        {
            assert!(!loopback("::1", host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:8080:evil",
            "localhost:",
            "localhost:99999",
            "user@localhost",
            "[::1].evil.example",
            "[::2]",
            "::1",
            "10.0.0.1:8080",
            "2130706433",
        ] {
            assert!(loopback("127.0.0.1", host), "{host}");
        }
        assert!(refused(Audience::Loopback, "::1", &[]), "without a Host");
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(refused(Audience::Loopback, "::1", &two));
    }

    #[test]
    fn the_target_counts_as_a_host() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let peer = "127.0.0.1".parse().unwrap();
        let refused = |target: &str| {
            let target = target.parse().unwrap();
            refusal(Audience::Loopback, peer, Some(&target), &headers).is_some()
        };
        assert!(refused("evil.example:8080"));
        assert!(!refused("127.0.0.1:8080"));
    }

    #[test]
    fn a_proxy_on_this_host_is_not_this_host() {
        for name in PROXIED {
            let lines = [("host", "127.0.0.1:8080"), (name, "10.1.1.1")];
            assert!(refused(Audience::Loopback, "127.0.0.1", &lines), "{name}");
            assert!(!refused(Audience::Open, "127.0.0.1", &lines), "{name}");
        }
    }

    #[test]
    fn names_lead_back_to_their_values() {
        assert!(Audience::ALL.into_iter().all(|v| Audience::from_name(v.as_str()) == Some(v)));
        assert_eq!(Audience::from_name("Open"), None);
    }

    #[test]
    fn off_is_off_and_open_is_open() {
        assert!(refused(Audience::Off, "127.0.0.1", &[("host", "localhost")]));
        assert!(!refused(Audience::Open, "10.0.0.1", &[("host", "node.example")]));
    }
}
