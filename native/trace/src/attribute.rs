//! Attributes, encoded as they come.
//!
//! `KeyValue`, `AnyValue`, `ArrayValue` and `KeyValueList` of
//! `opentelemetry/proto/common/v1/common.proto`.

use std::collections::BTreeSet;

use crate::limits::{MAX_DEPTH, MAX_KEY_BYTES, SpanLimits};
use crate::redaction::{REDACTED, SecretKeys};
use crate::wire::{push_bytes, push_fixed64, push_message, push_uint};

/// Where one value goes. A value that is not written stays empty, which OTLP
/// allows.
#[derive(Debug)]
pub struct ValueWriter<'a> {
    out: &'a mut Vec<u8>,
    length: usize,
    end: usize,
    depth: u8,
    secrets: &'static SecretKeys,
}

impl<'a> ValueWriter<'a> {
    /// Of the limits those of values count; from so many bytes of `out` on
    /// nothing more is begun.
    pub(crate) fn new(out: &'a mut Vec<u8>, limits: &SpanLimits) -> Self {
        let SpanLimits { value_length: length, bytes: end, secrets, .. } = *limits;
        Self { out, length, end, depth: 0, secrets }
    }

    /// The keys whose values are not shown, for what is written as one text.
    #[must_use]
    pub fn secrets(&self) -> &'static SecretKeys {
        self.secrets
    }

    /// What is written for a key, unless that is secret.
    #[inline]
    fn of_key(self, key: &str, write: impl FnOnce(ValueWriter<'_>)) {
        if self.secrets.is_secret(key) {
            self.string(REDACTED);
        } else {
            write(self);
        }
    }

    /// How many bytes of a text can matter: more is cut, or does not fit.
    #[must_use]
    pub fn most_bytes(&self) -> usize {
        let room = self.end.saturating_sub(self.out.len());
        // A character takes four bytes at most.
        self.length.saturating_mul(4).min(room).saturating_add(4)
    }

    /// Text; what exceeds the limit is cut.
    #[inline]
    pub fn string(self, text: &str) {
        push_bytes(self.out, 1, cut(text, self.length).as_bytes());
    }

    /// A boolean.
    #[inline]
    pub fn bool(self, value: bool) {
        push_uint(self.out, 2, u64::from(value));
    }

    /// An integer.
    #[inline]
    pub fn int(self, value: i64) {
        push_uint(self.out, 3, value.cast_unsigned());
    }

    /// A float.
    #[inline]
    pub fn double(self, value: f64) {
        push_fixed64(self.out, 4, value.to_bits());
    }

    /// Bytes; what exceeds the limit is cut.
    pub fn bytes(self, bytes: &[u8]) {
        push_bytes(self.out, 7, &bytes[..bytes.len().min(self.length)]);
    }

    /// A list of values.
    pub fn array(self, write: impl FnOnce(&mut ArrayWriter<'_>)) {
        self.nested(5, |writer| write(&mut ArrayWriter(writer)));
    }

    /// Values by key.
    pub fn map(self, write: impl FnOnce(&mut MapWriter<'_>)) {
        self.nested(6, |writer| write(&mut MapWriter { writer, keys: BTreeSet::new() }));
    }

    fn nested(self, field: u32, write: impl FnOnce(ValueWriter<'_>)) {
        let Self { out, length, end, depth, secrets } = self;
        push_message(out, field, |out| {
            if depth < MAX_DEPTH {
                write(ValueWriter { out, length, end, depth: depth + 1, secrets });
            }
        });
    }

    fn reborrow(&mut self, out_field: u32, write: impl FnOnce(ValueWriter<'_>)) -> bool {
        let Self { length, end, depth, secrets, .. } = *self;
        let fits = self.out.len() < end;
        if fits {
            push_message(self.out, out_field, |out| {
                write(ValueWriter { out, length, end, depth, secrets });
            });
        }
        fits
    }
}

/// Where the elements of an array go.
#[derive(Debug)]
pub struct ArrayWriter<'a>(ValueWriter<'a>);

impl ArrayWriter<'_> {
    /// Appends an element; `false` when there is no more room.
    pub fn push(&mut self, write: impl FnOnce(ValueWriter<'_>)) -> bool {
        self.0.reborrow(1, write)
    }
}

/// Where the pairs of a map go.
#[derive(Debug)]
pub struct MapWriter<'a> {
    writer: ValueWriter<'a>,
    keys: BTreeSet<String>,
}

impl MapWriter<'_> {
    /// Appends a pair, unless the key is there already; `false` when there is
    /// no more room.
    pub fn insert(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>)) -> bool {
        if self.keys.contains(key) {
            return true;
        }
        self.keys.insert(key.to_owned());
        let ValueWriter { out, length, end, depth, secrets } = &mut self.writer;
        let (length, end, depth, secrets) = (*length, *end, *depth, *secrets);
        let fits = out.len() < end;
        if fits {
            push_message(out, 1, |out| {
                push_bytes(out, 1, key.as_bytes());
                push_message(out, 2, |out| {
                    ValueWriter { out, length, end, depth, secrets }.of_key(key, write);
                });
            });
        }
        fits
    }
}

/// Which attributes a message has got, so that the last one of a key counts.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    written: Vec<Written>,
    dropped: u32,
}

/// Where an attribute lies in the bytes.
#[derive(Debug, Clone, Copy)]
struct Written {
    hash: u32,
    start: u32,
    end: u32,
    key_len: u32,
}

impl Attributes {
    /// Forgets all, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.written.clear();
        self.dropped = 0;
    }

    /// Gives back memory beyond what `attributes` need.
    pub(crate) fn shrink(&mut self, attributes: usize) {
        if self.written.capacity() > attributes {
            self.written = Vec::new();
        }
    }

    /// Attributes that were left out.
    pub(crate) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Counts those that are left out.
    pub(crate) fn drop_some(&mut self, count: usize) {
        self.dropped = self.dropped.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Writes an attribute as field `field` of the message that `out` ends
    /// with, in the place of one with the same key.
    #[inline]
    pub(crate) fn set(
        &mut self,
        out: &mut Vec<u8>,
        field: u32,
        limit: u32,
        limits: &SpanLimits,
        key: &str,
        write: impl FnOnce(ValueWriter<'_>),
    ) {
        let hash = hash(key.as_bytes());
        if let Some(at) = self.find(out, hash, key) {
            self.forget(out, at);
        }
        let has_room = self.written.len() < limit as usize && out.len() < limits.bytes;
        if !has_room || key.is_empty() || key.len() > MAX_KEY_BYTES {
            self.drop_some(1);
            return;
        }
        let start = out.len();
        push_message(out, field, |out| {
            push_bytes(out, 1, key.as_bytes());
            push_message(out, 2, |out| {
                ValueWriter::new(out, limits).of_key(key, write);
            });
        });
        // An array or a map stops where the span is full: it is not whole then.
        if out.len() >= limits.bytes {
            out.truncate(start);
            self.drop_some(1);
            return;
        }
        self.written.push(Written {
            hash,
            start: start as u32,
            end: out.len() as u32,
            key_len: key.len() as u32,
        });
    }

    #[inline]
    fn find(&self, out: &[u8], hash: u32, key: &str) -> Option<usize> {
        self.written.iter().position(|written| {
            written.hash == hash
                && written.key_len as usize == key.len()
                && key_of(&out[written.start as usize..], key.len()) == Some(key.as_bytes())
        })
    }

    #[cold]
    fn forget(&mut self, out: &mut Vec<u8>, at: usize) {
        let gone = self.written.remove(at);
        let length = gone.end - gone.start;
        out.drain(gone.start as usize..gone.end as usize);
        for written in &mut self.written {
            if written.start > gone.start {
                written.start -= length;
                written.end -= length;
            }
        }
    }
}

/// The key of an encoded attribute: it follows the tags and lengths of the
/// attribute and of the key.
fn key_of(attribute: &[u8], len: usize) -> Option<&[u8]> {
    let skip_varint = |at: usize| {
        Some(at + attribute.get(at..)?.iter().take_while(|byte| **byte >= 0x80).count() + 1)
    };
    let at = skip_varint(skip_varint(1)? + 1)?;
    attribute.get(at..at + len)
}

/// Eight bytes at a time; keys are few and short, and what collides is
/// compared.
#[inline]
fn hash(key: &[u8]) -> u32 {
    const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = key.len() as u64;
    for chunk in key.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
    }
    (hash >> 32) as u32
}

/// The first `limit` characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    match text.char_indices().nth(limit) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
