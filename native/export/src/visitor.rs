//! Who is at the other end of a connection.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::door::ClientCertificate;

/// What is known of a connection's client. All who use it run in the
/// connection's own task, so that nothing has to be ordered by it.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) peer: IpAddr,
    pub(crate) certificate: Option<ClientCertificate>,
    in_reserve: bool,
    served: AtomicBool,
    left_body: AtomicBool,
}

impl Visitor {
    /// One for whom there is room, or one in the reserve.
    pub(crate) fn new(
        peer: IpAddr,
        certificate: Option<ClientCertificate>,
        in_reserve: bool,
    ) -> Self {
        let (served, left_body) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { peer, certificate, in_reserve, served, left_body }
    }

    /// Whether only health probes are answered.
    pub(crate) fn is_in_reserve(&self) -> bool {
        self.in_reserve
    }

    /// Notes that a request in the reserve was one that is answered there.
    pub(crate) fn is_served(&self) {
        self.served.store(true, Relaxed);
    }

    pub(crate) fn was_served(&self) -> bool {
        self.served.load(Relaxed)
    }

    /// Notes that a request has a body, which nobody reads.
    pub(crate) fn leaves_a_body(&self) {
        self.left_body.store(true, Relaxed);
    }

    pub(crate) fn left_a_body(&self) -> bool {
        self.left_body.load(Relaxed)
    }
}
