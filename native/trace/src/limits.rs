//! What a span may hold.

use crate::redaction::SecretKeys;

/// Limits of one span or log record; what exceeds them is left out and counted
/// in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanLimits {
    /// Most attributes of a span.
    pub attributes: u32,
    /// Longest string or byte value, in characters or bytes; longer ones are
    /// cut.
    pub value_length: usize,
    /// Most events of a span.
    pub events: u32,
    /// Most links of a span.
    pub links: u32,
    /// Most attributes of an event.
    pub event_attributes: u32,
    /// Most attributes of a link.
    pub link_attributes: u32,
    /// Most bytes of an encoded span, its closing fields not counted.
    pub bytes: usize,
    /// Keys whose values are not shown.
    pub secrets: &'static SecretKeys,
}

impl Default for SpanLimits {
    fn default() -> Self {
        Self {
            attributes: 128,
            value_length: 8_192,
            events: 128,
            links: 128,
            event_attributes: 128,
            link_attributes: 128,
            bytes: 64 << 10,
            secrets: Default::default(),
        }
    }
}

/// Longest key of an attribute, in bytes; attributes with longer ones are left
/// out.
pub(crate) const MAX_KEY_BYTES: usize = 1_024;
/// Deepest nesting of arrays and maps; what lies deeper becomes an empty value.
pub(crate) const MAX_DEPTH: u8 = 16;
