//! What the door counts about itself.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use erlmcp_metrics::{Family, FamilyKind, Number};
use parking_lot::Mutex;

use super::tls::Tls;
use crate::family::{labelled, single};

/// Why a TLS connection did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HandshakeFailure {
    /// It took too long.
    Timeout,
    /// Others came, and this one had waited for longest.
    Displaced,
    /// The client spoke HTTP without TLS.
    PlainHttp,
    /// The client's certificate is not one of a known authority, or not valid.
    ClientCertificate,
    /// The client does not accept what it was shown.
    ClientAlert,
    /// The client went away.
    ClientGone,
    /// Anything else: no common version, bytes that are no TLS.
    Protocol,
}

impl HandshakeFailure {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Displaced => "displaced",
            Self::PlainHttp => "plain_http",
            Self::ClientCertificate => "client_certificate",
            Self::ClientAlert => "client_alert",
            Self::ClientGone => "client_gone",
            Self::Protocol => "protocol",
        }
    }
}

/// Counts of the door, and the families that show them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    handshakes: Mutex<BTreeMap<HandshakeFailure, u64>>,
    reloads: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    authenticated: Mutex<BTreeMap<&'static str, u64>>,
    /// Whose certificate's end is shown.
    tls: OnceLock<Arc<Tls>>,
}

impl Counts {
    pub(crate) fn handshake_failed(&self, reason: HandshakeFailure) {
        *self.handshakes.lock().entry(reason).or_default() += 1;
    }

    /// Files of a kind were read again.
    pub(crate) fn reloaded(&self, what: &'static str, well: bool) {
        let result = if well { "success" } else { "failure" };
        *self.reloads.lock().entry((what, result)).or_default() += 1;
    }

    /// A method is there: its count is shown from now on.
    pub(crate) fn method(&self, method: &'static str) {
        self.authenticated.lock().entry(method).or_default();
    }

    /// Files of a kind are there: their counts are shown from now on.
    pub(crate) fn watched(&self, what: &'static str) {
        let mut reloads = self.reloads.lock();
        for result in ["success", "failure"] {
            reloads.entry((what, result)).or_default();
        }
    }

    pub(crate) fn authenticated(&self, method: &'static str) {
        *self.authenticated.lock().entry(method).or_default() += 1;
    }

    /// TLS is spoken: its figures are shown from now on.
    pub(crate) fn tls(&self, tls: &Arc<Tls>) {
        // A server has one and says so once.
        let _ = self.tls.set(Arc::clone(tls));
    }

    /// Appends the families of what there is.
    pub(crate) fn append_to(&self, families: &mut Vec<Family>) {
        if let Some(tls) = self.tls.get() {
            families.push(single(
                "erlmcp_http_tls_certificate_expiry_timestamp_seconds",
                FamilyKind::Gauge,
                "When the certificate of the HTTP server ends, in seconds since 1970.",
                Number::Int(tls.current().expiry),
            ));
            let handshakes = self.handshakes.lock().clone();
            families.push(labelled(
                "erlmcp_http_tls_handshake_failures_total",
                FamilyKind::Counter,
                "TLS handshakes with the HTTP server that failed, by reason.",
                handshakes.iter().map(|(reason, n)| ([("reason", reason.as_str())], *n)),
            ));
        }
        let reloads = self.reloads.lock().clone();
        if !reloads.is_empty() {
            families.push(labelled(
                "erlmcp_http_credential_reloads_total",
                FamilyKind::Counter,
                "Changed files of certificates, tokens and passwords that were read again, by \
                 kind and result.",
                reloads
                    .iter()
                    .map(|((what, result), n)| ([("kind", *what), ("result", *result)], *n)),
            ));
        }
        let authenticated = self.authenticated.lock().clone();
        if !authenticated.is_empty() {
            families.push(labelled(
                "erlmcp_http_authenticated_requests_total",
                FamilyKind::Counter,
                "Requests to the HTTP server by clients that showed who they are, by method.",
                authenticated.iter().map(|(method, n)| ([("method", *method)], *n)),
            ));
        }
    }
}
