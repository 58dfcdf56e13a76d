//! Passwords that were right a while ago: a scrape every few seconds must not
//! cost a bcrypt each.
//!
//! What is kept is a keyed digest of name, hash and password under a key that
//! never leaves this process, so that a changed hash matches nothing that was
//! remembered.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;

/// How long a password is remembered that is not used again.
const KEPT: Duration = Duration::from_secs(600);

/// Most passwords that are remembered.
const MOST: usize = 256;

type Key = [u8; 32];

pub(crate) struct Remembered {
    /// None where the system has no random bytes: then nothing is remembered.
    key: Option<hmac::Key>,
    seen: Mutex<HashMap<Key, Instant>>,
}

impl Remembered {
    pub(crate) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        Self { key, seen: Mutex::default() }
    }

    /// What a user's password is remembered as.
    pub(crate) fn key(&self, user: &str, hash: &str, password: &[u8]) -> Option<Key> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }

    /// Whether it was right lately; if so it is remembered for longer.
    pub(crate) fn knows(&self, key: Option<Key>, now: Instant) -> bool {
        let mut seen = self.seen.lock();
        let Some(last) = key.and_then(|key| seen.get_mut(&key)) else { return false };
        let fresh = now.saturating_duration_since(*last) < KEPT;
        if fresh {
            *last = now;
        }
        fresh
    }

    pub(crate) fn remember(&self, key: Option<Key>, now: Instant) {
        let Some(key) = key else { return };
        let mut seen = self.seen.lock();
        if seen.len() >= MOST {
            let oldest = seen.iter().min_by_key(|(_, last)| **last).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                seen.remove(&oldest);
            }
        }
        seen.insert(key, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_of_everything_is_known_and_only_for_a_while() {
        let remembered = Remembered::new();
        let now = Instant::now();
        let key = remembered.key("alice", "hash", b"secret");
        assert!(key.is_some() && !remembered.knows(key, now));
        remembered.remember(key, now);
        assert!(remembered.knows(key, now));
        for (user, hash, password) in
            [("alic", "ehash", "secret"), ("alice", "hash2", "secret"), ("alice", "hash", "secre")]
        {
            let other = remembered.key(user, hash, password.as_bytes());
            assert!(!remembered.knows(other, now), "{user} {hash} {password}");
        }
        let later = now + KEPT - Duration::from_secs(1);
        assert!(remembered.knows(key, later));
        assert!(remembered.knows(key, later + KEPT / 2), "used again");
        assert!(!remembered.knows(key, later + KEPT * 2));
        assert_ne!(Remembered::new().key("alice", "hash", b"secret"), key);
    }

    #[test]
    fn a_bounded_number_is_remembered_the_newest() {
        let remembered = Remembered::new();
        let now = Instant::now();
        let key = |n: usize| remembered.key("a", "h", &n.to_be_bytes());
        for n in 0..2 * MOST {
            remembered.remember(key(n), now + Duration::from_millis(n as u64));
        }
        assert_eq!(remembered.seen.lock().len(), MOST);
        assert!(remembered.knows(key(2 * MOST - 1), now));
        assert!(!remembered.knows(key(0), now));
    }
}
