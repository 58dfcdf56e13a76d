//! One open span: `opentelemetry/proto/trace/v1/trace.proto`, written field by
//! field as they come.
//!
//! Repeated fields may stand anywhere in a message, so attributes, events and
//! links are appended in the order of their calls, behind the fields that are
//! known from the start. The end appends the rest.

use crate::attribute::{Attributes, ValueWriter, cut};
use crate::id::{SpanId, TraceId};
use crate::limits::SpanLimits;
use crate::wire::{push_bytes, push_fixed32, push_fixed64, push_message, push_uint};

/// What a span describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpanKind {
    /// An operation within the application.
    #[default]
    Internal = 1,
    /// The handling of a remote request.
    Server = 2,
    /// A request to a remote service.
    Client = 3,
    /// The sending of a message.
    Producer = 4,
    /// The handling of a message.
    Consumer = 5,
}

impl SpanKind {
    /// The kind of a name such as `server`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "internal" => Some(Self::Internal),
            "server" => Some(Self::Server),
            "client" => Some(Self::Client),
            "producer" => Some(Self::Producer),
            "consumer" => Some(Self::Consumer),
            _ => None,
        }
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum StatusCode {
    /// Nothing was said.
    #[default]
    Unset,
    /// It failed.
    Error,
    /// The application says that it went well. Final.
    Ok,
}

/// Another span that this one is related to.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The other span's trace.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
    /// Whether the other span is sampled.
    pub sampled: bool,
    /// Whether the other span's context came from elsewhere.
    pub remote: bool,
    /// The other span's `tracestate`.
    pub trace_state: &'a str,
}

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK` and `..._IS_REMOTE_MASK`.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
const SAMPLED: u32 = 1;

mod field {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START: u32 = 7;
    pub(super) const END: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const DROPPED_ATTRIBUTES: u32 = 10;
    pub(super) const EVENTS: u32 = 11;
    pub(super) const DROPPED_EVENTS: u32 = 12;
    pub(super) const LINKS: u32 = 13;
    pub(super) const DROPPED_LINKS: u32 = 14;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
}

/// What is known of a span while it is open.
#[derive(Debug, Default)]
pub struct OpenSpan {
    bytes: Vec<u8>,
    attributes: Attributes,
    limits: SpanLimits,
    start_ns: u64,
    events: u32,
    dropped_events: u32,
    links: u32,
    dropped_links: u32,
    status: StatusCode,
    message: String,
    note: String,
}

/// What a span begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) sampled: bool,
    /// The parent, and whether it came from elsewhere.
    pub(crate) parent: Option<(SpanId, bool)>,
    pub(crate) trace_state: &'a str,
    pub(crate) name: &'a str,
    pub(crate) kind: SpanKind,
    pub(crate) start_ns: u64,
}

impl OpenSpan {
    /// Begins a span in the memory of one that has ended.
    pub(crate) fn begin(&mut self, head: &Head<'_>, limits: SpanLimits, note: Option<&str>) {
        self.bytes.clear();
        self.attributes.clear();
        self.message.clear();
        self.note.clear();
        self.note.push_str(note.unwrap_or_default());
        *self = Self {
            bytes: std::mem::take(&mut self.bytes),
            attributes: std::mem::take(&mut self.attributes),
            message: std::mem::take(&mut self.message),
            note: std::mem::take(&mut self.note),
            limits,
            start_ns: head.start_ns,
            ..Self::default()
        };
        let out = &mut self.bytes;
        push_bytes(out, field::TRACE_ID, &head.trace_id.to_bytes());
        push_bytes(out, field::SPAN_ID, &head.span_id.to_bytes());
        if !head.trace_state.is_empty() {
            push_bytes(out, field::TRACE_STATE, head.trace_state.as_bytes());
        }
        let mut flags = HAS_IS_REMOTE | if head.sampled { SAMPLED } else { 0 };
        if let Some((parent, remote)) = head.parent {
            push_bytes(out, field::PARENT_SPAN_ID, &parent.to_bytes());
            flags |= if remote { IS_REMOTE } else { 0 };
        }
        push_bytes(out, field::NAME, cut(head.name, MAX_NAME_CHARS).as_bytes());
        push_uint(out, field::KIND, head.kind as u64);
        push_fixed64(out, field::START, head.start_ns);
        push_fixed32(out, field::FLAGS, flags);
    }

    /// Gives the span another name. Of a field that comes twice, readers take
    /// the last.
    pub fn set_name(&mut self, name: &str) {
        if self.has_room() {
            push_bytes(&mut self.bytes, field::NAME, cut(name, MAX_NAME_CHARS).as_bytes());
        }
    }

    fn has_room(&self) -> bool {
        self.bytes.len() < self.limits.bytes
    }

    /// Sets an attribute, in the place of one with the same key.
    #[inline]
    pub fn set_attribute(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>)) {
        let Self { bytes, attributes, limits, .. } = self;
        attributes.set(bytes, field::ATTRIBUTES, limits.attributes, limits, key, write);
    }

    /// Counts attributes that are left out.
    pub fn drop_attributes(&mut self, count: usize) {
        self.attributes.drop_some(count);
    }

    /// Adds an event.
    pub fn add_event(
        &mut self,
        name: &str,
        time_ns: u64,
        attributes: impl FnOnce(&mut AttributesWriter<'_>),
    ) {
        if self.events >= self.limits.events || !self.has_room() {
            self.dropped_events += 1;
            return;
        }
        let start = self.bytes.len();
        let limits = self.limits;
        push_message(&mut self.bytes, field::EVENTS, |out| {
            push_fixed64(out, 1, time_ns);
            push_bytes(out, 2, cut(name, MAX_NAME_CHARS).as_bytes());
            AttributesWriter::write(out, 3, 4, limits.event_attributes, &limits, attributes);
        });
        self.events += 1;
        if self.bytes.len() > limits.bytes {
            self.bytes.truncate(start);
            self.events -= 1;
            self.dropped_events += 1;
        }
    }

    /// Adds a link.
    pub fn add_link(
        &mut self,
        link: &Link<'_>,
        attributes: impl FnOnce(&mut AttributesWriter<'_>),
    ) {
        if self.links >= self.limits.links || !self.has_room() {
            self.drop_links(1);
            return;
        }
        let start = self.bytes.len();
        let limits = self.limits;
        push_message(&mut self.bytes, field::LINKS, |out| {
            push_bytes(out, 1, &link.trace_id.to_bytes());
            push_bytes(out, 2, &link.span_id.to_bytes());
            if !link.trace_state.is_empty() {
                push_bytes(out, 3, link.trace_state.as_bytes());
            }
            AttributesWriter::write(out, 4, 5, limits.link_attributes, &limits, attributes);
            let sampled = if link.sampled { SAMPLED } else { 0 };
            let remote = if link.remote { IS_REMOTE } else { 0 };
            push_fixed32(out, 6, HAS_IS_REMOTE | sampled | remote);
        });
        self.links += 1;
        if self.bytes.len() > limits.bytes {
            self.bytes.truncate(start);
            self.links -= 1;
            self.dropped_links += 1;
        }
    }

    /// Counts links that are left out.
    pub fn drop_links(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.dropped_links = self.dropped_links.saturating_add(count);
    }

    /// Sets the status. `Ok` is final, `Unset` changes nothing, and only
    /// errors have a message.
    pub fn set_status(&mut self, code: StatusCode, message: &str) {
        if code == StatusCode::Unset || self.status == StatusCode::Ok {
            return;
        }
        self.status = code;
        self.message.clear();
        if code == StatusCode::Error {
            self.message.push_str(cut(message, self.limits.value_length));
        }
    }

    /// The status so far.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text that the span was started with, or nothing.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// When it began, in nanoseconds since 1970.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// Appends what is known at the end, and shows the whole span.
    pub(crate) fn finish(&mut self, end_ns: u64) -> &[u8] {
        let out = &mut self.bytes;
        // A clock that was set back does not make a negative duration.
        push_fixed64(out, field::END, end_ns.max(self.start_ns));
        for (field, count) in [
            (field::DROPPED_ATTRIBUTES, self.attributes.dropped()),
            (field::DROPPED_EVENTS, self.dropped_events),
            (field::DROPPED_LINKS, self.dropped_links),
        ] {
            if count > 0 {
                push_uint(out, field, u64::from(count));
            }
        }
        if self.status != StatusCode::Unset {
            // STATUS_CODE_OK is 1, STATUS_CODE_ERROR 2.
            let code = if self.status == StatusCode::Ok { 1 } else { 2 };
            let message = &self.message;
            push_message(out, field::STATUS, |out| {
                if !message.is_empty() {
                    push_bytes(out, 2, message.as_bytes());
                }
                push_uint(out, 3, code);
            });
        }
        out
    }

    /// Gives back memory beyond what most spans need.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.attributes.shrink(KEPT_ATTRIBUTES);
        if self.message.capacity() > KEPT_BYTES {
            self.message = String::new();
        }
        if self.note.capacity() > KEPT_BYTES {
            self.note = String::new();
        }
    }

    /// Gives back all memory.
    pub(crate) fn release(&mut self) {
        *self = Self::default();
    }
}

/// Longest name of a span or an event, in characters; longer ones are cut.
const MAX_NAME_CHARS: usize = 1_024;
/// What a span's memory keeps for the next one.
const KEPT_BYTES: usize = 4 << 10;
const KEPT_ATTRIBUTES: usize = 64;

/// Where the attributes of an event or a link go.
#[derive(Debug)]
pub struct AttributesWriter<'a> {
    out: &'a mut Vec<u8>,
    attributes: Attributes,
    field: u32,
    limit: u32,
    limits: &'a SpanLimits,
}

impl AttributesWriter<'_> {
    fn write(
        out: &mut Vec<u8>,
        field: u32,
        dropped_field: u32,
        limit: u32,
        limits: &SpanLimits,
        write: impl FnOnce(&mut AttributesWriter<'_>),
    ) {
        let attributes = Attributes::default();
        let mut writer = AttributesWriter { out, attributes, field, limit, limits };
        write(&mut writer);
        let AttributesWriter { out, attributes, .. } = writer;
        if attributes.dropped() > 0 {
            push_uint(out, dropped_field, u64::from(attributes.dropped()));
        }
    }

    /// Sets an attribute, in the place of one with the same key.
    pub fn set_attribute(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>)) {
        let Self { out, attributes, field, limit, limits } = self;
        attributes.set(out, *field, *limit, limits, key, write);
    }

    /// Counts attributes that are left out.
    pub fn drop_attributes(&mut self, count: usize) {
        self.attributes.drop_some(count);
    }
}
