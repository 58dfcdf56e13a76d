//! Who has which spans open.
//!
//! A span belongs to the process that started it. When that ends, whatever way,
//! its open spans are ended for it. This crate knows processes as numbers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::open::OpenId;

/// A process that has started spans.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) id: u64,
    /// `None` once the process has ended.
    open: Mutex<Option<Vec<OpenId>>>,
    /// When the oldest of its open spans began, 0 without any.
    since_ns: AtomicU64,
    /// Whether somebody waits for the reason of its end.
    watched: AtomicBool,
}

impl Owner {
    fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            open: Mutex::new(Some(Vec::new())),
            since_ns: AtomicU64::new(0),
            watched: AtomicBool::new(false),
        })
    }

    /// `false` if the process has ended: a number is used again for another
    /// one, which is another owner.
    #[inline]
    #[must_use]
    pub(crate) fn add(&self, span: OpenId, now_ns: u64) -> bool {
        let mut open = self.open.lock();
        let Some(open) = open.as_mut() else { return false };
        if open.is_empty() {
            self.since_ns.store(now_ns, Ordering::Relaxed);
        }
        open.push(span);
        true
    }

    #[inline]
    pub(crate) fn remove(&self, span: OpenId) {
        let mut open = self.open.lock();
        let Some(open) = open.as_mut() else { return };
        // Spans mostly end in the reverse order of their starts.
        if open.last() == Some(&span) {
            open.pop();
        } else if let Some(at) = open.iter().rposition(|known| *known == span) {
            open.remove(at);
        }
        if open.is_empty() {
            self.since_ns.store(0, Ordering::Relaxed);
        }
    }

    /// The process has ended: what it has left open.
    pub(crate) fn end(&self) -> Vec<OpenId> {
        self.open.lock().take().unwrap_or_default()
    }

    fn is_open_since(&self, ns: u64) -> bool {
        let since = self.since_ns.load(Ordering::Relaxed);
        since != 0 && since <= ns
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }
}

/// All owners, by number.
#[derive(Debug)]
pub(crate) struct Owners([Shard; SHARDS]);

const SHARDS: usize = 64;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<u64, Arc<Owner>, BuildHasherDefault<Mixer>>>);

impl Default for Owners {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Shard::default()))
    }
}

impl Owners {
    fn shard(&self, id: u64) -> &Shard {
        &self.0[(mix(id) >> 58) as usize]
    }

    /// Gives a span to the owner of a number; also whether that was not known
    /// before.
    pub(crate) fn add(&self, id: u64, span: OpenId, now_ns: u64) -> (Arc<Owner>, bool) {
        let mut owners = self.shard(id).0.lock();
        if let Some(owner) = owners.get(&id)
            && owner.add(span, now_ns)
        {
            return (Arc::clone(owner), false);
        }
        let owner = Owner::new(id);
        // One that nobody else knows has not ended.
        let _ = owner.add(span, now_ns);
        owners.insert(id, Arc::clone(&owner));
        (owner, true)
    }

    pub(crate) fn find(&self, id: u64) -> Option<Arc<Owner>> {
        self.shard(id).0.lock().get(&id).cloned()
    }

    pub(crate) fn remove(&self, id: u64) -> Option<Arc<Owner>> {
        self.shard(id).0.lock().remove(&id)
    }

    /// Owners with a span that is open since `ns` or longer and that nobody
    /// watches; from now on they are watched. At most `limit`.
    pub(crate) fn watch(&self, ns: u64, limit: usize) -> Vec<u64> {
        let mut found = Vec::new();
        for shard in &self.0 {
            for owner in shard.0.lock().values() {
                if found.len() >= limit {
                    return found;
                }
                if owner.is_open_since(ns) && !owner.watched.swap(true, Ordering::Relaxed) {
                    found.push(owner.id);
                }
            }
        }
        found
    }

    /// Nobody watches any more.
    pub(crate) fn unwatch_all(&self) {
        for shard in &self.0 {
            for owner in shard.0.lock().values() {
                owner.watched.store(false, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|shard| shard.0.lock().len()).sum()
    }
}

/// Fibonacci hashing: the numbers of processes differ in few bits.
#[inline]
const fn mix(id: u64) -> u64 {
    id.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[derive(Debug, Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        // The upper bits choose the shard, so they are the same within one:
        // the table gets the others turned up.
        self.0 = mix(self.0 ^ n).rotate_left(32);
    }
}
