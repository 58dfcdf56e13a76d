//! TLS towards receivers: whom to trust, and what to show.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::config::OtlpEndpoint;
use super::error::ExporterStartError;

const CA_FILE: &str = "CA file";
const CERT_FILE: &str = "client certificate file";
const KEY_FILE: &str = "client key file";

/// The TLS settings for an endpoint. The files are read here, once.
pub(crate) fn client_config(endpoint: &OtlpEndpoint) -> Result<ClientConfig, ExporterStartError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ExporterStartError::Tls)?
        .with_root_certificates(roots(endpoint.ca_file.as_deref())?);
    match (&endpoint.client_cert_file, &endpoint.client_key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert_file), Some(key_file)) => {
            let chain = certificates(CERT_FILE, cert_file)?;
            let key = PrivateKeyDer::from_pem_slice(&read(KEY_FILE, key_file)?).map_err(|_| {
                pem(KEY_FILE, key_file, "there is no private key in PEM format in it".to_owned())
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                pem(KEY_FILE, key_file, format!("{error}. Does it belong to the certificate?"))
            })
        }
        (Some(file), None) => Err(half(CERT_FILE, KEY_FILE, file)),
        (None, Some(file)) => Err(half(KEY_FILE, CERT_FILE, file)),
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, ExporterStartError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            for certificate in certificates(CA_FILE, file)? {
                roots.add(certificate).map_err(|error| {
                    pem(CA_FILE, file, format!("a certificate in it is not valid: {error}"))
                })?;
            }
        }
        None => {
            // What is broken among the system's certificates is left out, as
            // every other program on it does.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(ExporterStartError::NoRoots);
            }
        }
    }
    Ok(roots)
}

fn certificates(
    role: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, ExporterStartError> {
    let text = read(role, file)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| pem(role, file, format!("it is not in PEM format: {error}")))?;
    if certificates.is_empty() {
        return Err(pem(role, file, "there is no certificate in PEM format in it".to_owned()));
    }
    Ok(certificates)
}

fn read(role: &'static str, file: &Path) -> Result<Vec<u8>, ExporterStartError> {
    fs::read(file).map_err(|error| ExporterStartError::File { role, file: file.to_owned(), error })
}

fn pem(role: &'static str, file: &Path, problem: String) -> ExporterStartError {
    ExporterStartError::Pem { role, file: file.to_owned(), problem }
}

fn half(given: &'static str, missing: &'static str, file: &Path) -> ExporterStartError {
    ExporterStartError::HalfIdentity { given, missing, file: file.to_owned() }
}
