//! The bounded queue between those who end spans and the one who exports them.
//!
//! Each recording thread appends to a shard of its own, so that two of them
//! never wait for each other; the exporter takes a shard's whole buffer at
//! once. The bound is enforced at the door: a record is queued only with
//! credit for itself and its bytes, and credit comes back when the record has
//! left the exporter. Shards fetch credit in small blocks; when there is none
//! left, what other shards hold unused is called in, so that the bound is
//! exact.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::wire::{push_varint, varint_len};

/// How much a queue may hold, records being exported included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most records.
    pub records: u32,
    /// Most bytes of records.
    pub bytes: u64,
    /// The exporter is woken when a shard holds this many records.
    pub wake_at: u32,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { records: 8_192, bytes: 32 << 20, wake_at: 256 }
    }
}

/// Encoded records, each as field 2 of its scope message: a tag, a length, and
/// the body. Concatenated they are ready to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// How many records `bytes` holds.
    pub count: u32,
    /// The records.
    pub bytes: Vec<u8>,
}

/// What a queue has seen so far, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Records that were let in.
    pub accepted: u64,
    /// Records that found no room.
    pub refused: u64,
    /// Records that have been let in and not yet released.
    pub held: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Most records that may be held.
    pub capacity: u64,
    /// Most bytes of records that may be held.
    pub capacity_bytes: u64,
}

/// There was no room for a record; it has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

/// Tag of field 2, length-delimited: `ScopeSpans.spans`,
/// `ScopeLogs.log_records` and `ScopeMetrics.metrics` alike.
pub const RECORD_TAG: u8 = 0x12;

/// Credit is fetched for this many records and bytes at once.
const RECORDS_BLOCK: i64 = 16;
const BYTES_BLOCK: i64 = 8 << 10;

/// See the module.
pub struct Queue {
    shards: RwLock<Vec<Arc<Shard>>>,
    free_records: AtomicI64,
    free_bytes: AtomicI64,
    wake_at: AtomicU64,
    limits: Mutex<QueueLimits>,
    /// Set when no shard has credit left to call in, until some comes back.
    exhausted: AtomicBool,
    waker: RwLock<Option<Waker>>,
}

type Waker = Arc<dyn Fn() + Send + Sync>;

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// One thread's part. Aligned so that no two share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    records: Records,
    credit_records: i64,
    credit_bytes: i64,
    accepted: u64,
    refused: u64,
}

/// Appends to one shard of a queue. Any thread may use it; it is quick as long
/// as it is the only one.
#[derive(Debug)]
pub struct Producer {
    queue: Arc<Queue>,
    shard: Arc<Shard>,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self {
            shards: RwLock::default(),
            free_records: AtomicI64::new(i64::from(limits.records)),
            free_bytes: AtomicI64::new(signed(limits.bytes)),
            wake_at: AtomicU64::new(u64::from(limits.wake_at)),
            limits: Mutex::new(limits),
            exhausted: AtomicBool::new(false),
            waker: RwLock::new(None),
        })
    }

    /// A shard for a thread. Shards stay as long as the queue.
    #[must_use]
    pub fn producer(self: &Arc<Self>) -> Producer {
        let shard = Arc::new(Shard::default());
        self.shards.write().push(Arc::clone(&shard));
        Producer { queue: Arc::clone(self), shard }
    }

    /// Changes the bounds. A lower bound lets nothing in until enough has left.
    pub fn set_limits(&self, limits: QueueLimits) {
        let mut current = self.limits.lock();
        // Credit that was given out under the old bound is asked for anew.
        self.call_in();
        let more_records = i64::from(limits.records) - i64::from(current.records);
        let more_bytes = signed(limits.bytes) - signed(current.bytes);
        self.free_records.fetch_add(more_records, Ordering::Relaxed);
        self.free_bytes.fetch_add(more_bytes, Ordering::Relaxed);
        self.wake_at.store(u64::from(limits.wake_at), Ordering::Relaxed);
        *current = limits;
        self.exhausted.store(false, Ordering::Relaxed);
    }

    /// What is called, on the thread that ends a span, when there is enough to
    /// export. It must not block.
    pub fn set_waker(&self, waker: Option<Arc<dyn Fn() + Send + Sync>>) {
        *self.waker.write() = waker;
    }

    /// Takes all that is queued, a buffer a shard. It stays counted as held
    /// until it is released.
    #[must_use]
    pub fn drain(&self) -> Vec<Records> {
        let shards = self.shards.read();
        let mut drained: Vec<Records> = Vec::new();
        for shard in shards.iter() {
            let mut held = shard.0.lock();
            if held.records.count > 0 {
                let next =
                    Records { count: 0, bytes: Vec::with_capacity(held.records.bytes.len()) };
                drained.push(std::mem::replace(&mut held.records, next));
            }
        }
        drained
    }

    /// Gives back the room of records that have left: exported, spooled or
    /// dropped. `bytes` is the length of their [`Records::bytes`].
    pub fn release(&self, records: u32, bytes: usize) {
        self.free_records.fetch_add(i64::from(records), Ordering::Relaxed);
        self.free_bytes.fetch_add(signed(bytes as u64), Ordering::Relaxed);
        self.exhausted.store(false, Ordering::Relaxed);
    }

    /// Counts since the start, and what is held now.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        let limits = *self.limits.lock();
        let mut stats = QueueStats {
            capacity: u64::from(limits.records),
            capacity_bytes: limits.bytes,
            ..QueueStats::default()
        };
        let (mut records, mut bytes) =
            (self.free_records.load(Ordering::Relaxed), self.free_bytes.load(Ordering::Relaxed));
        for shard in self.shards.read().iter() {
            let held = shard.0.lock();
            records += held.credit_records;
            bytes += held.credit_bytes;
            stats.accepted += held.accepted;
            stats.refused += held.refused;
        }
        stats.held = unsigned(i64::from(limits.records) - records);
        stats.held_bytes = unsigned(signed(limits.bytes) - bytes);
        stats
    }

    /// Takes up to `wanted`, at least `needed`, from `free`.
    fn take(free: &AtomicI64, needed: i64, wanted: i64) -> Option<i64> {
        let mut available = free.load(Ordering::Relaxed);
        loop {
            if available < needed {
                return None;
            }
            let taken = wanted.max(needed).min(available);
            match free.compare_exchange_weak(
                available,
                available - taken,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(taken),
                Err(found) => available = found,
            }
        }
    }

    /// Fetches what a record needs into its shard's credit.
    fn fetch(&self, held: &mut Held, bytes: i64) -> bool {
        if held.credit_records < 1 {
            match Self::take(&self.free_records, 1, RECORDS_BLOCK) {
                Some(taken) => held.credit_records += taken,
                None => return false,
            }
        }
        if held.credit_bytes < bytes {
            let missing = bytes - held.credit_bytes;
            match Self::take(&self.free_bytes, missing, missing.max(BYTES_BLOCK)) {
                Some(taken) => held.credit_bytes += taken,
                None => return false,
            }
        }
        true
    }

    /// Calls in the credit that shards hold and do not use.
    fn call_in(&self) {
        let mut any = false;
        for shard in self.shards.read().iter() {
            let mut held = shard.0.lock();
            let (records, bytes) = (held.credit_records, held.credit_bytes);
            any |= records > 0 || bytes > 0;
            held.credit_records = 0;
            held.credit_bytes = 0;
            self.free_records.fetch_add(records, Ordering::Relaxed);
            self.free_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        if !any {
            self.exhausted.store(true, Ordering::Relaxed);
        }
    }
}

impl Producer {
    /// Appends a record.
    ///
    /// # Errors
    ///
    /// [`QueueFull`] when there is no room, which is counted.
    pub fn push(&self, body: &[u8]) -> Result<(), QueueFull> {
        let framed = signed((1 + varint_len(body.len() as u64) + body.len()) as u64);
        let mut held = self.shard.0.lock();
        let has_credit = held.credit_records >= 1 && held.credit_bytes >= framed;
        if !has_credit && !self.queue.fetch(&mut held, framed) {
            drop(held);
            held = self.after_calling_in(framed)?;
        }
        held.credit_records -= 1;
        held.credit_bytes -= framed;
        held.accepted += 1;
        held.records.count += 1;
        let bytes = &mut held.records.bytes;
        bytes.push(RECORD_TAG);
        push_varint(bytes, body.len() as u64);
        bytes.extend_from_slice(body);
        let count = u64::from(held.records.count);
        drop(held);
        if count == self.queue.wake_at.load(Ordering::Relaxed) {
            self.queue.wake();
        }
        Ok(())
    }

    #[cold]
    fn after_calling_in(
        &self,
        framed: i64,
    ) -> Result<parking_lot::MutexGuard<'_, Held>, QueueFull> {
        if !self.queue.exhausted.load(Ordering::Relaxed) {
            self.queue.call_in();
            let mut held = self.shard.0.lock();
            if self.queue.fetch(&mut held, framed) {
                return Ok(held);
            }
            held.refused += 1;
        } else {
            self.shard.0.lock().refused += 1;
        }
        self.queue.wake();
        Err(QueueFull)
    }
}

impl Queue {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.read() {
            waker();
        }
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(records: u32, bytes: u64) -> Arc<Queue> {
        Queue::new(QueueLimits { records, bytes, wake_at: 4 })
    }

    #[test]
    fn the_bound_is_exact_over_shards() {
        let queue = queue(100, 1 << 20);
        let producers: Vec<_> = (0..7).map(|_| queue.producer()).collect();
        let accepted = (0..1000).filter(|n| producers[n % 7].push(b"span").is_ok()).count();
        assert_eq!(accepted, 100);
        let stats = queue.stats();
        assert_eq!((stats.accepted, stats.refused, stats.held), (100, 900, 100));
        let drained = queue.drain();
        assert_eq!(drained.iter().map(|records| records.count).sum::<u32>(), 100);
        assert_eq!(queue.stats().held, 100, "held until released");
        for records in &drained {
            queue.release(records.count, records.bytes.len());
        }
        assert_eq!((queue.stats().held, queue.stats().held_bytes), (0, 0));
        assert!(producers[0].push(b"span").is_ok());
    }

    #[test]
    fn bytes_are_bounded_too() {
        let queue = queue(1000, 100);
        let producer = queue.producer();
        let accepted = (0..10).filter(|_| producer.push(&[0; 20]).is_ok()).count();
        assert_eq!(accepted, 4, "22 bytes each");
        assert!(producer.push(&[0; 10]).is_ok(), "12 bytes are still free");
    }

    #[test]
    fn records_are_framed() {
        let queue = queue(10, 1000);
        let producer = queue.producer();
        producer.push(&[7; 200]).unwrap();
        producer.push(b"x").unwrap();
        let drained = queue.drain();
        let bytes = &drained[0].bytes;
        assert_eq!(bytes[..3], [RECORD_TAG, 0xC8, 1]);
        assert_eq!(bytes[203..], [RECORD_TAG, 1, b'x']);
    }

    #[test]
    fn a_lower_bound_holds_once_enough_has_left() {
        let queue = queue(10, 1000);
        let producer = queue.producer();
        for _ in 0..8 {
            producer.push(b"x").unwrap();
        }
        queue.set_limits(QueueLimits { records: 4, bytes: 1000, wake_at: 4 });
        assert_eq!(producer.push(b"x"), Err(QueueFull));
        let drained = queue.drain();
        queue.release(drained[0].count, drained[0].bytes.len());
        let accepted = (0..10).filter(|_| producer.push(b"x").is_ok()).count();
        assert_eq!(accepted, 4);
    }

    #[test]
    fn the_waker_is_called_at_the_mark_and_when_full() {
        let queue = queue(5, 1000);
        let woken = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&woken);
        queue.set_waker(Some(Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })));
        let producer = queue.producer();
        for _ in 0..4 {
            producer.push(b"x").unwrap();
        }
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        producer.push(b"x").unwrap();
        assert!(producer.push(b"x").is_err());
        assert_eq!(woken.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn threads_lose_and_invent_nothing() {
        let queue = queue(500, 1 << 20);
        let done = Arc::new(AtomicBool::new(false));
        let exporter = {
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut exported = 0;
                loop {
                    let last = done.load(Ordering::Acquire);
                    for records in queue.drain() {
                        assert!(queue.stats().held <= 500);
                        exported += u64::from(records.count);
                        queue.release(records.count, records.bytes.len());
                    }
                    if last {
                        return exported;
                    }
                }
            })
        };
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let producer = queue.producer();
                std::thread::spawn(move || {
                    (0..50_000).filter(|_| producer.push(b"abc").is_ok()).count()
                })
            })
            .collect();
        let accepted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        done.store(true, Ordering::Release);
        assert_eq!(exporter.join().unwrap(), accepted as u64);
        let stats = queue.stats();
        assert_eq!(stats.accepted, accepted as u64);
        assert_eq!(stats.accepted + stats.refused, 200_000);
        assert_eq!((stats.held, stats.held_bytes), (0, 0));
    }
}
