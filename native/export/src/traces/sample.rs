//! Spans for tests.

use erlmcp_trace::{RECORD_TAG, Records};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};
use prost::Message;

/// 2026-01-31T12:00:00Z, in milliseconds.
const BASE_MS: u64 = 1_769_860_800_000;

/// A span of trace `trace` that began `at_ms` after noon and took `ms`.
pub(crate) fn span(
    trace: u8,
    id: u64,
    parent: Option<u64>,
    name: &str,
    at_ms: u64,
    ms: u64,
) -> Span {
    let mut trace_id = vec![0xAB; 16];
    trace_id[15] = trace;
    let span_id = |id: u64| (id + 1).to_be_bytes().to_vec();
    let start = (BASE_MS + at_ms) * 1_000_000;
    Span {
        trace_id,
        span_id: span_id(id),
        parent_span_id: parent.map(span_id).unwrap_or_default(),
        name: name.to_owned(),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: start,
        end_time_unix_nano: start + ms * 1_000_000,
        ..Span::default()
    }
}

/// The span, with an error.
pub(crate) fn failed(mut span: Span) -> Span {
    span.status = Some(Status { message: "it failed".into(), code: StatusCode::Error as i32 });
    span
}

pub(crate) fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Records as the queue hands them out.
pub(crate) fn records<M: Message>(messages: &[M]) -> Records {
    let mut records = Records::default();
    for message in messages {
        records.count += 1;
        records.bytes.push(RECORD_TAG);
        records.bytes.extend(message.encode_length_delimited_to_vec());
    }
    records
}
