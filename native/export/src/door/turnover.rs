//! A few places that are always to be had: whoever comes when all are taken
//! displaces the one who has had his for longest.
//!
//! Somebody who takes places and does nothing with them cannot keep others out:
//! who uses his at once is done before it is taken from him.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

#[derive(Debug)]
pub(crate) struct Turnover {
    places: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// The oldest first. Whose sender is dropped is displaced.
    holders: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// A place, until it is dropped or taken away.
#[derive(Debug)]
pub(crate) struct Place {
    turnover: Arc<Turnover>,
    number: u64,
    holding: oneshot::Receiver<()>,
}

impl Turnover {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places: places.max(1), taken: Mutex::default() })
    }

    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        let (hold, holding) = oneshot::channel();
        let mut taken = self.taken.lock();
        let number = taken.next;
        taken.next += 1;
        if taken.holders.len() >= self.places {
            taken.holders.pop_front();
        }
        taken.holders.push_back((number, hold));
        drop(taken);
        Place { turnover: Arc::clone(self), number, holding }
    }
}

/// Comes back when the place, if there is one, is taken away.
pub(crate) async fn displaced(place: Option<&mut Place>) {
    match place {
        // Nothing is ever sent.
        Some(place) => drop((&mut place.holding).await),
        None => pending().await,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turnover.taken.lock().holders.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    async fn is_displaced(place: &mut Place) -> bool {
        timeout(Duration::ZERO, displaced(Some(place))).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_goes_first() {
        let turnover = Turnover::new(2);
        let (mut first, mut second) = (turnover.enter(), turnover.enter());
        assert!(!is_displaced(&mut first).await);
        let mut third = turnover.enter();
        assert!(is_displaced(&mut first).await);
        assert!(!is_displaced(&mut second).await);
        drop(first);
        drop(second);
        let _fourth = turnover.enter();
        assert!(!is_displaced(&mut third).await, "there was room");
        assert_eq!(turnover.taken.lock().holders.len(), 2);
    }
}
