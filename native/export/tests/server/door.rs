//! TLS, credentials, rules, and files that change.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use erlmcp_export::{
    AccessRule, DoorConfig, Server, ServerConfig, StartError, TlsFiles, password_entry, token_entry,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::{
    Response, config, connect, eventually, get, is_closed, read_all, request, send, sources, start,
};

/// How soon a change is taken in these tests.
const SOON: Duration = Duration::from_millis(20);

/// A folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("erlmcp-door-{}-{}", process::id(), NEXT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        // Under another name first: a reader sees the old or the new.
        let new = self.0.join(format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str, years: std::ops::Range<i32>) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    /// Writes a certificate for the server.
    pub(crate) fn serve(&self, folder: &Folder) -> TlsFiles {
        let identity = self.issue("server", 2020..2090);
        TlsFiles {
            cert_file: folder.write("cert.pem", &identity.certificate.pem()),
            key_file: folder.write("key.pem", &identity.key.serialize_pem()),
            client_ca_file: None,
            only_tls13: false,
        }
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self, identity: Option<Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.0.der().to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        })
    }
}

pub(crate) type TlsClient = StreamOwned<ClientConnection, TcpStream>;

fn connect_tls(address: SocketAddr, client: &Arc<ClientConfig>) -> TlsClient {
    tls_over(connect(address), client)
}

pub(crate) fn tls_over(stream: TcpStream, client: &Arc<ClientConfig>) -> TlsClient {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::clone(client), name).unwrap();
    StreamOwned::new(connection, stream)
}

/// A response, or the error that the handshake or the connection ended with.
fn get_tls(
    address: SocketAddr,
    client: &Arc<ClientConfig>,
    path: &str,
) -> std::io::Result<Response> {
    let mut stream = connect_tls(address, client);
    ask_tls(&mut stream, path, "Connection: close\r\n")
}

fn ask_tls(stream: &mut TlsClient, path: &str, headers: &str) -> std::io::Result<Response> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: t\r\n{headers}\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    let mut response = Response::parse(&bytes);
    response.body = vec![0; response.header("content-length").unwrap().parse().unwrap()];
    stream.read_exact(&mut response.body)?;
    Ok(response)
}

fn closed(door: DoorConfig) -> ServerConfig {
    ServerConfig { door: DoorConfig { reload_interval: SOON, ..door }, ..config() }
}

fn reloads(response: &Response, kind: &str, result: &str) -> f64 {
    let series =
        format!("erlmcp_http_credential_reloads_total{{kind=\"{kind}\",result=\"{result}\"}}");
    response.sample(&series).unwrap()
}

#[test]
fn a_renewed_certificate_is_taken_and_cuts_nobody() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let tls = authority.serve(&folder);
    let door = DoorConfig { tls: Some(tls), ..DoorConfig::default() };
    let (_server, address) = start(closed(door), sources());
    let client = authority.client(None);
    let mut held = connect_tls(address, &client);
    assert_eq!(ask_tls(&mut held, "/live", "").unwrap().status, 200);
    let metrics = get_tls(address, &client, "/metrics").unwrap();
    let series = "erlmcp_http_tls_certificate_expiry_timestamp_seconds";
    let seconds_of_2090 = 3_786_912_000.0;
    assert_eq!(metrics.sample(series), Some(seconds_of_2090));

    // The certificate first: its key does not fit, and the old pair stays.
    let other = Authority::new();
    let renewed = other.issue("server", 2020..2080);
    folder.write("cert.pem", &renewed.certificate.pem());
    eventually("the mismatch is seen", || {
        reloads(&get_tls(address, &client, "/metrics").unwrap(), "certificate", "failure") == 1.0
    });
    thread::sleep(SOON * 4);
    let metrics = get_tls(address, &client, "/metrics").unwrap();
    assert_eq!(reloads(&metrics, "certificate", "failure"), 1.0, "counted once");
    folder.write("key.pem", &renewed.key.serialize_pem());
    let other_client = other.client(None);
    eventually("the new one is shown", || get_tls(address, &other_client, "/live").is_ok());
    assert!(get_tls(address, &client, "/live").is_err(), "the old authority is not its");
    let metrics = get_tls(address, &other_client, "/metrics").unwrap();
    assert_eq!(reloads(&metrics, "certificate", "success"), 1.0);
    assert!(metrics.sample(series).unwrap() < seconds_of_2090);
    assert_eq!(ask_tls(&mut held, "/live", "").unwrap().status, 200, "nobody is cut");

    // What is gone or broken changes nothing.
    fs::remove_file(folder.0.join("cert.pem")).unwrap();
    eventually("the loss is seen", || {
        let metrics = get_tls(address, &other_client, "/metrics").unwrap();
        reloads(&metrics, "certificate", "failure") == 2.0
    });
    // Back as it was: nothing new to take but no failure either.
    folder.write("cert.pem", &renewed.certificate.pem());
    eventually("it is back", || {
        let metrics = get_tls(address, &other_client, "/metrics").unwrap();
        reloads(&metrics, "certificate", "success") == 2.0
    });
}

#[test]
fn client_certificates_open_what_is_closed() {
    let (folder, authority, clients) = (Folder::new(), Authority::new(), Authority::new());
    let ca = folder.write("clients.pem", &clients.0.pem());
    let tls = TlsFiles { client_ca_file: Some(ca), ..authority.serve(&folder) };
    let rules = vec![AccessRule::new("/metrics/custom", &["@prometheus"]).unwrap()];
    let door = DoorConfig { tls: Some(tls), rules, ..DoorConfig::default() };
    let (_server, address) = start(closed(door), sources());
    let with = |authority_of: &Authority, name, years| {
        authority.client(Some(authority_of.issue(name, years)))
    };
    let nobody = authority.client(None);
    assert_eq!(get_tls(address, &nobody, "/health").unwrap().status, 200);
    let refused = get_tls(address, &nobody, "/metrics").unwrap();
    assert_eq!((refused.status, refused.header("www-authenticate")), (403, None));
    let prometheus = with(&clients, "prometheus", 2020..2090);
    assert_eq!(get_tls(address, &prometheus, "/metrics").unwrap().status, 200);
    assert_eq!(get_tls(address, &prometheus, "/metrics/custom").unwrap().status, 200);
    let other = with(&clients, "other", 2020..2090);
    assert_eq!(get_tls(address, &other, "/metrics").unwrap().status, 200);
    assert_eq!(get_tls(address, &other, "/metrics/custom").unwrap().status, 403);
    assert_eq!(get_tls(address, &other, "/nowhere").unwrap().status, 404);
    assert_eq!(get_tls(address, &nobody, "/nowhere").unwrap().status, 403);
    // One that is shown and not valid ends the handshake, whatever the path.
    for wrong in [
        with(&Authority::new(), "prometheus", 2020..2090),
        with(&clients, "prometheus", 2020..2021),
    ] {
        assert!(get_tls(address, &wrong, "/health").is_err());
    }
    let metrics = get_tls(address, &prometheus, "/metrics").unwrap();
    let failures = |reason: &str| {
        let labels = format!("component=\"metrics_endpoint\",reason=\"{reason}\"");
        metrics.sample(&format!("erlmcp_auth_failures_total{{{labels}}}"))
    };
    assert_eq!(failures("client_certificate"), Some(2.0));
    assert_eq!(failures("missing"), Some(2.0));
    assert_eq!(failures("forbidden"), Some(1.0));
    let series = "erlmcp_http_tls_handshake_failures_total{reason=\"client_certificate\"}";
    assert_eq!(metrics.sample(series), Some(2.0));

    // An authority that is known no longer: also on connections that are open.
    let mut held = connect_tls(address, &prometheus);
    assert_eq!(ask_tls(&mut held, "/metrics", "").unwrap().status, 200);
    folder.write("clients.pem", &Authority::new().0.pem());
    eventually("the change", || ask_tls(&mut held, "/metrics", "").unwrap().status == 403);
    assert_eq!(ask_tls(&mut held, "/health", "").unwrap().status, 200);
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {text}")
}

#[test]
fn tokens_and_passwords_open_what_is_closed_until_they_change() {
    let folder = Folder::new();
    let (token, line) = token_entry("prometheus", None).unwrap();
    let tokens = folder.write("tokens", &line);
    let people = [
        password_entry("alice", b"a password for alice").unwrap(),
        password_entry("bob", b"a password for bob").unwrap(),
    ];
    let passwords = folder.write("passwords", &people.join("\n"));
    let rules = vec![
        AccessRule::new("/debug", &["@alice"]).unwrap(),
        AccessRule::new("/metrics/custom", &["basic"]).unwrap(),
        AccessRule::new("/startup", &["authenticated"]).unwrap(),
    ];
    let door = DoorConfig {
        tokens_file: Some(tokens),
        passwords_file: Some(passwords),
        rules,
        failures_per_minute: 1000,
        ..DoorConfig::default()
    };
    let (_server, address) = start(closed(door), sources());
    let bearer = format!("Authorization: Bearer {token}");
    let alice = basic("alice", "a password for alice");
    let bob = basic("bob", "a password for bob");
    let ask = |path: &str, header: &str| request(address, "GET", path, &[header]).status;
    for path in ["/health", "/healthz", "/live", "/ready", "/readiness"] {
        assert_eq!(get(address, path).status, 200, "{path}");
    }
    for path in ["/", "/metrics", "/metrics/custom", "/debug/traces", "/nowhere", "/startup"] {
        // By hand, for there are two challenges.
        let stream = connect(address);
        send(&stream, &format!("GET {path} HTTP/1.0\r\n\r\n"));
        let response = read_all(&stream);
        assert_eq!(response.status, 401, "{path}");
        let challenges: Vec<_> =
            response.headers.iter().filter(|(name, _)| name == "www-authenticate").collect();
        assert_eq!(challenges.len(), 2, "{path}");
    }
    for (path, by_token, by_alice, by_bob) in [
        ("/metrics", 200, 200, 200),
        ("/metrics/custom", 403, 200, 200),
        ("/startup", 200, 200, 200),
        ("/nowhere", 404, 404, 404),
        // Alice may, but sees traces as anybody does: the setting decides.
        ("/debug/traces", 403, 403, 403),
    ] {
        let seen = [&bearer, &alice, &bob].map(|header| ask(path, header));
        assert_eq!(seen, [by_token, by_alice, by_bob], "{path}");
    }
    for wrong in [
        format!("Authorization: Bearer {token}x"),
        "Authorization: Bearer".to_owned(),
        "Authorization: Bearer \t".to_owned(),
        "Authorization: Basic ???".to_owned(),
        "Authorization: Digest username=alice".to_owned(),
        format!("Authorization: {token}"),
        basic("alice", "a password for bob"),
        basic("alice", ""),
        basic("mallory", "a password for alice"),
        basic("prometheus", &token),
        format!("{bearer}\r\n{bearer}"),
    ] {
        assert_eq!(ask("/metrics", &wrong), 401, "{wrong}");
        assert_eq!(ask("/health", &wrong), 200, "{wrong}");
    }
    assert_eq!(request(address, "POST", "/metrics", &[]).status, 401);
    assert_eq!(request(address, "POST", "/metrics", &[&bearer]).status, 405);
    let metrics = request(address, "GET", "/metrics", &[&bearer]);
    let by = |method: &str| {
        metrics.sample(&format!("erlmcp_http_authenticated_requests_total{{method=\"{method}\"}}"))
    };
    assert_eq!((by("bearer"), by("basic")), (Some(5.0), Some(9.0)));

    // Another token beside the old one, then the old one goes.
    let (new_token, new_line) = token_entry("prometheus", None).unwrap();
    let new_bearer = format!("Authorization: Bearer {new_token}");
    folder.write("tokens", &format!("{line}\n{new_line}\n"));
    eventually("the new one", || ask("/metrics", &new_bearer) == 200);
    assert_eq!(ask("/metrics", &bearer), 200);
    folder.write("tokens", &new_line);
    eventually("the end of the old one", || ask("/metrics", &bearer) == 401);
    // What cannot be read leaves the last ones.
    folder.write("tokens", &format!("prometheus {token}"));
    eventually("the failure", || {
        let metrics = request(address, "GET", "/metrics", &[&new_bearer]);
        reloads(&metrics, "tokens", "failure") == 1.0
    });
    // Nobody is somebody too: emptied, it lets no token in.
    folder.write("tokens", "# none\n");
    eventually("the end of all", || ask("/metrics", &new_bearer) == 401);
    // A password that was right, and remembered, is wrong once it has changed.
    folder.write("passwords", &password_entry("alice", b"another password").unwrap());
    eventually("the end of the password", || ask("/metrics", &alice) == 401);
    assert_eq!(ask("/metrics", &basic("alice", "another password")), 200);
    assert_eq!(ask("/metrics", &bob), 401);
}

#[test]
fn who_is_wrong_too_often_has_to_wait_and_keeps_nobody_out() {
    let folder = Folder::new();
    let (token, line) = token_entry("prometheus", None).unwrap();
    let door = DoorConfig {
        tokens_file: Some(folder.write("tokens", &line)),
        passwords_file: Some(
            folder.write("passwords", &password_entry("alice", b"a password for alice").unwrap()),
        ),
        failures_per_minute: 3,
        ..DoorConfig::default()
    };
    let (_server, address) = start(closed(door), sources());
    let alice = basic("alice", "a password for alice");
    let wrong = "Authorization: Bearer of-something-that-is-none";
    for _ in 0..10 {
        assert_eq!(request(address, "GET", "/metrics", &[&alice]).status, 200);
    }
    for _ in 0..3 {
        assert_eq!(request(address, "GET", "/metrics", &[wrong]).status, 401);
    }
    for header in [wrong, &alice] {
        let response = request(address, "GET", "/metrics", &[header]);
        assert_eq!(response.status, 429, "{header}");
        assert_eq!(response.header("retry-after"), Some("30"));
    }
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(request(address, "GET", "/metrics", &[&bearer]).status, 200);
    assert_eq!(get(address, "/health").status, 200);
    assert_eq!(get(address, "/metrics").status, 401, "without a credential nothing is guessed");
}

fn start_error(door: DoorConfig) -> String {
    match Server::start(closed(door), sources()) {
        Err(StartError::Door(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_used_is_told_with_setting_and_file() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let good = authority.serve(&folder);
    let tls = |tls| DoorConfig { tls: Some(tls), ..DoorConfig::default() };
    let missing = folder.0.join("missing.pem");
    let text = start_error(tls(TlsFiles { cert_file: missing.clone(), ..good.clone() }));
    assert!(text.starts_with("http_tls_cert_file: cannot read "), "{text}");
    assert!(text.contains("missing.pem") && text.contains("may read"), "{text}");
    let stranger = Authority::new().issue("x", 2020..2090).key.serialize_pem();
    let stranger = folder.write("stranger.pem", &stranger);
    let text = start_error(tls(TlsFiles { key_file: stranger, ..good.clone() }));
    assert!(text.starts_with("http_tls_key_file: ") && text.contains("Is it the key"), "{text}");
    let swapped = TlsFiles { cert_file: good.key_file.clone(), ..good.clone() };
    let text = start_error(tls(swapped));
    assert!(text.contains("no certificate in PEM"), "{text}");
    let swapped = TlsFiles { key_file: good.cert_file.clone(), ..good.clone() };
    assert!(start_error(tls(swapped)).contains("no private key in PEM"));
    let folder_as_file = TlsFiles { client_ca_file: Some(folder.0.clone()), ..good.clone() };
    let text = start_error(tls(folder_as_file));
    assert!(text.contains("http_tls_client_ca_file") && text.contains("not a regular"), "{text}");
    let large = folder.write("large", &"x".repeat(2 << 20));
    let text = start_error(DoorConfig { tokens_file: Some(large), ..DoorConfig::default() });
    assert!(text.contains("http_tokens_file") && text.contains("larger than"), "{text}");
    let plain = folder.write("plain", "# me\nme my-plain-password\n");
    for (setting, door) in [
        (
            "http_tokens_file",
            DoorConfig { tokens_file: Some(plain.clone()), ..DoorConfig::default() },
        ),
        (
            "http_passwords_file",
            DoorConfig { passwords_file: Some(plain.clone()), ..DoorConfig::default() },
        ),
    ] {
        let text = start_error(door);
        assert!(text.starts_with(setting) && text.contains("line 2: "), "{text}");
        assert!(!text.contains("my-plain"), "{text}");
    }
    let rules = vec![AccessRule::new("/", &["bearer"]).unwrap()];
    let text = start_error(DoorConfig { rules, ..DoorConfig::default() });
    assert!(text.starts_with("http_access_rules: ") && text.contains("http_tokens_file"), "{text}");
    // An expired certificate is one all the same.
    let expired = authority.issue("server", 2020..2021);
    let expired = TlsFiles {
        cert_file: folder.write("old.pem", &expired.certificate.pem()),
        key_file: folder.write("old.key", &expired.key.serialize_pem()),
        ..good
    };
    let heard = Arc::new(Heard::default());
    let diagnostics: Arc<dyn erlmcp_export::Diagnostics> = Arc::clone(&heard) as _;
    let door = DoorConfig { diagnostics: Some(diagnostics), ..tls(expired) };
    let (_server, _) = start(closed(door), sources());
    eventually("the warning", || heard.0.lock().iter().any(|text| text.contains("has expired")));
}

#[derive(Debug, Default)]
pub(crate) struct Heard(parking_lot::Mutex<Vec<String>>);

impl erlmcp_export::Diagnostics for Heard {
    fn report(&self, _: erlmcp_export::DiagnosticLevel, message: String) {
        self.0.lock().push(message);
    }
}

#[test]
fn what_is_said_about_the_refused_has_no_credential() {
    let folder = Folder::new();
    let (token, line) = token_entry("prometheus", None).unwrap();
    let tokens_file = folder.write("tokens", &line);
    readable_by_all(&tokens_file);
    let heard = Arc::new(Heard::default());
    let diagnostics: Arc<dyn erlmcp_export::Diagnostics> = Arc::clone(&heard) as _;
    let rules = vec![AccessRule::new("/debug", &["@alice"]).unwrap()];
    let door = DoorConfig {
        tokens_file: Some(tokens_file),
        diagnostics: Some(diagnostics),
        rules,
        ..DoorConfig::default()
    };
    let (_server, address) = start(closed(door), sources());
    for _ in 0..3 {
        let wrong = "Authorization: Bearer my-very-secret-token";
        assert_eq!(request(address, "GET", "/metrics?token=secret", &[wrong]).status, 401);
        assert_eq!(request(address, "GET", "/my-secret-path", &[]).status, 401);
        let bearer = format!("Authorization: Bearer {token}");
        assert_eq!(request(address, "GET", "/debug/traces", &[&bearer]).status, 403);
    }
    let heard = heard.0.lock();
    assert!(heard.iter().all(|text| !text.contains("my-") && !text.contains("token=")));
    let count = |part: &str| heard.iter().filter(|text| text.contains(part)).count();
    assert_eq!(count("Refused /metrics to 127.0.0.1: invalid_token."), 1, "{heard:?}");
    assert_eq!(count("Refused a path that is not known to 127.0.0.1: missing."), 1);
    assert_eq!(count("Refused /debug/traces to 127.0.0.1, client prometheus: forbidden."), 1);
    assert_eq!(count("every user of this host may read"), usize::from(cfg!(unix)), "{heard:?}");
}

#[cfg(unix)]
fn readable_by_all(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
}

#[cfg(not(unix))]
fn readable_by_all(_: &Path) {}

#[test]
fn other_protocols_on_the_tls_port_are_told_or_closed() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let door = DoorConfig {
        tls: Some(authority.serve(&folder)),
        handshake_timeout: SOON * 10,
        ..DoorConfig::default()
    };
    let (_server, address) = start(closed(door), sources());
    let client = authority.client(None);
    let plain = get(address, "/metrics");
    assert_eq!(plain.status, 400);
    assert!(plain.text().contains("https://"), "{}", plain.text());
    let hello_of_nothing = [22, 3, 1, 0, 5, 1, 2, 3, 4, 5];
    for bytes in [&[0; 600][..], &[22; 600], &hello_of_nothing, b"\x80\x2e\x01\x03\x01", b"\x15"] {
        let mut stream = connect(address);
        stream.write_all(bytes).unwrap();
        eventually("it is closed", || is_closed(&stream));
    }
    // A handshake that does not go on.
    let silent = connect(address);
    let half = connect(address);
    (&half).write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    eventually("both are closed", || is_closed(&silent) && is_closed(&half));
    drop(connect(address));
    let metrics = get_tls(address, &client, "/metrics").unwrap();
    let failed = |reason: &str| {
        let series = format!("erlmcp_http_tls_handshake_failures_total{{reason=\"{reason}\"}}");
        metrics.sample(&series).unwrap_or_default()
    };
    assert_eq!(failed("plain_http"), 1.0);
    assert!(failed("timeout") >= 2.0 && failed("protocol") >= 2.0, "{}", metrics.text());
}
