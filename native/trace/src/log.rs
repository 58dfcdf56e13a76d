//! Log records: `opentelemetry/proto/logs/v1/logs.proto`.

use crate::attribute::{Attributes, ValueWriter, cut};
use crate::id::{SpanId, TraceId};
use crate::limits::SpanLimits;
use crate::wire::{push_bytes, push_fixed32, push_fixed64, push_message, push_uint};

/// A log record that is being written. Its memory is used again for the next.
#[derive(Debug, Default)]
pub struct LogRecord {
    bytes: Vec<u8>,
    attributes: Attributes,
    limits: SpanLimits,
}

/// What a log record begins with.
#[derive(Debug, Clone, Copy)]
pub struct LogHead<'a> {
    /// When it happened, in nanoseconds since 1970.
    pub time_ns: u64,
    /// When it was seen.
    pub observed_ns: u64,
    /// From 1 (trace) to 24 (fatal); 9 is info, 13 a warning, 17 an error.
    pub severity: u8,
    /// The level as the source calls it.
    pub severity_text: &'a str,
    /// The span it was written in, and whether that is sampled.
    pub span: Option<(TraceId, SpanId, bool)>,
}

mod field {
    pub(super) const TIME: u32 = 1;
    pub(super) const SEVERITY_NUMBER: u32 = 2;
    pub(super) const SEVERITY_TEXT: u32 = 3;
    pub(super) const BODY: u32 = 5;
    pub(super) const ATTRIBUTES: u32 = 6;
    pub(super) const DROPPED_ATTRIBUTES: u32 = 7;
    pub(super) const FLAGS: u32 = 8;
    pub(super) const TRACE_ID: u32 = 9;
    pub(super) const SPAN_ID: u32 = 10;
    pub(super) const OBSERVED: u32 = 11;
}

/// Longest name of a level, in characters.
const MAX_SEVERITY_CHARS: usize = 64;
/// What the memory keeps for the next record.
const KEPT_BYTES: usize = 64 << 10;

impl LogRecord {
    /// Begins a record in the place of the one before. Of the limits those of
    /// attributes, values and bytes count.
    pub fn begin(
        &mut self,
        head: &LogHead<'_>,
        limits: SpanLimits,
        body: impl FnOnce(ValueWriter<'_>),
    ) {
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.attributes.clear();
        self.limits = limits;
        let out = &mut self.bytes;
        push_fixed64(out, field::TIME, head.time_ns);
        push_fixed64(out, field::OBSERVED, head.observed_ns);
        push_uint(out, field::SEVERITY_NUMBER, u64::from(head.severity.min(24)));
        push_bytes(
            out,
            field::SEVERITY_TEXT,
            cut(head.severity_text, MAX_SEVERITY_CHARS).as_bytes(),
        );
        if let Some((trace_id, span_id, sampled)) = head.span {
            push_bytes(out, field::TRACE_ID, &trace_id.to_bytes());
            push_bytes(out, field::SPAN_ID, &span_id.to_bytes());
            push_fixed32(out, field::FLAGS, u32::from(sampled));
        }
        push_message(out, field::BODY, |out| {
            body(ValueWriter::new(out, &limits));
        });
    }

    /// Sets an attribute, in the place of one with the same key.
    pub fn set_attribute(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>)) {
        let Self { bytes, attributes, limits } = self;
        attributes.set(bytes, field::ATTRIBUTES, limits.attributes, limits, key, write);
    }

    /// Counts attributes that are left out.
    pub fn drop_attributes(&mut self, count: usize) {
        self.attributes.drop_some(count);
    }

    /// The whole record.
    pub fn finish(&mut self) -> &[u8] {
        if self.attributes.dropped() > 0 {
            let dropped = u64::from(self.attributes.dropped());
            push_uint(&mut self.bytes, field::DROPPED_ATTRIBUTES, dropped);
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::logs::v1::LogRecord as Decoded;
    use prost::Message;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let trace_id = TraceId::from_bytes([1; 16]).unwrap();
        let span_id = SpanId::from_bytes([2; 8]).unwrap();
        let mut record = LogRecord::default();
        for _ in 0..2 {
            let head = LogHead {
                time_ns: 5,
                observed_ns: 6,
                severity: 17,
                severity_text: "error",
                span: Some((trace_id, span_id, true)),
            };
            record.begin(&head, SpanLimits { attributes: 1, ..SpanLimits::default() }, |body| {
                body.string("it broke");
            });
            record.set_attribute("pid", |to| to.string("<0.1.0>"));
            record.set_attribute("pid", |to| to.int(7));
            record.set_attribute("too", |to| to.string("many"));
            let decoded = Decoded::decode(record.finish()).unwrap();
            assert_eq!((decoded.time_unix_nano, decoded.observed_time_unix_nano), (5, 6));
            assert_eq!((decoded.severity_number, &*decoded.severity_text), (17, "error"));
            assert_eq!((&*decoded.trace_id, &*decoded.span_id), (&[1; 16][..], &[2; 8][..]));
            assert_eq!(decoded.flags, 1);
            assert_eq!(decoded.body.unwrap().value, Some(Value::StringValue("it broke".into())));
            assert_eq!(decoded.attributes.len(), 1);
            let value = decoded.attributes[0].value.clone().unwrap().value;
            assert_eq!(value, Some(Value::IntValue(7)));
            assert_eq!(decoded.dropped_attributes_count, 1);
        }
    }
}
