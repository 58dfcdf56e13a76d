//! Who may come in to the listener: its settings, and lines for the files of
//! tokens and passwords.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use erlmcp_export::{
    AccessRule, DiagnosticLevel, Diagnostics, DoorConfig, RuleError, TlsFiles, password_entry,
    token_entry,
};
use rustler::{Binary, Encoder, Env, NifMap, Term};

use crate::cold::bad_option;
use crate::exporter::tell;
use crate::list::ProperList;
use crate::raw::LocalPid;

/// Who may come in, checked by the Erlang side.
#[derive(NifMap)]
#[rustler(decode)]
pub(crate) struct DoorOptions {
    cert_file: Option<String>,
    key_file: Option<String>,
    client_ca_file: Option<String>,
    only_tls13: bool,
    tokens_file: Option<String>,
    passwords_file: Option<String>,
    rules: ProperList<(String, ProperList<String>)>,
    reload_interval_ms: u64,
    failures_per_minute: u32,
    handshake_timeout_ms: u64,
    max_handshakes: u32,
    /// Whether anything is said: not where a start is only tried.
    report: bool,
}

impl DoorOptions {
    /// The door's settings, for a listener of this process.
    pub(crate) fn config(self, owner: LocalPid) -> Result<DoorConfig, RuleError> {
        let path = |text: Option<String>| text.map(PathBuf::from);
        let rules = self.rules.iter().map(|(prefix, words)| AccessRule::new(prefix, words));
        let tls = match (self.cert_file, self.key_file) {
            (Some(cert_file), Some(key_file)) => Some(TlsFiles {
                cert_file: cert_file.into(),
                key_file: key_file.into(),
                client_ca_file: path(self.client_ca_file),
                only_tls13: self.only_tls13,
            }),
            _ => None,
        };
        Ok(DoorConfig {
            tls,
            tokens_file: path(self.tokens_file),
            passwords_file: path(self.passwords_file),
            rules: rules.collect::<Result<_, _>>()?,
            reload_interval: Duration::from_millis(self.reload_interval_ms),
            failures_per_minute: self.failures_per_minute,
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
            max_handshakes: self.max_handshakes as usize,
            diagnostics: self.report.then(|| Arc::new(ToOwner(owner)) as Arc<dyn Diagnostics>),
        })
    }
}

/// Sends what the door has to say to the process that owns the listener.
#[derive(Debug)]
struct ToOwner(LocalPid);

impl Diagnostics for ToOwner {
    fn report(&self, level: DiagnosticLevel, message: String) {
        tell(self.0, "erlmcp_http", level, &message);
    }
}

fn made<'a, T: Encoder>(env: Env<'a>, result: Result<T, impl ToString>) -> Term<'a> {
    match result {
        Ok(value) => (rustler::types::atom::ok(), value).encode(env),
        Err(error) => bad_option(env, error.to_string()),
    }
}

/// `credential_token(Name, Token | nil) -> {ok, {Token, Line}} | {error, _}`.
#[rustler::nif]
fn credential_token<'a>(env: Env<'a>, name: String, token: Option<String>) -> Term<'a> {
    made(env, token_entry(&name, token.as_deref()))
}

/// `credential_password(Name, Password) -> {ok, Line} | {error, _}`. Some tens
/// of milliseconds.
#[rustler::nif(schedule = "DirtyCpu")]
fn credential_password<'a>(env: Env<'a>, name: String, password: Binary<'a>) -> Term<'a> {
    made(env, password_entry(&name, &password))
}
