//! How long to wait before a request is sent again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use super::config::RetryConfig;

/// Longest wait that a receiver can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// The waits between the attempts of one request: exponential back-off with
/// full jitter, as described in "Exponential Backoff And Jitter" of AWS'
/// architecture blog.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    initial: Duration,
    ceiling: Duration,
    max: Duration,
    multiplier: f64,
}

impl Backoff {
    pub(crate) fn new(config: &RetryConfig) -> Self {
        let initial = config.initial.min(config.max);
        Self { initial, ceiling: initial, max: config.max, multiplier: config.multiplier }
    }

    /// Begins anew.
    pub(crate) fn reset(&mut self) {
        self.ceiling = self.initial;
    }

    /// The next wait, at least as long as the receiver asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let jittered = self.ceiling.mul_f64(random_fraction());
        self.ceiling = Duration::try_from_secs_f64(self.ceiling.as_secs_f64() * self.multiplier)
            .map_or(self.max, |next| next.min(self.max));
        asked.map_or(jittered, |asked| asked.max(jittered))
    }
}

/// A `Retry-After` field: seconds, or a date.
pub(crate) fn retry_after(field: &str, now: SystemTime) -> Option<Duration> {
    let field = field.trim();
    let asked = match field.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A date that has passed asks for no wait.
        Err(_) => httpdate::parse_http_date(field).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(asked.min(LONGEST_ASKED))
}

/// The wait that a gRPC status asks for.
pub(crate) fn asked_by_status(seconds: i64, nanos: i32) -> Duration {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanos = u32::try_from(nanos).unwrap_or(0).min(999_999_999);
    Duration::new(seconds, nanos).min(LONGEST_ASKED)
}

/// A number from 0 to 1. Good enough to keep clients apart: the keys of std's
/// hash maps, which come from the system's randomness.
fn random_fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_and_are_random() {
        let config = RetryConfig {
            initial: Duration::from_millis(100),
            max: Duration::from_millis(350),
            ..RetryConfig::default()
        };
        let mut seen = Vec::new();
        for _ in 0..50 {
            let mut backoff = Backoff::new(&config);
            for ceiling in [100, 200, 350, 350] {
                let wait = backoff.next(None);
                assert!(wait <= Duration::from_millis(ceiling));
                seen.push(wait);
            }
        }
        seen.sort();
        seen.dedup();
        assert!(seen.len() > 100, "waits differ");
        assert!(seen.last().unwrap() > &Duration::from_millis(200), "and use the room they have");
    }

    #[test]
    fn no_wait_is_shorter_than_the_receiver_asks_for() {
        let mut backoff = Backoff::new(&RetryConfig::default());
        let asked = Duration::from_secs(40);
        assert_eq!(backoff.next(Some(asked)), asked);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Fri, 31 Jul 2026 12:00:00 GMT").unwrap();
        let seconds = |field| retry_after(field, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("7"), Some(7));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Fri, 31 Jul 2026 12:01:30 GMT"), Some(90));
        assert_eq!(seconds("Fri, 31 Jul 2026 11:00:00 GMT"), Some(0));
        assert_eq!(seconds("99999999999"), Some(3600));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-1"), None);
    }
}
