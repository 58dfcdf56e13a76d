//! A response before it is made for one connection.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderName;

use crate::body::Payload;

/// What a request is answered with, whatever its method.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) headers: Vec<(HeaderName, &'static str)>,
    pub(crate) payload: Arc<Payload>,
}

pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";
pub(crate) const JSON: &str = "application/json";
pub(crate) const HTML: &str = "text/html; charset=utf-8";

impl Answer {
    /// Plain text.
    pub(crate) fn text(status: StatusCode, body: String) -> Self {
        let payload = Arc::new(Payload::from(body));
        Self { status, content_type: PLAIN, headers: Vec::new(), payload }
    }
}
