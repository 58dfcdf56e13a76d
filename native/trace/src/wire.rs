//! Protobuf's wire format, as far as spans need it.

/// Appends a varint.
#[inline]
pub(crate) fn push_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7F) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Bytes that a varint takes.
#[inline]
pub(crate) const fn varint_len(n: u64) -> usize {
    (64 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

/// The tag of a field: length-delimited.
pub(crate) const fn delimited_tag(field: u32) -> u32 {
    field << 3 | 2
}

/// Appends a tag.
#[inline]
pub(crate) fn push_tag(out: &mut Vec<u8>, tag: u32) {
    push_varint(out, u64::from(tag));
}

/// Appends a length-delimited field.
#[inline]
pub(crate) fn push_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    push_tag(out, delimited_tag(field));
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a varint field.
#[inline]
pub(crate) fn push_uint(out: &mut Vec<u8>, field: u32, n: u64) {
    push_tag(out, field << 3);
    push_varint(out, n);
}

/// Appends a fixed64 field.
#[inline]
pub(crate) fn push_fixed64(out: &mut Vec<u8>, field: u32, n: u64) {
    push_tag(out, field << 3 | 1);
    out.extend_from_slice(&n.to_le_bytes());
}

/// Appends a fixed32 field.
#[inline]
pub(crate) fn push_fixed32(out: &mut Vec<u8>, field: u32, n: u32) {
    push_tag(out, field << 3 | 5);
    out.extend_from_slice(&n.to_le_bytes());
}

/// Appends a message whose length is known only when it is written: one byte
/// is kept for the length, and what was written moves up if it needs more.
#[inline]
pub(crate) fn push_message<T>(
    out: &mut Vec<u8>,
    field: u32,
    write: impl FnOnce(&mut Vec<u8>) -> T,
) -> T {
    push_tag(out, delimited_tag(field));
    let at = out.len();
    out.push(0);
    let result = write(out);
    close(out, at);
    result
}

#[inline]
fn close(out: &mut Vec<u8>, at: usize) {
    let length = out.len() - at - 1;
    if length < 0x80 {
        out[at] = length as u8;
    } else {
        widen(out, at, length);
    }
}

#[cold]
fn widen(out: &mut Vec<u8>, at: usize, length: usize) {
    let more = varint_len(length as u64) - 1;
    out.extend_from_slice(&[0; 9][..more]);
    out.copy_within(at + 1..at + 1 + length, at + 1 + more);
    let mut n = length as u64;
    for byte in &mut out[at..=at + more] {
        *byte = (n & 0x7F) as u8 | 0x80;
        n >>= 7;
    }
    out[at + more] &= 0x7F;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_length_carry_it() {
        for length in [0, 1, 127, 128, 300, 16_383, 16_384, 2_097_152] {
            let mut out = vec![9];
            push_message(&mut out, 9, |out| out.resize(out.len() + length, 7));
            let mut expected = vec![9, 0x4A];
            push_varint(&mut expected, length as u64);
            expected.resize(expected.len() + length, 7);
            assert_eq!(out, expected, "{length}");
        }
    }

    #[test]
    fn varints_are_as_long_as_is_said() {
        for n in [0, 1, 127, 128, 16_383, 16_384, u64::MAX] {
            let mut out = Vec::new();
            push_varint(&mut out, n);
            assert_eq!(out.len(), varint_len(n), "{n}");
        }
    }
}
