//! Unix time that does not jump within a span.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time, shown as Unix time.
///
/// The offset between the two is looked up once a second, so that a clock that
/// is set is followed; a span keeps the offset it began with.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    offset_ns: u64,
    checked: Duration,
}

/// How old an offset gets.
const CHECK_EVERY: Duration = Duration::from_secs(1);

impl Clock {
    /// `origin` is the same in every clock of a tracer.
    pub(crate) fn new(origin: Instant) -> Self {
        let mut clock = Self { origin, offset_ns: 0, checked: Duration::ZERO };
        clock.check(origin.elapsed());
        clock
    }

    fn check(&mut self, elapsed: Duration) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.offset_ns = nanoseconds(unix).saturating_sub(nanoseconds(elapsed));
        self.checked = elapsed;
    }

    /// Now, and the offset that was used.
    #[inline]
    pub(crate) fn now(&mut self) -> (u64, u64) {
        let elapsed = self.origin.elapsed();
        if elapsed.saturating_sub(self.checked) >= CHECK_EVERY {
            self.check(elapsed);
        }
        (self.offset_ns + nanoseconds(elapsed), self.offset_ns)
    }

    /// Now, by the offset of an earlier time.
    #[inline]
    pub(crate) fn now_by(&self, offset_ns: u64) -> u64 {
        offset_ns + nanoseconds(self.origin.elapsed())
    }
}

#[inline]
#[allow(clippy::cast_possible_truncation)]
fn nanoseconds(duration: Duration) -> u64 {
    // 584 years.
    duration.as_nanos() as u64
}
