//! The frame of a request: resource and scope, written once, around records
//! that are ready.
//!
//! The three requests of OTLP have one shape. Field 1 of each is a message
//! whose field 1 is the resource and whose field 2 is a message in turn: its
//! field 1 is the scope, its field 2 a record, as often as there are records.

use bytes::{Buf, Bytes};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use super::config::AttributeValue;

/// Tag of field 1, length-delimited: the resource's message in the request, the
/// resource in it, the scope in its message.
const FIRST: u8 = 0x0A;
/// Tag of field 2, length-delimited: the scope's message; a record in it.
const SECOND: u8 = 0x12;

/// Resource and scope of everything that an exporter sends, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeBytes {
    resource: Bytes,
    scope: Bytes,
}

impl ScopeBytes {
    /// Encodes them.
    #[must_use]
    pub fn new(
        resource: &[(String, AttributeValue)],
        scope_name: &str,
        scope_version: &str,
    ) -> Self {
        let resource = Resource {
            attributes: resource.iter().map(|(key, value)| key_value(key, value)).collect(),
            ..Resource::default()
        };
        let scope = InstrumentationScope {
            name: scope_name.to_owned(),
            version: scope_version.to_owned(),
            ..InstrumentationScope::default()
        };
        Self {
            resource: field(FIRST, &resource.encode_to_vec()),
            scope: field(FIRST, &scope.encode_to_vec()),
        }
    }

    /// The resource, with tag and length: field 1 of its message.
    #[must_use]
    pub fn resource(&self) -> &[u8] {
        &self.resource
    }

    /// The scope, with tag and length: field 1 of its message.
    #[must_use]
    pub fn scope(&self) -> &[u8] {
        &self.scope
    }

    /// Most bytes that a request has beside its records.
    #[must_use]
    pub fn overhead(&self) -> usize {
        // Two messages around the records, each with a tag and a length that
        // fits in 32 bits.
        self.resource.len() + self.scope.len() + 2 * (1 + 5)
    }

    /// A whole request: the frame around records as
    /// [`Records`](erlmcp_trace::Records) holds them. The records are its last
    /// bytes.
    #[must_use]
    pub fn request<'a>(
        &self,
        records: impl IntoIterator<Item = &'a [u8]>,
        records_len: usize,
    ) -> Vec<u8> {
        let scope_len = self.scope.len() + records_len;
        let resource_len =
            self.resource.len() + 1 + encoded_len_varint(scope_len as u64) + scope_len;
        let whole = 1 + encoded_len_varint(resource_len as u64) + resource_len;
        let mut request = Vec::with_capacity(whole);
        request.push(FIRST);
        encode_varint(resource_len as u64, &mut request);
        request.extend_from_slice(&self.resource);
        request.push(SECOND);
        encode_varint(scope_len as u64, &mut request);
        request.extend_from_slice(&self.scope);
        for part in records {
            request.extend_from_slice(part);
        }
        request
    }

    /// Resource and scope of a whole request, of which the records begin at
    /// `records_at`. It may be another exporter's, from the spool.
    pub(crate) fn of_request(request: &Bytes, records_at: usize) -> Option<Self> {
        let mut rest = request.get(..records_at)?;
        skip_header(&mut rest, FIRST)?;
        let resource_at = records_at - rest.len();
        skip_field(&mut rest, FIRST)?;
        let resource_end = records_at - rest.len();
        skip_header(&mut rest, SECOND)?;
        let scope_at = records_at - rest.len();
        skip_field(&mut rest, FIRST)?;
        if !rest.is_empty() {
            return None;
        }
        Some(Self {
            resource: request.slice(resource_at..resource_end),
            scope: request.slice(scope_at..records_at),
        })
    }
}

/// Length of the first record of `records`, with tag and length; nothing if it
/// is not a record.
pub(crate) fn record_len(records: &[u8]) -> Option<usize> {
    let mut rest = records;
    skip_field(&mut rest, SECOND)?;
    Some(records.len() - rest.len())
}

fn skip_header(rest: &mut &[u8], tag: u8) -> Option<usize> {
    if rest.first() != Some(&tag) {
        return None;
    }
    rest.advance(1);
    usize::try_from(decode_varint(rest).ok()?).ok()
}

fn skip_field(rest: &mut &[u8], tag: u8) -> Option<()> {
    let len = skip_header(rest, tag)?;
    if rest.len() < len {
        return None;
    }
    rest.advance(len);
    Some(())
}

fn field(tag: u8, message: &[u8]) -> Bytes {
    let mut field = Vec::with_capacity(message.len() + 6);
    field.push(tag);
    encode_varint(message.len() as u64, &mut field);
    field.extend_from_slice(message);
    field.into()
}

fn key_value(key: &str, value: &AttributeValue) -> KeyValue {
    let text = |text: &String| Value::StringValue(text.clone());
    let value = match value {
        AttributeValue::String(value) => text(value),
        AttributeValue::Bool(value) => Value::BoolValue(*value),
        AttributeValue::Int(value) => Value::IntValue(*value),
        AttributeValue::Double(value) => Value::DoubleValue(*value),
        AttributeValue::Strings(values) => Value::ArrayValue(ArrayValue {
            values: values.iter().map(|value| AnyValue { value: Some(text(value)) }).collect(),
        }),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::Span;

    use super::*;

    fn scope() -> ScopeBytes {
        let resource = [
            ("service.name".to_owned(), AttributeValue::String("shop".to_owned())),
            ("process.pid".to_owned(), AttributeValue::Int(7)),
        ];
        ScopeBytes::new(&resource, "scope", "1.2.3")
    }

    fn record(name: &str) -> Vec<u8> {
        let span = Span { name: name.to_owned(), ..Span::default() };
        field(SECOND, &span.encode_to_vec()).to_vec()
    }

    #[test]
    fn a_request_is_what_others_decode() {
        let records = [record("a"), record(&"b".repeat(300))];
        let len = records.iter().map(Vec::len).sum();
        let request = scope().request(records.iter().map(Vec::as_slice), len);
        assert!(request.len() <= scope().overhead() + len);
        let decoded = ExportTraceServiceRequest::decode(request.as_slice()).unwrap();
        let [spans] = decoded.resource_spans.as_slice() else { panic!() };
        assert_eq!(spans.resource.as_ref().unwrap().attributes.len(), 2);
        let [spans] = spans.scope_spans.as_slice() else { panic!() };
        assert_eq!(spans.scope.as_ref().unwrap().version, "1.2.3");
        let names: Vec<usize> = spans.spans.iter().map(|span| span.name.len()).collect();
        assert_eq!(names, [1, 300]);
    }

    #[test]
    fn the_frame_of_a_request_is_found_again() {
        let record = record("a");
        let request = Bytes::from(scope().request([record.as_slice()], record.len()));
        let records_at = request.len() - record.len();
        assert_eq!(ScopeBytes::of_request(&request, records_at), Some(scope()));
        for wrong in 0..records_at {
            assert_eq!(ScopeBytes::of_request(&request, wrong), None);
        }
    }

    #[test]
    fn a_record_is_measured() {
        let mut records = record("abc");
        let len = records.len();
        records.extend_from_slice(&record("d"));
        assert_eq!(record_len(&records), Some(len));
        assert_eq!(record_len(&records[..len - 1]), None, "cut off");
        assert_eq!(record_len(&[0x0A, 0]), None, "another field");
        assert_eq!(record_len(&[]), None);
    }
}
