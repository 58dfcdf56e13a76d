//! How often each peer may be wrong.
//!
//! A budget a peer, refilled with time. Those that were wrong lately are
//! remembered in two halves: when the young half is full it becomes the old one,
//! whose members are forgotten. So memory is bounded, and nobody is kept out for
//! want of a place: who takes all places only makes others' mistakes forgotten.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::peers::PeerKey;

/// Peers that are remembered, in each half.
const HALF: usize = 4096;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Throttle {
    per_minute: f64,
    peers: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<PeerKey, Budget>,
    old: HashMap<PeerKey, Budget>,
}

#[derive(Debug, Clone, Copy)]
struct Budget {
    left: f64,
    at: Instant,
}

impl Throttle {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: per_minute.max(1).into(), peers: Mutex::default() }
    }

    /// Takes one attempt from a peer's budget.
    ///
    /// # Errors
    ///
    /// How long it has to wait for the next one.
    pub(crate) fn take(&self, peer: PeerKey, now: Instant) -> Result<(), Duration> {
        let mut peers = self.peers.lock();
        let mut budget = self.of(&mut peers, peer, now);
        let result = if budget.left >= 1.0 {
            budget.left -= 1.0;
            Ok(())
        } else {
            Err(MINUTE.mul_f64((1.0 - budget.left) / self.per_minute))
        };
        peers.remember(peer, budget);
        result
    }

    /// Gives one back: the attempt was right.
    pub(crate) fn give_back(&self, peer: PeerKey, now: Instant) {
        let mut peers = self.peers.lock();
        let mut budget = self.of(&mut peers, peer, now);
        budget.left += 1.0;
        if budget.left < self.per_minute {
            peers.remember(peer, budget);
        }
    }

    /// Takes a peer's budget out, as it is now.
    fn of(&self, peers: &mut Halves, peer: PeerKey, now: Instant) -> Budget {
        let known = peers.young.remove(&peer).or_else(|| peers.old.remove(&peer));
        let left = known.map_or(self.per_minute, |budget| {
            let passed = now.saturating_duration_since(budget.at).as_secs_f64();
            budget.left + passed / MINUTE.as_secs_f64() * self.per_minute
        });
        Budget { left: left.min(self.per_minute), at: now }
    }
}

impl Halves {
    fn remember(&mut self, peer: PeerKey, budget: Budget) {
        if self.young.len() >= HALF {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(peer, budget);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_runs_out_and_comes_back() {
        let throttle = Throttle::new(6);
        let (one, other) = (PeerKey::V6(1), PeerKey::V6(2));
        let begin = Instant::now();
        assert!((0..6).all(|_| throttle.take(one, begin).is_ok()));
        let wait = throttle.take(one, begin).unwrap_err();
        assert_eq!(wait.as_secs(), 10);
        assert!(throttle.take(other, begin).is_ok(), "the other has its own");
        assert!(throttle.take(one, begin + wait).is_ok());
        assert!(throttle.take(one, begin + wait).is_err());
        throttle.give_back(one, begin + wait);
        assert!(throttle.take(one, begin + wait).is_ok());
        let later = begin + MINUTE * 9;
        assert!((0..6).all(|_| throttle.take(one, later).is_ok()));
        assert!(throttle.take(one, later).is_err(), "no more than a minute's");
    }

    #[test]
    fn a_crowd_takes_no_memory_and_keeps_nobody_out() {
        let throttle = Throttle::new(1);
        let now = Instant::now();
        for peer in 0..100_000 {
            assert!(throttle.take(PeerKey::V6(peer), now).is_ok());
        }
        let peers = throttle.peers.lock();
        assert!(peers.young.len() + peers.old.len() <= 2 * HALF);
    }

    #[test]
    fn those_who_are_right_are_not_remembered() {
        let throttle = Throttle::new(3);
        let now = Instant::now();
        throttle.take(PeerKey::V6(1), now).unwrap();
        throttle.give_back(PeerKey::V6(1), now);
        assert!(throttle.peers.lock().young.is_empty());
    }
}
