//! Work that several requests want at the same time, done once.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Work under way, by what it makes. Whoever asks while it is under way shares
/// its result; whoever asks afterwards starts it again.
#[derive(Debug)]
pub(crate) struct Flights<K, V> {
    under_way: Arc<UnderWay<K, V>>,
}

type UnderWay<K, V> = Mutex<HashMap<K, watch::Receiver<Option<V>>>>;

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { under_way: Arc::new(Mutex::new(HashMap::new())) }
    }
}

impl<K, V> Flights<K, V>
where
    K: Copy + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The result of the work under way for `key`, or else of `work`. It runs
    /// in a task of its own: a client that goes away does not end it for the
    /// others. Nothing comes back when it panicked or the runtime stops.
    pub(crate) async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Option<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut result = self.board(key, work);
        let value = result.wait_for(Option::is_some).await.ok()?;
        value.clone()
    }

    fn board<F>(&self, key: K, work: impl FnOnce() -> F) -> watch::Receiver<Option<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut under_way = self.under_way.lock();
        if let Some(result) = under_way.get(&key) {
            return result.clone();
        }
        let (sender, result) = watch::channel(None);
        under_way.insert(key, result.clone());
        drop(under_way);
        let landing = Landing { key, under_way: Arc::clone(&self.under_way) };
        let work = work();
        tokio::spawn(async move {
            let value = work.await;
            // Off the list first: who comes from here on wants newer figures.
            drop(landing);
            sender.send_replace(Some(value));
        });
        result
    }
}

/// Takes the work off the list when it is done, however it ends.
struct Landing<K: Eq + Hash, V> {
    key: K,
    under_way: Arc<UnderWay<K, V>>,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn work_under_way_is_shared_and_then_begun_anew() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let flights = Arc::new(Flights::<u8, usize>::default());
            let done = Arc::new(AtomicUsize::new(0));
            for round in 1..=2 {
                let tasks: Vec<_> = (0..8)
                    .map(|_| {
                        let (flights, done) = (Arc::clone(&flights), Arc::clone(&done));
                        tokio::spawn(async move {
                            // So long that all of them have joined.
                            let work = || async move {
                                tokio::time::sleep(Duration::from_secs(1)).await;
                                done.fetch_add(1, Ordering::SeqCst) + 1
                            };
                            flights.join(1, work).await
                        })
                    })
                    .collect();
                for task in tasks {
                    assert_eq!(task.await.unwrap(), Some(round));
                }
            }
            assert!(flights.under_way.lock().is_empty());
        });
    }

    #[test]
    fn work_that_panics_ends_for_all_and_can_be_tried_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let flights = Flights::<u8, usize>::default();
            let failed = flights.join(1, || async { panic!("as the test wants it") });
            assert_eq!(failed.await, None);
            assert_eq!(flights.join(1, || async { 5 }).await, Some(5));
        });
    }
}
