//! Addresses that stay a test's own when nothing listens there.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A loopback address on which nothing listens. Its port is none of those that the
/// system gives to who asks for any, so no other test has it by chance before
/// somebody binds it, or after he has let it go.
pub(crate) fn nowhere() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = || {
        let number = std::process::id() + NEXT.fetch_add(1, Relaxed);
        SocketAddr::from(([127, 0, 0, 1], 20_000 + (number % 10_000) as u16))
    };
    let mut addresses = std::iter::repeat_with(next).take(10_000);
    addresses.find(|address| TcpListener::bind(address).is_ok()).expect("no port is free")
}
