//! The requests for `/debug/traces` and what is beneath it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{
    CONTENT_ENCODING, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, REFERRER_POLICY, VARY,
};
use hyper::{StatusCode, Uri};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::answer::{Answer, HTML, JSON, PLAIN};
use crate::body::Payload;
use crate::flight::Flights;
use crate::gzip;
use crate::negotiate;
use crate::traces::access::{self, Audience};
use crate::traces::list_page::List;
use crate::traces::ring::TraceRing;
use crate::traces::selection::Selection;
use crate::traces::waterfall::Waterfall;
use crate::traces::{json, page, summary, trace_page};
use crate::turn::in_turn;

/// Whoever can see to it that spans that have ended reach the [`TraceRing`].
pub trait TraceSource: Send + Sync + 'static {
    /// Has what has ended put into the ring, and waits for it up to `wait`.
    /// Called on a thread for blocking work, once at a time.
    fn refresh(&self, wait: Duration);
}

/// The traces that the server shows.
#[derive(Clone)]
pub struct Traces {
    /// Where they are kept.
    pub ring: Arc<TraceRing>,
    /// What fills it.
    pub source: Arc<dyn TraceSource>,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("ring", &self.ring).finish_non_exhaustive()
    }
}

/// What is to be seen of the traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TraceView {
    /// A page for people; OTLP JSON for those who prefer it.
    Page,
    /// The spans as OTLP JSON.
    Otlp,
    /// The list as JSON.
    Summary,
}

/// Longest wait for spans that have just ended.
const REFRESH_TIME: Duration = Duration::from_secs(1);

/// Responses that are rendered at the same time: the threads for blocking work
/// are there for scrapes in the first place.
const RENDERINGS: usize = 1;

/// Embedders of other sites get nothing of a page, not even by mistake.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Answers the requests.
pub(crate) struct TraceEndpoint {
    traces: Option<Traces>,
    setting: Audience,
    refreshes: Flights<(), ()>,
    renderings: Arc<Semaphore>,
}

/// Where a request comes from and what it asks for.
pub(crate) struct Asked<'a> {
    pub(crate) view: TraceView,
    pub(crate) peer: IpAddr,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

/// A response's text, before it is compressed.
struct Rendered {
    status: StatusCode,
    content_type: &'static str,
    text: String,
}

impl TraceEndpoint {
    pub(crate) fn new(traces: Option<Traces>, setting: Audience) -> Self {
        let renderings = Arc::new(Semaphore::new(RENDERINGS));
        Self { traces, setting, refreshes: Flights::default(), renderings }
    }

    pub(crate) async fn answer(&self, asked: Asked<'_>) -> Answer {
        let Asked { view, peer, uri, headers } = asked;
        if let Some(text) = access::refusal(self.setting, peer, uri.authority(), headers) {
            return Answer::text(StatusCode::FORBIDDEN, text.to_owned());
        }
        let selection = match Selection::parse(uri.query().unwrap_or_default()) {
            Ok(selection) => selection,
            Err(error) => return Answer::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        };
        let view = match view {
            TraceView::Page if negotiate::prefers_json_to_html(headers) => TraceView::Otlp,
            view => view,
        };
        self.refresh().await;
        let ring = self.traces.as_ref().map(|traces| Arc::clone(&traces.ring));
        let gzip = negotiate::gzip(headers);
        let render = move || {
            let Rendered { status, content_type, text } = match &ring {
                Some(ring) => render(ring, view, &selection),
                None => without_tracing(view),
            };
            let plain = Payload::from(text);
            let packed = if gzip { gzip::compress(&plain).ok() } else { None };
            let encoded = packed.is_some();
            (status, content_type, encoded, Arc::new(packed.unwrap_or(plain)))
        };
        let rendered = in_turn(Arc::clone(&self.renderings), render).await;
        let Some((status, content_type, encoded, payload)) = rendered else {
            let text = "the traces could not be rendered\n".to_owned();
            return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, text);
        };
        let mut headers = vec![
            (VARY, "Accept, Accept-Encoding"),
            (REFERRER_POLICY, "no-referrer"),
            (RESOURCE_POLICY, "same-origin"),
        ];
        if content_type == HTML {
            headers.push((CONTENT_SECURITY_POLICY, page::policy()));
        }
        if encoded {
            headers.push((CONTENT_ENCODING, "gzip"));
        }
        Answer { status, content_type, headers, payload }
    }

    /// A source that does not come back in time costs freshness, no more.
    async fn refresh(&self) {
        if let Some(traces) = &self.traces {
            let source = Arc::clone(&traces.source);
            let work = || async move {
                // A source that panicked has refreshed nothing.
                let _ = spawn_blocking(move || source.refresh(REFRESH_TIME)).await;
            };
            let _ = timeout(REFRESH_TIME, self.refreshes.join((), work)).await;
        }
    }
}

fn render(ring: &TraceRing, view: TraceView, selection: &Selection) -> Rendered {
    let ok = |content_type, text| Rendered { status: StatusCode::OK, content_type, text };
    let spans = match selection.trace_id {
        Some(id) => ring.spans_of(id),
        None => ring.spans(),
    };
    if let Some(id) = selection.trace_id
        && spans.is_empty()
    {
        let (content_type, text) = match view {
            TraceView::Page => (HTML, page::no_such_trace(selection)),
            _ => (PLAIN, format!("no span of trace {id} is held here\n")),
        };
        return Rendered { status: StatusCode::NOT_FOUND, content_type, text };
    }
    match (view, selection.trace_id) {
        (TraceView::Page, Some(id)) => ok(HTML, trace_page::html(id, &Waterfall::of(&spans))),
        (TraceView::Page, None) => {
            let selected = &summary::select(&spans, selection);
            ok(HTML, List { selection, selected, stats: ring.stats() }.html())
        }
        (TraceView::Otlp, _) => match json::otlp(&spans, &summary::select(&spans, selection)) {
            Ok(text) => ok(JSON, text),
            Err(error) => Rendered {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                content_type: PLAIN,
                text: format!("the spans cannot be written as JSON: {error}\n"),
            },
        },
        (TraceView::Summary, _) => {
            ok(JSON, json::summary(&summary::select(&spans, selection), ring.stats()))
        }
    }
}

fn without_tracing(view: TraceView) -> Rendered {
    let (status, content_type, text) = match view {
        TraceView::Page => (StatusCode::OK, HTML, page::no_tracing()),
        _ => (StatusCode::NOT_FOUND, PLAIN, "there is no tracing in this node\n".to_owned()),
    };
    Rendered { status, content_type, text }
}
