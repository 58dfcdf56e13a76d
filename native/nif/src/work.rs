//! How much one call may still do.
//!
//! A term may be as large as memory, and larger where parts of it are shared;
//! a call on a scheduler should take a millisecond at most. What is left out
//! when a call has used up its steps is counted as dropped in the span.

use std::cell::Cell;

/// Steps of a call. A step is about 20 nanoseconds.
const STEPS: u32 = 16_384;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(STEPS) };
}

/// A call begins.
#[inline]
pub(crate) fn begin() {
    LEFT.set(STEPS);
}

/// Takes steps; `false` when there are none left.
#[inline]
pub(crate) fn take(steps: usize) -> bool {
    let left = LEFT.get().saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
    LEFT.set(left);
    left > 0
}
