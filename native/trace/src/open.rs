//! The open spans: slots that are used again and again.
//!
//! A span is found by its slot's number and must then have the span id that
//! the caller gives, so that a number that is outdated, made up, or of another
//! node finds nothing.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::id::SpanId;
use crate::owner::Owner;
use crate::span::OpenSpan;
use crate::tail::Tail;

/// Names an open span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenId {
    /// The slot's number and 1, or 0 for a span that is not recorded.
    pub handle: u64,
    /// The span's id.
    pub span_id: SpanId,
}

/// A slot that is in use.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) span_id: Option<SpanId>,
    pub(crate) sampled: bool,
    pub(crate) clock_offset_ns: u64,
    pub(crate) span: OpenSpan,
    pub(crate) owner: Option<Arc<Owner>>,
    /// Of a span that is not sampled: the first span of its trace in this
    /// node, itself or another.
    pub(crate) root: Option<OpenId>,
    /// Of such a first span: what it waits with.
    pub(crate) tail: Tail,
}

const CHUNK: usize = 256;
/// Slots that a thread fetches and gives back at once.
const BLOCK: usize = 32;

type Chunk = Box<[Mutex<Slot>]>;

/// All slots of a tracer.
#[derive(Debug)]
pub(crate) struct Slots {
    chunks: Box<[OnceLock<Chunk>]>,
    free: Mutex<Vec<u32>>,
    made: AtomicU32,
    limit: AtomicU32,
}

/// Most slots there can be.
pub(crate) const MAX_SLOTS: u32 = 1 << 20;

/// A thread's own supply of free slots.
#[derive(Debug, Default)]
pub(crate) struct FreeSlots(Vec<u32>);

impl Slots {
    pub(crate) fn new(limit: u32) -> Self {
        let chunks = (0..MAX_SLOTS as usize / CHUNK).map(|_| OnceLock::new()).collect();
        Self {
            chunks,
            free: Mutex::default(),
            made: AtomicU32::new(0),
            limit: AtomicU32::new(limit.min(MAX_SLOTS)),
        }
    }

    /// Slots that exist already stay.
    pub(crate) fn set_limit(&self, limit: u32) {
        self.limit.store(limit.min(MAX_SLOTS), Ordering::Relaxed);
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&Mutex<Slot>> {
        let chunk = self.chunks.get(index as usize / CHUNK)?.get()?;
        chunk.get(index as usize % CHUNK)
    }

    /// A free slot, locked, and its handle.
    #[inline]
    pub(crate) fn take(&self, free: &mut FreeSlots) -> Option<(u64, MutexGuard<'_, Slot>)> {
        let index = match free.0.pop() {
            Some(index) => index,
            None => {
                self.refill(free);
                free.0.pop()?
            }
        };
        Some((u64::from(index) + 1, self.slot(index)?.lock()))
    }

    #[cold]
    fn refill(&self, free: &mut FreeSlots) {
        let mut shared = self.free.lock();
        let from = shared.len().saturating_sub(BLOCK);
        free.0.extend(shared.drain(from..));
        if !free.0.is_empty() {
            return;
        }
        // Under the lock, so that only one thread makes slots.
        let made = self.made.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        let more = limit.saturating_sub(made).min(BLOCK as u32);
        for index in made..made + more {
            let Some(chunk) = self.chunks.get(index as usize / CHUNK) else { return };
            chunk.get_or_init(|| (0..CHUNK).map(|_| Mutex::new(Slot::empty())).collect());
            free.0.push(index);
        }
        self.made.store(made + more, Ordering::Relaxed);
    }

    /// Ends the use of a slot.
    #[inline]
    pub(crate) fn give_back(
        &self,
        free: &mut FreeSlots,
        handle: u64,
        mut slot: MutexGuard<'_, Slot>,
    ) {
        slot.clear();
        let Ok(index) = u32::try_from(handle - 1) else { return };
        if free.0.len() < 2 * BLOCK {
            slot.span.shrink();
            drop(slot);
            free.0.push(index);
        } else {
            slot.span.release();
            drop(slot);
            let mut shared = self.free.lock();
            shared.push(index);
            shared.extend(free.0.drain(..BLOCK));
        }
    }

    /// The slot of an open span, locked.
    #[inline]
    pub(crate) fn find(&self, id: OpenId) -> Option<MutexGuard<'_, Slot>> {
        let index = u32::try_from(id.handle.checked_sub(1)?).ok()?;
        let slot = self.slot(index)?.lock();
        (slot.span_id == Some(id.span_id)).then_some(slot)
    }
}

impl Slot {
    fn empty() -> Self {
        Self {
            span_id: None,
            sampled: false,
            clock_offset_ns: 0,
            span: OpenSpan::default(),
            owner: None,
            root: None,
            tail: Tail::default(),
        }
    }

    fn clear(&mut self) {
        self.span_id = None;
        self.owner = None;
        self.root = None;
        self.tail = Tail::default();
    }
}
