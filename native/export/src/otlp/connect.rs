//! Connections to receivers, for both protocols.

use std::time::Duration;

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TE,
    TRANSFER_ENCODING, USER_AGENT,
};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::config::{OtlpEndpoint, OtlpProtocol};
use super::error::ExporterStartError;
use super::grpc::GrpcSender;
use super::http::HttpSender;
use super::signal::Signal;
use super::tls;

/// Connects in clear text or with TLS, as the URL says.
pub(crate) type Connector = HttpsConnector<HttpConnector>;

/// How long an idle connection is kept.
const IDLE_TIME: Duration = Duration::from_secs(90);
/// Time between two signs of life on an HTTP/2 connection with requests on it.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const USER_AGENT_VALUE: HeaderValue = HeaderValue::from_static(concat!(
    "OTel-OTLP-Exporter-Erlang/",
    env!("CARGO_PKG_VERSION"),
    " (erlmcp_instrumentation)"
));
/// What the protocols themselves say in their header fields.
const RESERVED: [HeaderName; 7] =
    [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING];

/// The sender of HTTP requests for an endpoint.
pub(crate) fn http_sender(
    signal: Signal,
    endpoint: &OtlpEndpoint,
) -> Result<HttpSender, ExporterStartError> {
    let uri = uri(signal, endpoint)?;
    let headers = headers(signal, endpoint)?;
    let client = client_builder().build(connector(endpoint, &uri)?);
    Ok(HttpSender::new(client, uri, headers, endpoint.compression))
}

/// The sender of gRPC requests for an endpoint.
pub(crate) fn grpc_sender(
    signal: Signal,
    endpoint: &OtlpEndpoint,
) -> Result<GrpcSender, ExporterStartError> {
    let uri = uri(signal, endpoint)?;
    let headers = headers(signal, endpoint)?;
    let mut builder = client_builder();
    builder.http2_only(true).http2_keep_alive_interval(KEEP_ALIVE);
    let client: Client<Connector, tonic::body::Body> = builder.build(connector(endpoint, &uri)?);
    Ok(GrpcSender::new(signal, client, uri, headers, endpoint))
}

/// Where an endpoint is, checked.
pub(crate) fn uri(signal: Signal, endpoint: &OtlpEndpoint) -> Result<Uri, ExporterStartError> {
    let wrong =
        |problem| ExporterStartError::Url { signal, url: shown_url(&endpoint.url), problem };
    let url = endpoint.url.trim();
    let url = match endpoint.protocol {
        OtlpProtocol::Grpc if !url.contains("://") => {
            format!("{}://{url}", if endpoint.insecure { "http" } else { "https" })
        }
        _ => url.to_owned(),
    };
    let uri: Uri =
        url.parse().map_err(|_| wrong("is not a URL: give one such as http://127.0.0.1:4318"))?;
    if uri.scheme() != Some(&Scheme::HTTP) && uri.scheme() != Some(&Scheme::HTTPS) {
        return Err(wrong("has to begin with http:// or https://"));
    }
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return Err(wrong("names no host"));
    };
    if authority.as_str().contains('@') {
        return Err(wrong("has a user in it: give credentials as a header"));
    }
    match endpoint.protocol {
        OtlpProtocol::HttpProtobuf => Ok(uri),
        OtlpProtocol::Grpc => {
            let mut parts = uri.into_parts();
            parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
            Uri::from_parts(parts).map_err(|_| wrong("is not a URL"))
        }
    }
}

/// A URL as it may be shown.
pub(crate) fn shown_url(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            let (head, tail) = (url.get(..scheme + 3), url.get(at..));
            format!("{}…{}", head.unwrap_or_default(), tail.unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

fn headers(signal: Signal, endpoint: &OtlpEndpoint) -> Result<HeaderMap, ExporterStartError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, USER_AGENT_VALUE);
    for (name, value) in &endpoint.headers {
        let wrong = |problem| ExporterStartError::Header { signal, name: name.clone(), problem };
        let field: HeaderName =
            name.trim().parse().map_err(|_| wrong("is not a header field's name"))?;
        if RESERVED.contains(&field) || field.as_str().starts_with("grpc-") {
            return Err(wrong("is the protocol's own"));
        }
        let mut value: HeaderValue =
            value.parse().map_err(|_| wrong("has a value that no header field can have"))?;
        value.set_sensitive(true);
        headers.insert(field, value);
    }
    Ok(headers)
}

fn client_builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE_TIME).pool_timer(TokioTimer::new()).timer(TokioTimer::new());
    builder
}

fn connector(endpoint: &OtlpEndpoint, uri: &Uri) -> Result<Connector, ExporterStartError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(endpoint.timeout));
    let builder = HttpsConnectorBuilder::new();
    let builder = if uri.scheme() == Some(&Scheme::HTTPS) {
        builder.with_tls_config(tls::client_config(endpoint)?).https_only()
    } else {
        builder.with_tls_config(no_tls()?).https_or_http()
    };
    Ok(match endpoint.protocol {
        OtlpProtocol::Grpc => builder.enable_http2().wrap_connector(tcp),
        OtlpProtocol::HttpProtobuf => builder.enable_http1().enable_http2().wrap_connector(tcp),
    })
}

/// What a connector in clear text is given, since it wants something: trust in
/// nobody.
fn no_tls() -> Result<rustls::ClientConfig, ExporterStartError> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ExporterStartError::Tls)?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}
