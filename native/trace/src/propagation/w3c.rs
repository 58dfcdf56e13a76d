//! `traceparent`, as W3C Trace Context Level 2 has it.

use crate::{SpanContext, SpanId, TraceId, TraceState};

/// The name of the header with the ids.
pub(super) const TRACEPARENT: &str = "traceparent";
/// The name of the header with the trace state.
pub(super) const TRACESTATE: &str = "tracestate";

/// Length of version 00.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// Reads a `traceparent` and the lines of a `tracestate`.
///
/// A version above 00 is read as far as its start is that of 00. Of the flags
/// the sampled bit is taken. Nothing if the `traceparent` is not valid; a
/// `tracestate` that is not valid is left out.
pub fn parse<'a>(
    traceparent: &str,
    tracestate: impl IntoIterator<Item = &'a str>,
) -> Option<SpanContext> {
    let bytes = traceparent.trim_matches([' ', '\t']).as_bytes();
    let version = hex_byte(bytes.get(0..2)?)?;
    let end_is_legal = match version {
        0x00 => bytes.len() == LENGTH,
        0xFF => false,
        _ => matches!(bytes.get(LENGTH), None | Some(b'-')),
    };
    let dashes = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    if !end_is_legal || !dashes {
        return None;
    }
    Some(SpanContext {
        trace_id: TraceId::from_hex(bytes.get(3..35)?)?,
        span_id: SpanId::from_hex(bytes.get(36..52)?)?,
        sampled: hex_byte(bytes.get(53..LENGTH)?)? & SAMPLED != 0,
        remote: true,
        trace_state: TraceState::parse(tracestate),
    })
}

/// Writes a `traceparent` of version 00.
///
/// The flags are `01` or `00`. Level 2's flag for random ids is not set, though
/// ours are random: receivers of Level 1 that compare the two digits exist, and
/// a trace id that was passed on to us need not be random.
#[must_use]
pub fn traceparent(context: &SpanContext) -> [u8; LENGTH] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    text[3..35].copy_from_slice(&context.trace_id.to_hex());
    text[36..52].copy_from_slice(&context.span_id.to_hex());
    text[54] = if context.sampled { b'1' } else { b'0' };
    text
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |n: u8, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(n << 4 | digit)
    })
}
