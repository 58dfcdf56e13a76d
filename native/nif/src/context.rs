//! Span contexts as Erlang has them: binaries.
//!
//! `<<TraceId:16/binary, SpanId:8/binary, Flags:8, Handle:64, TraceState/binary>>`.
//! A handle that is of another node, or outdated, finds nothing: the span it
//! leads to must have the span id.

use erlmcp_trace::{
    FLAG_RECORDING, FLAG_REMOTE, FLAG_SAMPLED, OpenId, Parent, SpanId, Started, TraceId,
};

use crate::raw::{CallEnv, RawTerm};

const FIXED: usize = 16 + 8 + 1 + 8;
/// Most bytes of a trace state that are believed to be one.
const MAX_STATE_BYTES: usize = 4_096;

/// A span context that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: u8,
    pub(crate) handle: u64,
    pub(crate) trace_state: &'a str,
}

impl<'a> Context<'a> {
    /// Reads a term; nothing if it is no span context, or one without ids.
    #[inline]
    pub(crate) fn read(env: CallEnv<'a>, term: RawTerm) -> Option<Self> {
        let bytes = env.get_binary(term)?;
        let (trace_id, rest) = bytes.split_first_chunk::<16>()?;
        let (span_id, rest) = rest.split_first_chunk::<8>()?;
        let (flags, rest) = rest.split_first()?;
        let (handle, trace_state) = rest.split_first_chunk::<8>()?;
        Some(Self {
            trace_id: TraceId::from_bytes(*trace_id)?,
            span_id: SpanId::from_bytes(*span_id)?,
            flags: *flags,
            handle: u64::from_be_bytes(*handle),
            trace_state: match trace_state.len() {
                ..=MAX_STATE_BYTES => std::str::from_utf8(trace_state).ok()?,
                _ => "",
            },
        })
    }

    pub(crate) fn open_id(&self) -> OpenId {
        OpenId { handle: self.handle, span_id: self.span_id }
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.flags & FLAG_RECORDING != 0
    }

    pub(crate) fn is_sampled(&self) -> bool {
        self.flags & FLAG_SAMPLED != 0
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.flags & FLAG_REMOTE != 0
    }

    pub(crate) fn as_parent(&self) -> Parent<'a> {
        Parent {
            trace_id: self.trace_id,
            span_id: self.span_id,
            sampled: self.is_sampled(),
            remote: self.is_remote(),
            handle: self.handle,
            trace_state: self.trace_state,
        }
    }
}

/// The context of a span that was started, for Erlang.
#[inline]
pub(crate) fn make(env: CallEnv<'_>, started: &Started, trace_state: &str) -> RawTerm {
    let mut fixed = [0; FIXED];
    let recording = if started.id.handle == 0 { 0 } else { FLAG_RECORDING };
    let sampled = if started.sampled { FLAG_SAMPLED } else { 0 };
    let (ids, rest) = fixed.split_at_mut(24);
    let (trace_id, span_id) = ids.split_at_mut(16);
    trace_id.copy_from_slice(&started.trace_id.to_bytes());
    span_id.copy_from_slice(&started.id.span_id.to_bytes());
    if let Some((flags, handle)) = rest.split_first_mut() {
        *flags = recording | sampled;
        handle.copy_from_slice(&started.id.handle.to_be_bytes());
    }
    if trace_state.is_empty() {
        return env.binary(&fixed);
    }
    env.binary(&[&fixed, trace_state.as_bytes()].concat())
}

/// A context of this node without its handle: for those that are to have
/// nothing done to its span.
pub(crate) fn passed_on(env: CallEnv<'_>, context: &Context<'_>) -> RawTerm {
    let started = Started {
        trace_id: context.trace_id,
        id: OpenId { handle: 0, span_id: context.span_id },
        sampled: context.is_sampled(),
        owner_is_new: false,
    };
    make(env, &started, context.trace_state)
}

/// The context of no span: what there is while tracing is disabled.
pub(crate) fn invalid(env: CallEnv<'_>) -> RawTerm {
    env.binary(&[0; FIXED])
}

/// `span_ids(Context) -> {TraceId, SpanId} | undefined`, in hexadecimal.
pub(crate) fn ids(env: CallEnv<'_>, [span]: [RawTerm; 1]) -> RawTerm {
    match Context::read(env, span) {
        Some(context) => env.tuple(&[
            env.binary(&context.trace_id.to_hex()),
            env.binary(&context.span_id.to_hex()),
        ]),
        None => crate::atoms::atoms().undefined,
    }
}
