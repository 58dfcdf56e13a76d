//! A glance at encoded spans: what the ring has to know of each, read from the
//! wire format without decoding the rest. Bytes that make no sense are refused,
//! never trusted.

use erlmcp_trace::{RECORD_TAG, SpanId, TraceId};

/// The bodies of concatenated records. The first that cannot be read ends it
/// with a [`Malformed`].
#[derive(Debug)]
pub(crate) struct Bodies<'a> {
    rest: &'a [u8],
}

/// Bytes that are no record, or no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Bodies<'a> {
    pub(crate) fn of(records: &'a [u8]) -> Self {
        Self { rest: records }
    }

    /// Bytes that have not been read.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Bodies<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = match self.rest.split_first() {
            Some((&RECORD_TAG, rest)) => {
                let mut rest = rest;
                let body = delimited(&mut rest);
                body.map(|body| (body, rest))
            }
            _ => None,
        };
        match record {
            Some((body, rest)) => {
                self.rest = rest;
                Some(Ok(body))
            }
            None => {
                self.rest = &[];
                Some(Err(Malformed))
            }
        }
    }
}

/// What a list of traces needs of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glance<'a> {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) name: &'a [u8],
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) error: bool,
    /// Of the status; empty if there is none.
    pub(crate) message: &'a [u8],
}

/// Field numbers of `opentelemetry.proto.trace.v1.Span` and its `Status`.
mod field {
    pub(super) const TRACE_ID: u64 = 1;
    pub(super) const SPAN_ID: u64 = 2;
    pub(super) const PARENT_SPAN_ID: u64 = 4;
    pub(super) const NAME: u64 = 5;
    pub(super) const START: u64 = 7;
    pub(super) const END: u64 = 8;
    pub(super) const STATUS: u64 = 15;
    pub(super) const STATUS_MESSAGE: u64 = 2;
    pub(super) const STATUS_CODE: u64 = 3;
}

/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

impl<'a> Glance<'a> {
    /// Nothing when the bytes are no span, or one without ids.
    pub(crate) fn of(mut body: &'a [u8]) -> Option<Self> {
        let (mut trace_id, mut span_id, mut parent) = (None, None, None);
        let (mut name, mut start, mut end) = (&[][..], 0, 0);
        let (mut error, mut message) = (false, &[][..]);
        while !body.is_empty() {
            match read_field(&mut body)? {
                (field::TRACE_ID, Value::Bytes(b)) => {
                    trace_id = TraceId::from_bytes(b.try_into().ok()?);
                }
                (field::SPAN_ID, Value::Bytes(b)) => {
                    span_id = SpanId::from_bytes(b.try_into().ok()?);
                }
                (field::PARENT_SPAN_ID, Value::Bytes(b)) => {
                    parent = b.try_into().ok().and_then(SpanId::from_bytes);
                }
                (field::NAME, Value::Bytes(b)) => name = b,
                (field::START, Value::Fixed64(n)) => start = n,
                (field::END, Value::Fixed64(n)) => end = n,
                (field::STATUS, Value::Bytes(b)) => {
                    let (code, text) = status(b)?;
                    (error, message) = (code == ERROR, text);
                }
                _ => {}
            }
        }
        let (trace_id, span_id) = (trace_id?, span_id?);
        Some(Self { trace_id, span_id, parent, name, start, end, error, message })
    }

    /// Nanoseconds from start to end; none when the clock went backwards.
    pub(crate) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// Code and message.
fn status(mut status: &[u8]) -> Option<(u64, &[u8])> {
    let (mut code, mut message) = (0, &[][..]);
    while !status.is_empty() {
        match read_field(&mut status)? {
            (field::STATUS_CODE, Value::Varint(n)) => code = n,
            (field::STATUS_MESSAGE, Value::Bytes(text)) => message = text,
            _ => {}
        }
    }
    Some((code, message))
}

enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// Takes a field's number and value off the front. Groups, which no message of
/// ours has, are refused like everything else that is unknown.
fn read_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 0x7 {
        0 => Value::Varint(varint(bytes)?),
        1 => Value::Fixed64(u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?)),
        2 => Value::Bytes(delimited(bytes)?),
        5 => take(bytes, 4).map(|_| Value::Fixed32)?,
        _ => return None,
    };
    Some((key >> 3, value))
}

fn delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    take(bytes, length)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::sample::{records, span};
    use opentelemetry_proto::tonic::trace::v1::{Status, status::StatusCode};
    use prost::Message;

    #[test]
    fn a_glance_sees_what_the_span_says() {
        let mut sample = span(1, 2, Some(3), "tools/call", 1_000, 250);
        sample.trace_state = "a=1".into();
        sample.status = Some(Status { message: "no".into(), code: StatusCode::Error as i32 });
        sample.flags = 0x301;
        let body = sample.encode_to_vec();
        let glance = Glance::of(&body).unwrap();
        assert_eq!(glance.trace_id.to_bytes().as_slice(), sample.trace_id);
        assert_eq!(glance.span_id.to_bytes().as_slice(), sample.span_id);
        assert_eq!(glance.parent.unwrap().to_bytes().as_slice(), sample.parent_span_id);
        assert_eq!((glance.name, glance.start), (&b"tools/call"[..], sample.start_time_unix_nano));
        assert_eq!((glance.duration(), glance.error), (250_000_000, true));
    }

    #[test]
    fn bytes_that_are_no_span_are_refused() {
        let body = span(1, 2, None, "x", 0, 1).encode_to_vec();
        for length in 0..body.len() {
            // Cut anywhere it is refused, or seen as a span with fewer fields.
            let _ = Glance::of(&body[..length]);
        }
        assert_eq!(Glance::of(&[]), None, "no ids");
        assert_eq!(Glance::of(&[0x0B, 0x0C]), None, "a group");
        assert_eq!(Glance::of(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), None);
        assert_eq!(Glance::of(&[0xFF; 11]), None, "a varint without end");
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..40)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 56) as u8
                })
                .collect();
            let _ = Glance::of(&noise);
            let _ = Bodies::of(&noise).count();
        }
    }

    #[test]
    fn records_are_told_apart_up_to_the_first_bad_one() {
        let mut records = records(&[span(1, 1, None, "a", 0, 1), span(1, 2, None, "b", 0, 1)]);
        assert!(Bodies::of(&records.bytes).all(|body| body.is_ok()));
        assert_eq!(Bodies::of(&records.bytes).count(), 2);
        records.bytes.truncate(records.bytes.len() - 1);
        assert_eq!(Bodies::of(&records.bytes).filter(Result::is_err).count(), 1);
        assert_eq!(Bodies::of(&[0x0A, 0]).next(), Some(Err(Malformed)));
    }
}
