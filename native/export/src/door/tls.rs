//! TLS towards clients: what the server shows, and whose certificates it knows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::DoorError;
use super::file::NamedFile;
use super::reload::{Contents, Made, Reloaded};
use super::settings::TlsFiles;
use crate::rfc3339;

/// The kind of files, in counts and messages.
const WHAT: &str = "certificate";

const CERT_SETTING: &str = "http_tls_cert_file";
const KEY_SETTING: &str = "http_tls_key_file";
const CA_SETTING: &str = "http_tls_client_ca_file";

/// Numbers what is loaded, so that connections can tell that it has changed.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// TLS as it is spoken now. Connections keep what they began with.
#[derive(Debug)]
pub(crate) struct Tls {
    loaded: Arc<Reloaded<Loaded>>,
}

/// What was made of the files.
pub(crate) struct Loaded {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) generation: u64,
    /// Seconds since 1970.
    pub(crate) expiry: i64,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Whether a client's chain is one of a known authority, and valid now.
    pub(crate) fn verifies(&self, chain: &[CertificateDer<'_>]) -> bool {
        match (&self.clients, chain) {
            (Some(clients), [certificate, between @ ..]) => {
                clients.verify_client_cert(certificate, between, UnixTime::now()).is_ok()
            }
            _ => false,
        }
    }
}

impl Tls {
    /// Reads the files.
    pub(crate) fn open(files: &TlsFiles) -> Result<Self, DoorError> {
        let mut named = vec![
            NamedFile::public(CERT_SETTING, &files.cert_file),
            NamedFile::secret(KEY_SETTING, &files.key_file),
        ];
        let ca = files.client_ca_file.as_deref();
        named.extend(ca.map(|file| NamedFile::public(CA_SETTING, file)));
        let only_tls13 = files.only_tls13;
        let make =
            move |files: &[NamedFile], contents: &Contents| make(files, contents, only_tls13);
        Ok(Self { loaded: Reloaded::open(WHAT, named, make)? })
    }

    pub(crate) fn current(&self) -> Arc<Loaded> {
        self.loaded.get()
    }

    pub(crate) fn watched(&self) -> Arc<Reloaded<Loaded>> {
        Arc::clone(&self.loaded)
    }
}

fn make(
    files: &[NamedFile],
    contents: &Contents,
    only_tls13: bool,
) -> Result<Made<Loaded>, DoorError> {
    let mut named = files.iter().zip(contents);
    let (Some((cert_file, cert)), Some((key_file, key))) = (named.next(), named.next()) else {
        return Err(DoorError::Incomplete { given: CERT_SETTING, missing: KEY_SETTING });
    };
    let chain = certificates(cert_file, cert)?;
    let (expiry, warning) = validity(cert_file, &chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        key_file.problem("there is no private key in PEM format in it, or it is encrypted")
    })?;
    let clients = named.next().map(|(file, bytes)| verifier(file, bytes)).transpose()?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = if only_tls13 { vec![&TLS13] } else { vec![&TLS13, &TLS12] };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| cert_file.problem(error.to_string()))?;
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        key_file.problem(format!(
            "{error}. Is it the key of the certificate in {}?",
            cert_file.path.display()
        ))
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let generation = GENERATION.fetch_add(1, Relaxed);
    let value = Loaded { config: Arc::new(config), generation, expiry, clients };
    Ok(Made { value, warning })
}

/// Asks for certificates and verifies those that are shown. Who shows none is
/// let in: some paths are for everybody.
fn verifier(file: &NamedFile, bytes: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, DoorError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, bytes)? {
        roots.add(certificate).map_err(|error| {
            file.problem(format!("a certificate in it is not one of an authority: {error}"))
        })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| file.problem(error.to_string()))?;
    Ok(verifier)
}

fn certificates(file: &NamedFile, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, DoorError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| file.problem(format!("it is not in PEM format: {error}")))?;
    match certificates.is_empty() {
        true => Err(file.problem("there is no certificate in PEM format in it")),
        false => Ok(certificates),
    }
}

/// When the first certificate ends, and what to warn of.
fn validity(
    file: &NamedFile,
    chain: &[CertificateDer<'_>],
) -> Result<(i64, Option<String>), DoorError> {
    let first = chain.first().and_then(|der| X509Certificate::from_der(der).ok());
    let Some((_, first)) = first else {
        return Err(file.problem("the first certificate in it cannot be read"));
    };
    let validity = first.validity();
    let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let state = match () {
        () if now > end => Some(("has expired: clients will refuse it. Renew it", end)),
        () if now < begin => Some(("is not valid yet: is this host's clock right", begin)),
        () => None,
    };
    let warning = state.map(|(state, at)| {
        let at = u64::try_from(at).unwrap_or_default();
        let at = rfc3339::format(UNIX_EPOCH + Duration::from_secs(at));
        format!("{CERT_SETTING}: the certificate in {} {state} ({at}).", file.path.display())
    });
    Ok((end, warning))
}
