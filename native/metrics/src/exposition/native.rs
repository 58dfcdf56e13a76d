//! The fields of a `Histogram` message that make it a native one.

use super::protobuf::{push_bytes, push_double, push_sint_field, push_varint, push_varint_field};
use crate::exponential::{ExponentialBuckets, ExponentialValue};

/// The scales that Prometheus knows, as schemas.
const SCHEMAS: (i8, i8) = (-4, 8);
/// Empty buckets between two others that are written rather than to begin a
/// span of their own; the Go client does so.
const MAX_GAP: u32 = 2;

const SCHEMA: u32 = 5;
const ZERO_THRESHOLD: u32 = 6;
const ZERO_COUNT: u32 = 7;
const NEGATIVE_SPAN: u32 = 9;
const NEGATIVE_DELTA: u32 = 10;
const POSITIVE_SPAN: u32 = 12;
const POSITIVE_DELTA: u32 = 13;

const SPAN_OFFSET: u32 = 1;
const SPAN_LENGTH: u32 = 2;

/// Writes the native buckets of an exponential histogram, merged to what
/// Prometheus knows. One that is coarser than that, which takes a lower
/// `max_buckets`, is left to its explicit bounds.
pub(super) fn push(out: &mut Vec<u8>, mut value: ExponentialValue) {
    let (coarsest, finest) = SCHEMAS;
    value.lower_scale(finest);
    if value.scale < coarsest {
        return;
    }
    push_sint_field(out, SCHEMA, value.scale.into());
    // Only zero itself is in the bucket of zero.
    push_double(out, ZERO_THRESHOLD, 0.0);
    push_varint_field(out, ZERO_COUNT, value.zero_count);
    push_buckets(out, &value.negative, NEGATIVE_SPAN, NEGATIVE_DELTA);
    push_buckets(out, &value.positive, POSITIVE_SPAN, POSITIVE_DELTA);
    if value.count() == 0 {
        // A span of nothing: else nothing would say that this is native.
        push_span(out, POSITIVE_SPAN, 0, 0);
    }
}

/// Buckets as Prometheus wants them: runs of neighbours, and each count as the
/// difference to the one before.
fn push_buckets(out: &mut Vec<u8>, buckets: &ExponentialBuckets, span: u32, delta: u32) {
    let mut deltas = Vec::new();
    let mut previous = 0_u64;
    // Where the last span ended, and the span that goes on.
    let mut end = 0_i32;
    let mut open: Option<(i32, u32)> = None;
    for (index, count) in buckets.iter().filter(|(_, count)| *count > 0) {
        // Prometheus numbers a bucket by its upper bound, OpenTelemetry by its
        // lower one.
        let index = index + 1;
        open = match open {
            Some((offset, length)) => match u32::try_from(index - end) {
                Ok(gap) if gap <= MAX_GAP => {
                    for _ in 0..gap {
                        push_delta(&mut deltas, &mut previous, 0);
                    }
                    Some((offset, length + gap + 1))
                }
                _ => {
                    push_span(out, span, offset, length);
                    Some((index - end, 1))
                }
            },
            None => Some((index, 1)),
        };
        push_delta(&mut deltas, &mut previous, count);
        end = index + 1;
    }
    if let Some((offset, length)) = open {
        push_span(out, span, offset, length);
        push_bytes(out, delta, &deltas);
    }
}

fn push_span(out: &mut Vec<u8>, field: u32, offset: i32, length: u32) {
    let mut inner = Vec::with_capacity(16);
    push_sint_field(&mut inner, SPAN_OFFSET, offset.into());
    push_varint_field(&mut inner, SPAN_LENGTH, length.into());
    push_bytes(out, field, &inner);
}

fn push_delta(out: &mut Vec<u8>, previous: &mut u64, count: u64) {
    push_varint(out, super::protobuf::zigzag(count.wrapping_sub(*previous).cast_signed()));
    *previous = count;
}
