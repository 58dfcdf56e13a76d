//! Work on threads for blocking work, no more of a kind side by side than its
//! turns.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Does a piece of work when it is its turn, which it holds until it is done,
/// also for a client that has left meanwhile. None if it panicked.
pub(crate) async fn in_turn<T: Send + 'static>(
    turns: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let turn = turns.acquire_owned().await.ok()?;
    let work = move || {
        let done = work();
        drop(turn);
        done
    };
    spawn_blocking(work).await.ok()
}
