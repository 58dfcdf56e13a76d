//! Which names may be logged now: each once a minute.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;

const SLOTS: usize = 1 << 10;
/// A name's entry is in one of so many slots, from where its hash leads to.
const PROBES: usize = 8;
const SECONDS: u64 = 60;
const LOW: u64 = 0xFFFF_FFFF;

/// Remembers the names that were logged within the last minute.
///
/// A fixed table: a flood of different names fills it, and what finds no room
/// may not be logged. A name that is known, or finds no room, costs eight reads
/// and no lock; only what may be logged takes one, at most 1024 times a minute
/// (and when threads race for it).
#[derive(Debug)]
pub struct LogLimiter {
    /// The name's hash, and below it the second at which it is forgotten.
    slots: [AtomicU64; SLOTS],
    writer: Mutex<()>,
}

/// What the slots say of a name.
enum Found<'a> {
    Known,
    Room(&'a AtomicU64),
    Full,
}

impl LogLimiter {
    /// One that remembers no name.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: [const { AtomicU64::new(0) }; SLOTS], writer: Mutex::new(()) }
    }

    /// Whether `name` may be logged at the second `now`, counted from any
    /// moment. Of threads that ask at the same time, one is told so.
    pub fn may_log(&self, name: &str, now: u64) -> bool {
        let hash = hash(name);
        if !matches!(self.find(hash, now), Found::Room(_)) {
            return false;
        }
        let _writer = self.writer.lock();
        // What was found without the lock may be taken, by this name as well.
        let Found::Room(slot) = self.find(hash, now) else { return false };
        slot.store(hash << 32 | (now + SECONDS) & LOW, Relaxed);
        true
    }

    fn find(&self, hash: u64, now: u64) -> Found<'_> {
        let start = usize::try_from(hash).unwrap_or(0) % SLOTS;
        let mut found = Found::Full;
        for slot in self.slots.iter().cycle().skip(start).take(PROBES) {
            let held = slot.load(Relaxed);
            let expired = held & LOW <= now;
            if !expired && held >> 32 == hash {
                return Found::Known;
            }
            if expired && matches!(found, Found::Full) {
                found = Found::Room(slot);
            }
        }
        found
    }
}

impl Default for LogLimiter {
    fn default() -> Self {
        Self::new()
    }
}

/// FNV-1a, folded to 32 bits: names that collide share a minute.
fn hash(name: &str) -> u64 {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (hash ^ (hash >> 32)) & LOW
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|i| format!("{prefix}{i}")).collect()
    }

    #[test]
    fn once_a_minute() {
        let limiter = LogLimiter::new();
        assert!(limiter.may_log("a", 7));
        assert!(!limiter.may_log("a", 7));
        assert!(!limiter.may_log("a", 66));
        assert!(limiter.may_log("b", 66));
        assert!(limiter.may_log("a", 67));
        assert!(!limiter.may_log("a", 126));
        assert!(limiter.may_log("a", 127));
    }

    #[test]
    fn a_flood_finds_no_room_until_the_minute_is_over() {
        let limiter = LogLimiter::new();
        let logged =
            |prefix, now| names(prefix, 20_000).iter().filter(|n| limiter.may_log(n, now)).count();
        assert_eq!(logged("first", 0), SLOTS);
        assert_eq!(logged("second", 59), 0);
        assert_eq!(logged("second", 60), SLOTS);
    }

    /// Threads that meet at each name: one of them may log it, for as long as
    /// there is room, and no name is logged by two.
    #[test]
    fn threads_at_once() {
        const THREADS: usize = 4;
        const ROUNDS: usize = 200;
        for round in 0..ROUNDS {
            let limiter = LogLimiter::new();
            let few = names(&format!("few{round}_"), 20);
            let all = [few.clone(), names(&format!("many{round}_"), 2000)].concat();
            let barrier = Barrier::new(THREADS);
            let ask = || {
                barrier.wait();
                all.iter().filter(|name| limiter.may_log(name, 0)).collect::<Vec<_>>()
            };
            let logged: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            let once: HashSet<_> = logged.iter().collect();
            assert_eq!(once.len(), logged.len());
            assert!(few.iter().all(|name| once.contains(&name)));
        }
    }
}
