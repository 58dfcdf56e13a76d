//! What is known of a span from outside of it.

use crate::{SpanId, TraceId, TraceState};

/// The ids of a span and what travels with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace that the span is part of.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// Whether the span may be recorded; its children follow by default.
    pub sampled: bool,
    /// Whether the context came from elsewhere.
    pub remote: bool,
    /// What other tracing systems have sent along.
    pub trace_state: TraceState,
}

/// The span is sampled.
pub const FLAG_SAMPLED: u8 = 1;
/// The span is recorded by this node, whether it is sampled or not.
pub const FLAG_RECORDING: u8 = 2;
/// The context came from elsewhere.
pub const FLAG_REMOTE: u8 = 4;

/// Ids, flags and the handle, which is 0 where no span of this node is open.
const FIXED: usize = 16 + 8 + 1 + 8;

impl SpanContext {
    /// The binary that is a span context in Erlang: 16 bytes of trace id, 8 of
    /// span id, 1 of flags, a handle of 8 that is 0 here, and the trace state.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + self.trace_state.as_str().len());
        let sampled = if self.sampled { FLAG_SAMPLED } else { 0 };
        let remote = if self.remote { FLAG_REMOTE } else { 0 };
        bytes.extend_from_slice(&self.trace_id.to_bytes());
        bytes.extend_from_slice(&self.span_id.to_bytes());
        bytes.push(sampled | remote);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(self.trace_state.as_str().as_bytes());
        bytes
    }

    /// The context in such a binary, whatever its handle is. Nothing if it is
    /// none; a trace state that is not valid is left out.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace_id, rest) = bytes.split_first_chunk()?;
        let (span_id, rest) = rest.split_first_chunk()?;
        let (&[flags], rest) = rest.split_first_chunk()?;
        let (&[_, _, _, _, _, _, _, _], trace_state) = rest.split_first_chunk()?;
        Some(Self {
            trace_id: TraceId::from_bytes(*trace_id)?,
            span_id: SpanId::from_bytes(*span_id)?,
            sampled: flags & FLAG_SAMPLED != 0,
            remote: flags & FLAG_REMOTE != 0,
            trace_state: TraceState::parse(std::str::from_utf8(trace_state).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_binary_has_the_agreed_layout() {
        let context = SpanContext {
            trace_id: TraceId::from_bytes([1; 16]).unwrap(),
            span_id: SpanId::from_bytes([2; 8]).unwrap(),
            sampled: true,
            remote: true,
            trace_state: TraceState::parse(["a=1"]),
        };
        let mut expected = [[1; 16].as_slice(), &[2; 8], &[5], &[0; 8], b"a=1"].concat();
        assert_eq!(context.to_bytes(), expected);
        expected[24] |= FLAG_RECORDING;
        expected[30] = 7;
        assert_eq!(SpanContext::from_bytes(&expected), Some(context.clone()), "handle ignored");
        expected.truncate(FIXED);
        let bare = SpanContext { trace_state: TraceState::default(), ..context };
        assert_eq!(SpanContext::from_bytes(&expected), Some(bare));
    }

    #[test]
    fn what_is_no_context_is_refused() {
        assert_eq!(SpanContext::from_bytes(&[1; FIXED - 1]), None);
        assert_eq!(SpanContext::from_bytes(&[0; FIXED]), None);
        let hostile = [[1; FIXED].as_slice(), b"a=1\r\nset-cookie: x"].concat();
        assert!(SpanContext::from_bytes(&hostile).unwrap().trace_state.is_empty());
    }

    proptest! {
        #[test]
        fn there_and_back(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(),
                          sampled: bool, remote: bool, key in "[a-z]{1,9}", value in "[0-9]{1,9}") {
            if let (Some(trace_id), Some(span_id)) =
                (TraceId::from_bytes(trace), SpanId::from_bytes(span))
            {
                let line = format!("{key}={value}");
                let trace_state = TraceState::parse([line.as_str()]);
                let context = SpanContext { trace_id, span_id, sampled, remote, trace_state };
                prop_assert_eq!(SpanContext::from_bytes(&context.to_bytes()), Some(context));
            }
        }

        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SpanContext::from_bytes(&bytes);
        }
    }
}
