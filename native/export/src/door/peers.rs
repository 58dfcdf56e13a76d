//! Peers: whoever can have one address has all of its network's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// An IPv4 address, or the first 64 bits of one of IPv6: a host can take any of
/// the addresses behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PeerKey {
    V4(Ipv4Addr),
    V6(u64),
}

impl PeerKey {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// How many connections each peer has.
#[derive(Debug)]
pub(crate) struct Shares {
    most: usize,
    open: Mutex<HashMap<PeerKey, usize>>,
}

/// A connection of a peer, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    peer: PeerKey,
}

impl Shares {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// Counts a connection, unless the peer has its share already.
    pub(crate) fn take(self: &Arc<Self>, peer: PeerKey) -> Option<Share> {
        let mut open = self.open.lock();
        let count = open.entry(peer).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Share { shares: Arc::clone(self), peer })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.shares.open.lock();
        if let Some(count) = open.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PeerKey {
        PeerKey::of(text.parse().unwrap())
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
        assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    }

    #[test]
    fn each_peer_has_its_share_and_nothing_stays() {
        let shares = Shares::new(2);
        let held = [shares.take(key("::1")), shares.take(key("::1")), shares.take(key("10.1.1.1"))];
        assert!(held.iter().all(Option::is_some));
        assert!(shares.take(key("::1")).is_none());
        assert!(shares.take(key("10.1.1.1")).is_some());
        drop(held);
        assert!(shares.open.lock().is_empty());
    }
}
