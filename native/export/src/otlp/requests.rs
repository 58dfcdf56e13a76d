//! Where those wait who want everything taken in, or everything sent.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// Numbers the requests of one kind to a pipeline. Those who wait hold no place:
/// what has reached one's number has reached all before.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    numbers: Mutex<Numbers>,
    reached: Condvar,
    requested: Notify,
}

#[derive(Debug, Default)]
struct Numbers {
    newest: u64,
    reached: u64,
    closed: bool,
}

impl Requests {
    /// Makes a request. Returns its number.
    pub(crate) fn request(&self) -> u64 {
        let mut numbers = self.numbers.lock();
        numbers.newest += 1;
        self.requested.notify_one();
        numbers.newest
    }

    /// Waits for a request; says whether it was reached in time.
    pub(crate) fn wait(&self, number: u64, deadline: Instant) -> bool {
        let mut numbers = self.numbers.lock();
        while numbers.reached < number && !numbers.closed {
            if self.reached.wait_until(&mut numbers, deadline).timed_out() {
                break;
            }
        }
        numbers.reached >= number
    }

    /// Waits for the pipeline's end; says whether it came in time.
    pub(crate) fn wait_closed(&self, deadline: Instant) -> bool {
        let mut numbers = self.numbers.lock();
        while !numbers.closed {
            if self.reached.wait_until(&mut numbers, deadline).timed_out() {
                break;
            }
        }
        numbers.closed
    }

    /// Comes back when there are requests that have not been looked at.
    pub(crate) async fn requested(&self) {
        self.requested.notified().await;
    }

    /// The number of the newest request.
    pub(crate) fn newest(&self) -> u64 {
        self.numbers.lock().newest
    }

    /// All up to this number have what they want.
    pub(crate) fn reached(&self, number: u64) {
        let mut numbers = self.numbers.lock();
        numbers.reached = numbers.reached.max(number);
        self.reached.notify_all();
    }

    /// Nobody will look at requests any more.
    pub(crate) fn close(&self) {
        self.numbers.lock().closed = true;
        self.reached.notify_all();
    }
}
