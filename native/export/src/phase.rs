//! What a connection is busy with: shared between its stream, which keeps the
//! deadlines, and its requests, which know when one begins and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The phases of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A request's head has begun and is not complete.
    Head,
    /// A request is being answered.
    Response,
    /// Nothing is under way, or nothing has begun yet.
    Idle,
}

/// A phase, and how many there have been before it: two requests that follow
/// each other at once have a phase [`Phase::Head`] each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) phase: Phase,
    number: u32,
}

/// One connection's phase. All who use it run in the connection's own task, so
/// that nothing has to be ordered by it.
#[derive(Debug, Clone)]
pub(crate) struct PhaseCell(Arc<AtomicU32>);

/// The lower bits hold the phase, the others its number.
const PHASE_BITS: u32 = 2;

impl PhaseCell {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU32::new(Phase::Idle as u32)))
    }

    pub(crate) fn get(&self) -> Numbered {
        let word = self.0.load(Relaxed);
        let phase = match word & ((1 << PHASE_BITS) - 1) {
            p if p == Phase::Response as u32 => Phase::Response,
            p if p == Phase::Head as u32 => Phase::Head,
            _ => Phase::Idle,
        };
        Numbered { phase, number: word >> PHASE_BITS }
    }

    pub(crate) fn set(&self, phase: Phase) {
        let number = self.get().number.wrapping_add(1);
        self.0.store(number << PHASE_BITS | phase as u32, Relaxed);
    }

    /// Begins the phase [`Phase::Response`]; it ends with the value returned.
    pub(crate) fn respond(&self) -> Responding {
        self.set(Phase::Response);
        Responding(self.clone())
    }
}

/// A response under way.
#[derive(Debug)]
pub(crate) struct Responding(PhaseCell);

impl Drop for Responding {
    fn drop(&mut self) {
        self.0.set(Phase::Idle);
    }
}
