//! TLS and mutual TLS, and what is wrong with files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use erlmcp_export::otlp::{OtlpEndpoint, OtlpProtocol, RequestOutcome};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;

use crate::common::*;
use crate::receiver::{Options, Receiver};

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Authority {
    fn new(test: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let dir = temp_dir(test);
        fs::write(dir.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    fn issue(&self, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Writes a client's files.
    fn client(&self) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ClientAuth);
        let files = (self.dir.join("client.pem"), self.dir.join("client.key"));
        fs::write(&files.0, certificate.pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }

    fn server(&self, mutual: bool) -> rustls::ServerConfig {
        let (certificate, key) = self.issue(ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(self.issuer.der().to_vec())).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        builder.with_single_cert(vec![certificate.der().clone()], key).unwrap()
    }

    fn receiver(&self, protocol: OtlpProtocol, mutual: bool) -> Receiver {
        let tls = Some(self.server(mutual));
        Receiver::start(Options { tls, ..Options::new(protocol) }, [])
    }
}

#[test]
fn tls_with_an_own_authority() {
    let authority = Authority::new("tls");
    for protocol in BOTH {
        let receiver = authority.receiver(protocol, false);
        let bench = Bench::new();
        let exporter = bench.start(config_with(|signal| {
            let mut endpoint = endpoint(protocol, &receiver, signal);
            endpoint.ca_file = Some(authority.dir.join("ca.pem"));
            endpoint
        }));
        let names = bench.spans(0..600);
        assert!(exporter.flush(LONG).complete);
        assert_eq!(receiver.names(), names);
        bench.assert_sums(&exporter.stop(LONG).stats.signals);
    }
}

#[test]
fn a_grpc_url_without_scheme_is_tls_unless_insecure() {
    let authority = Authority::new("scheme");
    for insecure in [false, true] {
        let receiver = match insecure {
            false => authority.receiver(Grpc, false),
            true => Receiver::new(Grpc, []),
        };
        let bench = Bench::new();
        let exporter = bench.start(config_with(|_| {
            let url = format!("localhost:{}", receiver.address.port());
            let ca_file = Some(authority.dir.join("ca.pem"));
            OtlpEndpoint { insecure, ca_file, ..OtlpEndpoint::new(Grpc, url) }
        }));
        bench.span("one");
        assert!(exporter.flush(LONG).complete);
        assert_eq!(receiver.names(), ["one"]);
        exporter.stop(LONG);
    }
}

#[test]
fn mutual_tls_shows_the_clients_certificate() {
    let authority = Authority::new("mtls");
    let (cert, key) = authority.client();
    for protocol in BOTH {
        let receiver = authority.receiver(protocol, true);
        let bench = Bench::new();
        let exporter = bench.start(config_with(|signal| {
            let mut endpoint = endpoint(protocol, &receiver, signal);
            endpoint.ca_file = Some(authority.dir.join("ca.pem"));
            endpoint.client_cert_file = Some(cert.clone());
            endpoint.client_key_file = Some(key.clone());
            endpoint
        }));
        bench.span("one");
        assert!(exporter.flush(LONG).complete);
        assert_eq!(receiver.names(), ["one"]);
        exporter.stop(LONG);
    }
}

#[test]
fn whom_nobody_trusts_is_sent_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (protocol, mutual) in [(HttpProtobuf, false), (Grpc, false), (HttpProtobuf, true)] {
        let receiver = theirs.receiver(protocol, mutual);
        // Either the receiver's certificate is not trusted, or it is and the
        // client shows none.
        let trusted = if mutual { &theirs } else { &ours };
        let bench = Bench::new();
        let mut config = config_with(|signal| {
            let mut endpoint = endpoint(protocol, &receiver, signal);
            endpoint.ca_file = Some(trusted.dir.join("ca.pem"));
            endpoint
        });
        config.retry.max_elapsed = millis(50);
        let exporter = bench.start(config);
        bench.span("one");
        assert!(exporter.flush(LONG).complete);
        assert!(receiver.received().is_empty());
        let stats = exporter.stop(LONG).stats;
        assert!(stats.signals.traces.requests.get(RequestOutcome::Retryable) > 0);
        bench.assert_sums(&stats.signals);
        let text = bench.heard.text();
        assert!(text.to_lowercase().contains("certificate"), "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_at_the_start() {
    let authority = Authority::new("files");
    let (cert, key) = authority.client();
    let missing = authority.dir.join("missing.pem");
    let empty = authority.dir.join("empty.pem");
    fs::write(&empty, "nothing here").unwrap();
    let other_key = authority.dir.join("other.key");
    fs::write(&other_key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let ca = authority.dir.join("ca.pem");
    let error = |ca: &Path, cert: Option<&Path>, key: Option<&Path>| {
        start_error(OtlpEndpoint {
            ca_file: Some(ca.to_owned()),
            client_cert_file: cert.map(Path::to_owned),
            client_key_file: key.map(Path::to_owned),
            ..OtlpEndpoint::new(Grpc, "https://localhost:4317")
        })
    };
    for (error, role, file) in [
        (error(&missing, None, None), "CA file", &missing),
        (error(&empty, None, None), "CA file", &empty),
        (error(&ca, Some(&cert), None), "client key file", &cert),
        (error(&ca, None, Some(&key)), "client certificate file", &key),
        (error(&ca, Some(&missing), Some(&key)), "client certificate file", &missing),
        (error(&ca, Some(&cert), Some(&empty)), "client key file", &empty),
        (error(&ca, Some(&cert), Some(&other_key)), "client key file", &other_key),
    ] {
        let text = error.to_string();
        assert!(text.contains(role) && text.contains(&file.display().to_string()), "{text}");
    }
}
