//! Addresses that stay a test's own when nothing listens there.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// A loopback address on which nothing listens. Its port is none of those that the
/// system gives to who asks for any, so no other test has it by chance before
/// somebody binds it, or after he has let it go.
pub(crate) fn nowhere() -> SocketAddr {
    const PORTS: std::ops::Range<u16> = 12_000..32_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % u32::from(PORTS.end - PORTS.start);
    for _ in PORTS {
        let n = (first + u32::from(NEXT.fetch_add(1, Relaxed))) % PORTS.len() as u32;
        let address = SocketAddr::from(([127, 0, 0, 1], PORTS.start + n as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}
