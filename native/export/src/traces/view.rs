//! Spans decoded, for those who look at them: the page of traces and the tests
//! of an application.

use erlmcp_trace::{Records, SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span, status::StatusCode};
use prost::Message;

use crate::traces::wire::Bodies;

/// What a buffer of records holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DecodedSpans {
    /// The spans, in the order of the buffer.
    pub spans: Vec<SpanView>,
    /// Records that are no spans. A record whose length is wrong hides those
    /// behind it, and all of them are counted.
    pub unreadable: u32,
}

/// A span as its recorder meant it.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanView {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that it was started in.
    pub parent: Option<SpanId>,
    /// The W3C `tracestate`; empty if there is none.
    pub trace_state: String,
    /// The W3C trace flags, and in bits 8 and 9 whether the parent is known to
    /// be remote, and is.
    pub flags: u32,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// When it ended, in nanoseconds since 1970.
    pub end_unix_nano: u64,
    /// Its attributes, as they were encoded.
    pub attributes: Vec<(String, ValueView)>,
    /// Attributes that a limit dropped.
    pub dropped_attributes: u32,
    /// Its events, as they were encoded.
    pub events: Vec<EventView>,
    /// Events that a limit dropped.
    pub dropped_events: u32,
    /// Its links.
    pub links: Vec<LinkView>,
    /// Links that a limit dropped.
    pub dropped_links: u32,
    /// How it ended.
    pub status: StatusView,
}

/// What a span's part in a call was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Not said.
    Unspecified,
    /// Work inside of the application.
    Internal,
    /// A request that was served.
    Server,
    /// A request that was made.
    Client,
    /// A message that was sent.
    Producer,
    /// A message that was received.
    Consumer,
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusView {
    /// Not said, which is the usual good end.
    Unset,
    /// Said to be good.
    Ok,
    /// Failed, with what was said about it.
    Error(String),
}

/// Something that happened during a span.
#[derive(Debug, Clone, PartialEq)]
pub struct EventView {
    /// When, in nanoseconds since 1970.
    pub unix_nano: u64,
    /// What.
    pub name: String,
    /// Its attributes.
    pub attributes: Vec<(String, ValueView)>,
    /// Attributes that a limit dropped.
    pub dropped_attributes: u32,
}

/// A span elsewhere that has to do with this one.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkView {
    /// Its trace; nothing if the link names none.
    pub trace_id: Option<TraceId>,
    /// The span; nothing if the link names none.
    pub span_id: Option<SpanId>,
    /// The W3C `tracestate`.
    pub trace_state: String,
    /// The link's attributes.
    pub attributes: Vec<(String, ValueView)>,
    /// Attributes that a limit dropped.
    pub dropped_attributes: u32,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueView {
    /// No value.
    Empty,
    /// Text.
    String(String),
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number, not always finite.
    Double(f64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    Array(Vec<ValueView>),
    /// Values with keys.
    Map(Vec<(String, ValueView)>),
}

/// Decodes a buffer of encoded spans.
#[must_use]
pub fn decode_spans(records: &Records) -> DecodedSpans {
    let mut decoded = DecodedSpans::default();
    for body in Bodies::of(&records.bytes) {
        decoded.spans.extend(body.ok().and_then(decode_span));
    }
    let readable = u32::try_from(decoded.spans.len()).unwrap_or(u32::MAX);
    decoded.unreadable = records.count.saturating_sub(readable);
    decoded
}

/// Decodes a span; nothing when the bytes are none, or one without ids.
pub(crate) fn decode_span(body: &[u8]) -> Option<SpanView> {
    SpanView::of(Span::decode(body).ok()?)
}

/// In [`SpanView::flags`]: whether it is known that the parent is remote.
const HAS_IS_REMOTE: u32 = 0x100;
/// In [`SpanView::flags`]: whether the parent is remote.
const IS_REMOTE: u32 = 0x200;

impl SpanView {
    fn of(span: Span) -> Option<Self> {
        let status = match span.status {
            Some(status) if status.code == StatusCode::Error as i32 => {
                StatusView::Error(status.message)
            }
            Some(status) if status.code == StatusCode::Ok as i32 => StatusView::Ok,
            _ => StatusView::Unset,
        };
        Some(Self {
            trace_id: trace_id(&span.trace_id)?,
            span_id: span_id(&span.span_id)?,
            parent: span_id(&span.parent_span_id),
            trace_state: span.trace_state,
            flags: span.flags,
            name: span.name,
            kind: SpanKind::of(span.kind),
            start_unix_nano: span.start_time_unix_nano,
            end_unix_nano: span.end_time_unix_nano,
            attributes: attributes(span.attributes),
            dropped_attributes: span.dropped_attributes_count,
            events: span.events.into_iter().map(EventView::of).collect(),
            dropped_events: span.dropped_events_count,
            links: span.links.into_iter().map(LinkView::of).collect(),
            dropped_links: span.dropped_links_count,
            status,
        })
    }

    /// Nanoseconds from start to end; none when the clock went backwards.
    #[must_use]
    pub fn duration_nanos(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano)
    }

    /// Whether it ended in an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self.status, StatusView::Error(_))
    }

    /// Whether its parent is known to be a span of another process.
    #[must_use]
    pub fn has_remote_parent(&self) -> bool {
        self.parent.is_some()
            && self.flags & (HAS_IS_REMOTE | IS_REMOTE) == HAS_IS_REMOTE | IS_REMOTE
    }

    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&ValueView> {
        self.attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }
}

impl SpanKind {
    fn of(number: i32) -> Self {
        match span::SpanKind::try_from(number) {
            Ok(span::SpanKind::Internal) => Self::Internal,
            Ok(span::SpanKind::Server) => Self::Server,
            Ok(span::SpanKind::Client) => Self::Client,
            Ok(span::SpanKind::Producer) => Self::Producer,
            Ok(span::SpanKind::Consumer) => Self::Consumer,
            Ok(span::SpanKind::Unspecified) | Err(_) => Self::Unspecified,
        }
    }

    /// The kind's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

impl EventView {
    fn of(event: span::Event) -> Self {
        Self {
            unix_nano: event.time_unix_nano,
            name: event.name,
            attributes: attributes(event.attributes),
            dropped_attributes: event.dropped_attributes_count,
        }
    }
}

impl LinkView {
    fn of(link: span::Link) -> Self {
        Self {
            trace_id: trace_id(&link.trace_id),
            span_id: span_id(&link.span_id),
            trace_state: link.trace_state,
            attributes: attributes(link.attributes),
            dropped_attributes: link.dropped_attributes_count,
        }
    }
}

impl ValueView {
    fn of(value: Option<AnyValue>) -> Self {
        match value.and_then(|value| value.value) {
            None | Some(Value::StringValueStrindex(_)) => Self::Empty,
            Some(Value::StringValue(text)) => Self::String(text),
            Some(Value::BoolValue(truth)) => Self::Bool(truth),
            Some(Value::IntValue(n)) => Self::Int(n),
            Some(Value::DoubleValue(n)) => Self::Double(n),
            Some(Value::BytesValue(bytes)) => Self::Bytes(bytes),
            Some(Value::ArrayValue(array)) => {
                Self::Array(array.values.into_iter().map(|v| Self::of(Some(v))).collect())
            }
            Some(Value::KvlistValue(list)) => Self::Map(attributes(list.values)),
        }
    }
}

/// The attributes of a resource, for the page.
pub(crate) fn attributes(pairs: Vec<KeyValue>) -> Vec<(String, ValueView)> {
    pairs.into_iter().map(|pair| (pair.key, ValueView::of(pair.value))).collect()
}

fn trace_id(bytes: &[u8]) -> Option<TraceId> {
    TraceId::from_bytes(bytes.try_into().ok()?)
}

fn span_id(bytes: &[u8]) -> Option<SpanId> {
    SpanId::from_bytes(bytes.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::sample::{attribute, records, span};
    use opentelemetry_proto::tonic::common::v1::{ArrayValue, KeyValueList};
    use opentelemetry_proto::tonic::trace::v1::Status;

    #[test]
    fn every_part_of_a_span_is_seen() {
        let mut sample = span(1, 2, Some(3), "call", 1_000, 5);
        let nested = |value| AnyValue { value: Some(value) };
        sample.attributes = vec![
            attribute("text", Value::StringValue("é".into())),
            attribute("yes", Value::BoolValue(true)),
            attribute("int", Value::IntValue(i64::MIN)),
            attribute("double", Value::DoubleValue(f64::INFINITY)),
            attribute("bytes", Value::BytesValue(vec![0, 255])),
            attribute(
                "array",
                Value::ArrayValue(ArrayValue {
                    values: vec![nested(Value::IntValue(1)), AnyValue { value: None }],
                }),
            ),
            attribute(
                "map",
                Value::KvlistValue(KeyValueList {
                    values: vec![attribute("k", Value::StringValue("v".into()))],
                }),
            ),
        ];
        sample.dropped_attributes_count = 1;
        sample.events = vec![span::Event {
            time_unix_nano: 7,
            name: "exception".into(),
            attributes: vec![attribute("exception.type", Value::StringValue("error".into()))],
            dropped_attributes_count: 2,
        }];
        sample.links = vec![span::Link {
            trace_id: vec![9; 16],
            span_id: vec![8; 8],
            trace_state: "b=2".into(),
            ..span::Link::default()
        }];
        sample.flags = 0x301;
        sample.status = Some(Status { message: "gone".into(), code: StatusCode::Error as i32 });
        let decoded = decode_spans(&records(&[sample]));
        assert_eq!((decoded.spans.len(), decoded.unreadable), (1, 0));
        let view = &decoded.spans[0];
        assert_eq!(
            view.attributes,
            [
                ("text".to_owned(), ValueView::String("é".into())),
                ("yes".to_owned(), ValueView::Bool(true)),
                ("int".to_owned(), ValueView::Int(i64::MIN)),
                ("double".to_owned(), ValueView::Double(f64::INFINITY)),
                ("bytes".to_owned(), ValueView::Bytes(vec![0, 255])),
                ("array".to_owned(), ValueView::Array(vec![ValueView::Int(1), ValueView::Empty])),
                (
                    "map".to_owned(),
                    ValueView::Map(vec![("k".to_owned(), ValueView::String("v".into()))])
                ),
            ]
        );
        assert_eq!(view.events[0].dropped_attributes, 2);
        assert_eq!(view.links[0].trace_id, TraceId::from_bytes([9; 16]));
        assert_eq!(view.status, StatusView::Error("gone".into()));
        assert_eq!((view.kind, view.duration_nanos()), (SpanKind::Server, 5_000_000));
        assert!(view.has_remote_parent() && view.is_error());
        assert_eq!(view.attribute("yes"), Some(&ValueView::Bool(true)));
    }

    #[test]
    fn what_is_no_span_is_counted() {
        let mut records = records(&[span(1, 1, None, "a", 0, 1), span(1, 2, None, "b", 0, 1)]);
        records.bytes.splice(0..0, [0x12, 2, 0xFF, 0xFF]);
        records.count += 1;
        let decoded = decode_spans(&records);
        assert_eq!((decoded.spans.len(), decoded.unreadable), (2, 1));
    }
}
