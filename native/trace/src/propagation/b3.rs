//! B3, the headers of Zipkin: one, or several.
//!
//! A trace id of 16 digits is padded with zeros on the left. Where the sender
//! left the decision open, the context counts as not sampled, as in the other
//! implementations of OpenTelemetry. Debug counts as sampled. A header that
//! says "do not sample" and has no ids is no context.

use crate::{SpanContext, SpanId, TraceId, TraceState};

/// The name of the single header.
pub(super) const B3: &str = "b3";
/// The names of the several.
pub(super) const TRACE_ID: &str = "x-b3-traceid";
pub(super) const SPAN_ID: &str = "x-b3-spanid";
pub(super) const SAMPLED: &str = "x-b3-sampled";
pub(super) const FLAGS: &str = "x-b3-flags";

/// Reads `{trace id}-{span id}[-{sampled}[-{parent span id}]]`.
#[must_use]
pub fn parse(value: &str) -> Option<SpanContext> {
    let mut parts = trimmed(value).split('-');
    let trace_id = trace_id(parts.next()?)?;
    let span_id = SpanId::from_hex(parts.next()?.as_bytes())?;
    let sampled = match parts.next() {
        None | Some("0") => false,
        Some("1" | "d") => true,
        Some(_) => return None,
    };
    let parent_is_legal =
        parts.next().is_none_or(|parent| SpanId::from_hex(parent.as_bytes()).is_some());
    let is_end = parts.next().is_none();
    (parent_is_legal && is_end).then(|| context(trace_id, span_id, sampled))
}

/// Reads the values of `X-B3-TraceId`, `-SpanId`, `-Sampled` and `-Flags`.
#[must_use]
pub fn parse_multi(
    trace: &str,
    span: &str,
    sampled: Option<&str>,
    flags: Option<&str>,
) -> Option<SpanContext> {
    let trace_id = trace_id(trimmed(trace))?;
    let span_id = SpanId::from_hex(trimmed(span).as_bytes())?;
    let debug = flags.map(trimmed) == Some("1");
    let sampled = match sampled.map(trimmed) {
        None | Some("0") => false,
        Some("1") => true,
        // Written by older tracers.
        Some(word) if word.eq_ignore_ascii_case("true") => true,
        Some(word) if word.eq_ignore_ascii_case("false") => false,
        Some(_) => return None,
    };
    Some(context(trace_id, span_id, sampled || debug))
}

/// Writes the single header.
#[must_use]
pub fn single(context: &SpanContext) -> [u8; 51] {
    let mut text = *b"00000000000000000000000000000000-0000000000000000-0";
    text[..32].copy_from_slice(&context.trace_id.to_hex());
    text[33..49].copy_from_slice(&context.span_id.to_hex());
    text[50] = if context.sampled { b'1' } else { b'0' };
    text
}

fn context(trace_id: TraceId, span_id: SpanId, sampled: bool) -> SpanContext {
    SpanContext { trace_id, span_id, sampled, remote: true, trace_state: TraceState::default() }
}

fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

fn trace_id(digits: &str) -> Option<TraceId> {
    if digits.len() == 16 {
        let mut padded = [b'0'; 32];
        padded[16..].copy_from_slice(digits.as_bytes());
        return TraceId::from_hex(&padded);
    }
    TraceId::from_hex(digits.as_bytes())
}
