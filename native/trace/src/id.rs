//! Trace and span ids.

use std::fmt;

use rand::rngs::SmallRng;
use rand::{Rng, make_rng};

/// The id of a trace: 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// The id of a span: 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

macro_rules! id {
    ($id:ident, $bytes:literal) => {
        impl $id {
            /// An id from its bytes; nothing if they are all zero.
            #[must_use]
            #[inline]
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// The id's bytes, in the order of the wire.
            #[must_use]
            #[inline]
            pub const fn to_bytes(self) -> [u8; $bytes] {
                self.0
            }

            /// An id from lowercase hexadecimal digits, exactly as many as the
            /// id has; nothing otherwise, and nothing if all are zero.
            #[must_use]
            pub fn from_hex(text: &[u8]) -> Option<Self> {
                let mut bytes = [0; $bytes];
                if text.len() != 2 * $bytes {
                    return None;
                }
                for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                    *byte = digits.iter().try_fold(0_u8, |n, digit| {
                        let digit = match digit {
                            b'0'..=b'9' => digit - b'0',
                            b'a'..=b'f' => digit - b'a' + 10,
                            _ => return None,
                        };
                        Some(n << 4 | digit)
                    })?;
                }
                Self::from_bytes(bytes)
            }

            /// The lowercase hexadecimal digits.
            #[must_use]
            pub fn to_hex(self) -> [u8; 2 * $bytes] {
                let mut text = [0; 2 * $bytes];
                for (digits, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    for (digit, nibble) in digits.iter_mut().zip([byte >> 4, byte & 0xF]) {
                        *digit = nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
                    }
                }
                text
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($id))
            }
        }
    };
}

id!(TraceId, 16);
id!(SpanId, 8);

/// Makes ids at random. One a thread, seeded by the system.
#[derive(Debug)]
pub struct IdGenerator(SmallRng);

impl Default for IdGenerator {
    fn default() -> Self {
        Self(make_rng())
    }
}

impl IdGenerator {
    /// A new trace's id.
    #[inline]
    pub fn trace_id(&mut self) -> TraceId {
        loop {
            let mut bytes = [0; 16];
            self.0.fill_bytes(&mut bytes);
            if let Some(id) = TraceId::from_bytes(bytes) {
                return id;
            }
        }
    }

    /// A new span's id.
    #[inline]
    pub fn span_id(&mut self) -> SpanId {
        loop {
            if let Some(id) = SpanId::from_bytes(self.0.next_u64().to_ne_bytes()) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_there_and_back() {
        let hex = b"4bf92f3577b34da6a3ce929d0e0e4736";
        let id = TraceId::from_hex(hex).unwrap();
        assert_eq!(&id.to_hex(), hex);
        assert_eq!(id.to_string().as_bytes(), hex);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let refused: [&[u8]; 5] =
            [b"", b"00f067aa0ba902b", b"00F067AA0BA902B7", b"00f067aa0ba902bg", &[b'0'; 16]];
        for text in refused {
            assert_eq!(SpanId::from_hex(text), None);
        }
    }

    #[test]
    fn generators_differ() {
        let (mut one, mut other) = (IdGenerator::default(), IdGenerator::default());
        assert_ne!(one.trace_id(), other.trace_id());
        assert_ne!(one.span_id(), one.span_id());
    }
}
