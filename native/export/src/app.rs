//! Requests to responses.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use erlmcp_metrics::exposition::Scope;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
    HeaderValue, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use crate::answer::{Answer, JSON};
use crate::body::PayloadBody;
use crate::door::{Asking, Gate};
use crate::health::{Health, Probe};
use crate::negotiate;
use crate::phase::PhaseCell;
use crate::route::{self, Route};
use crate::scrape::Scraper;
use crate::source::MetricSource;
use crate::stats::{OTHER_PATH, Stats};
use crate::traces::{self, Asked, Audience, TraceEndpoint};
use crate::visitor::Visitor;

/// What all connections serve.
pub(crate) struct App {
    pub(crate) gate: Gate,
    pub(crate) scraper: Scraper,
    pub(crate) metrics: Arc<dyn MetricSource>,
    pub(crate) health: Health,
    pub(crate) health_details: Audience,
    pub(crate) traces: TraceEndpoint,
    pub(crate) stats: Arc<Stats>,
}

const ALLOWED: &str = "GET, HEAD";

/// Largest body that a request may announce. None is read; a client whose body
/// is small has sent it before it looks for the answer.
const MAX_BODY_BYTES: u64 = 256 * 1024;

impl App {
    /// Answers a request. Its body, should it have one, is not read. A visitor
    /// for whom there was no room is answered if it is a health probe.
    pub(crate) async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        visitor: Arc<Visitor>,
        phase: PhaseCell,
    ) -> Result<Response<PayloadBody>, Infallible> {
        let responding = phase.respond();
        let known = route::find(request.uri().path());
        if !request.body().is_end_stream() {
            visitor.leaves_a_body();
        }
        let answer = match self.admit(&request, known, &visitor).await {
            Err(refused) => refused,
            Ok(()) => self.answer(known, &request, &visitor).await,
        };
        self.stats.request(known.map_or(OTHER_PATH, |path| path.path), answer.status.as_u16());

        // To a HEAD the length is that of the body that a GET would have.
        let length = HeaderValue::from(answer.payload.bytes());
        let payload = match *request.method() {
            Method::HEAD => Arc::default(),
            _ => answer.payload,
        };
        let mut response = Response::new(PayloadBody::new(payload, responding));
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
        headers.insert(CONTENT_LENGTH, length);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in answer.headers {
            headers.append(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    /// Lets a request in, or says what it is answered with.
    async fn admit(
        &self,
        request: &Request<Incoming>,
        known: Option<&'static route::Path>,
        visitor: &Visitor,
    ) -> Result<(), Answer> {
        if visitor.is_in_reserve() {
            match known {
                Some(path) if matches!(path.route, Route::Health(_)) => visitor.is_served(),
                _ => return Err(no_room()),
            }
        }
        if request.body().size_hint().lower() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        let asking = Asking {
            path: request.uri().path(),
            known: known.map(|known| known.path),
            headers: request.headers(),
            peer: visitor.peer,
            certificate: visitor.certificate.as_ref(),
        };
        self.gate.admit(asking).await
    }

    async fn answer(
        &self,
        known: Option<&'static route::Path>,
        request: &Request<Incoming>,
        visitor: &Visitor,
    ) -> Answer {
        let Some(path) = known else { return not_found() };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return method_not_allowed();
        }
        let (uri, headers, peer) = (request.uri(), request.headers(), visitor.peer);
        match path.route {
            Route::Index => {
                Answer::text(StatusCode::OK, format!("erlmcp metrics\n\n{}", route::list()))
            }
            Route::Metrics(scope) => self.metrics(scope, headers).await,
            Route::Health(probe) => {
                let audience = self.health_details;
                let details = traces::admits(audience, peer, uri.authority(), headers);
                self.health(probe, details).await
            }
            Route::Traces(view) => self.traces.answer(Asked { view, peer, uri, headers }).await,
        }
    }

    async fn metrics(&self, scope: Scope, headers: &HeaderMap) -> Answer {
        let begin = Instant::now();
        let (format, gzip) = (negotiate::format(headers), negotiate::gzip(headers));
        self.stats.scrape(format);
        let scraped = self.scraper.scrape(format, scope, gzip).await;
        self.metrics.observe_scrape(begin.elapsed().as_secs_f64());
        let vary = (VARY, "Accept, Accept-Encoding");
        match scraped {
            Ok(payload) => {
                let mut headers = vec![vary];
                if gzip {
                    headers.push((CONTENT_ENCODING, "gzip"));
                }
                let content_type = format.content_type();
                Answer { status: StatusCode::OK, content_type, headers, payload }
            }
            Err(failed) => {
                let failed = Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{failed}\n"));
                Answer { headers: vec![vary], ..failed }
            }
        }
    }

    async fn health(&self, probe: Probe, details: bool) -> Answer {
        let verdict = self.health.probe(probe, details).await;
        let status = match verdict.healthy {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        Answer { content_type: JSON, ..Answer::text(status, verdict.json) }
    }
}

fn not_found() -> Answer {
    Answer::text(StatusCode::NOT_FOUND, format!("no such path; there are\n\n{}", route::list()))
}

/// The answer to those for whom there is no room.
fn no_room() -> Answer {
    let body = "too many connections: try again later\n".to_owned();
    let headers = vec![(RETRY_AFTER, "1"), (CONNECTION, "close")];
    Answer { headers, ..Answer::text(StatusCode::SERVICE_UNAVAILABLE, body) }
}

fn too_large() -> Answer {
    let body = format!("this server reads no body; yours has more than {MAX_BODY_BYTES} bytes\n");
    let headers = vec![(CONNECTION, "close")];
    Answer { headers, ..Answer::text(StatusCode::PAYLOAD_TOO_LARGE, body) }
}

fn method_not_allowed() -> Answer {
    let body = format!("this server only reads: use one of {ALLOWED}\n");
    Answer { headers: vec![(ALLOW, ALLOWED)], ..Answer::text(StatusCode::METHOD_NOT_ALLOWED, body) }
}
