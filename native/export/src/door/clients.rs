//! Clients that have shown a certificate.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::tls::Tls;

/// How long a certificate that was valid is taken for valid without another
/// look at the clock.
const VALID_FOR: Duration = Duration::from_secs(60);

/// A certificate that was verified in a handshake, and whose it is.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    names: Vec<String>,
    /// Which authorities it was last verified against, and when, if it was since
    /// the connection's begin.
    verified: Mutex<Option<(u64, Instant)>>,
}

impl ClientCertificate {
    /// Of a chain that was verified just now, against the authorities of this
    /// generation; or some time ago, where a session was resumed.
    pub(crate) fn new(chain: &[CertificateDer<'_>], verified: Option<u64>) -> Option<Self> {
        let chain: Vec<_> = chain.iter().map(|der| der.clone().into_owned()).collect();
        let names = names(chain.first()?);
        let verified = verified.map(|generation| (generation, Instant::now()));
        Some(Self { chain, names, verified: Mutex::new(verified) })
    }

    /// The subject's common name and what the certificate is issued for beside.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is valid still: its time may have passed, or its authority
    /// may be known no longer, while the connection was open.
    pub(crate) fn is_valid(&self, tls: &Tls) -> bool {
        let current = tls.current();
        let mut verified = self.verified.lock();
        let lately = |(generation, at): (u64, Instant)| {
            generation == current.generation && at.elapsed() < VALID_FOR
        };
        if verified.is_some_and(lately) {
            return true;
        }
        let valid = current.verifies(&self.chain);
        *verified = valid.then(|| (current.generation, Instant::now()));
        valid
    }
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let mut names: Vec<String> = certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok().map(str::to_owned))
        .collect();
    if let Ok(Some(others)) = certificate.subject_alternative_name() {
        names.extend(others.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
                Some((*text).to_owned())
            }
            _ => None,
        }));
    }
    names
}
