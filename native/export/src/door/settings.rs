//! The settings of the door.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::rules::AccessRule;
use crate::diagnostics::Diagnostics;

/// The files that TLS is spoken with.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and those between it and its authority, PEM.
    pub cert_file: PathBuf,
    /// The certificate's private key, PEM.
    pub key_file: PathBuf,
    /// The authorities whose clients are known, PEM. With it, a certificate is
    /// asked of each client and verified if there is one.
    pub client_ca_file: Option<PathBuf>,
    /// Whether TLS 1.2 is refused. Default: no; below 1.2 always is.
    pub only_tls13: bool,
}

/// Who may come in.
#[derive(Debug, Clone)]
pub struct DoorConfig {
    /// TLS; without, HTTP is spoken in the clear. Default: none.
    pub tls: Option<TlsFiles>,
    /// Names and SHA-256 digests of bearer tokens. Default: none.
    pub tokens_file: Option<PathBuf>,
    /// Names and bcrypt hashes of passwords, as `htpasswd -B` writes them.
    /// Default: none.
    pub passwords_file: Option<PathBuf>,
    /// Who may ask for which paths, beside the rules that hold anyway.
    /// Default: none.
    pub rules: Vec<AccessRule>,
    /// How often the files are looked at. Default: 10 s.
    pub reload_interval: Duration,
    /// Wrong credentials that one peer may show in a minute; beyond, it is
    /// answered with 429. Default: 10.
    pub failures_per_minute: u32,
    /// Longest wait for the end of a TLS handshake. Default: 5 s.
    pub handshake_timeout: Duration,
    /// Most TLS handshakes under way at once; for one more the oldest is cut.
    /// Default: 64.
    pub max_handshakes: usize,
    /// Who is told what those who run the system should know. Default: nobody.
    pub diagnostics: Option<Arc<dyn Diagnostics>>,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            tls: None,
            tokens_file: None,
            passwords_file: None,
            rules: Vec::new(),
            reload_interval: Duration::from_secs(10),
            failures_per_minute: 10,
            handshake_timeout: Duration::from_secs(5),
            max_handshakes: 64,
            diagnostics: None,
        }
    }
}
