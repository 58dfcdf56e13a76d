//! Requests over HTTP with protobuf bodies.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy;

use super::answer::{Answer, accepted, causes, shown};
use super::config::OtlpCompression;
use super::connect::Connector;
use super::retry::retry_after;
use super::status::RpcStatus;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
/// Longest body of a response that is read.
const LONGEST_RESPONSE: usize = 64 << 10;

/// Posts requests to one URL.
#[derive(Debug, Clone)]
pub(crate) struct HttpSender {
    client: legacy::Client<Connector, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
    compression: OtlpCompression,
}

impl HttpSender {
    pub(crate) fn new(
        client: legacy::Client<Connector, Full<Bytes>>,
        uri: Uri,
        mut headers: HeaderMap,
        compression: OtlpCompression,
    ) -> Self {
        headers.insert(CONTENT_TYPE, PROTOBUF);
        if compression == OtlpCompression::Gzip {
            headers.insert(CONTENT_ENCODING, GZIP);
        }
        Self { client, uri, headers, compression }
    }

    /// Sends a request once. The caller bounds its time.
    pub(crate) async fn send(&self, body: Bytes) -> Answer {
        let body = match self.compression {
            OtlpCompression::None => body,
            OtlpCompression::Gzip => match gzip(&body) {
                Ok(compressed) => compressed,
                Err(error) => return Answer::Refused { why: error.to_string() },
            },
        };
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        match self.client.request(request).await {
            Ok(response) => answer(response).await,
            Err(error) => Answer::Later { after: None, why: causes(&error) },
        }
    }
}

async fn answer(response: http::Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LONGEST_RESPONSE).collect().await;
    if head.status.is_success() {
        // The status is the receiver's word; a response that breaks off after it
        // takes nothing back.
        return body.map_or_else(
            |_| Answer::Accepted { rejected: 0, message: String::new() },
            |body| accepted(body.to_bytes()),
        );
    }
    let text = body.map(|body| message(&head.headers, body.to_bytes())).unwrap_or_default();
    let why = match text.as_str() {
        "" => head.status.to_string(),
        text => format!("{}: {text}", head.status),
    };
    match head.status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            let field = head.headers.get(RETRY_AFTER).and_then(|field| field.to_str().ok());
            let after = field.and_then(|field| retry_after(field, SystemTime::now()));
            Answer::Later { after, why }
        }
        StatusCode::PAYLOAD_TOO_LARGE => Answer::TooLarge { why },
        _ => Answer::Refused { why },
    }
}

/// What the body of an error says: a `google.rpc.Status`, or text.
fn message(headers: &HeaderMap, body: Bytes) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/x-protobuf") {
        return RpcStatus::read(&body).map(|status| shown(&status.message)).unwrap_or_default();
    }
    shown(String::from_utf8_lossy(&body).trim())
}

fn gzip(body: &[u8]) -> std::io::Result<Bytes> {
    use std::io::Write;
    let compressed = Vec::with_capacity(body.len() / 4);
    let mut encoder = flate2::write::GzEncoder::new(compressed, flate2::Compression::fast());
    encoder.write_all(body)?;
    Ok(encoder.finish()?.into())
}
