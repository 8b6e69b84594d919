//! What the library's threads leave for a stream to be taken, bounded: the oldest goes, and is counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// See the module.
pub(crate) struct Queue<T> {
    state: Mutex<Waiting<T>>,
    arrived: Notify,
    dropped: AtomicU64,
    most: usize,
}

struct Waiting<T> {
    items: VecDeque<T>,
    over: bool,
}

impl<T> Queue<T> {
    /// Holds at most so many.
    pub fn new(most: usize) -> Self {
        let state = Mutex::new(Waiting { items: VecDeque::new(), over: false });
        Self { state, arrived: Notify::new(), dropped: AtomicU64::new(0), most }
    }

    fn state(&self) -> MutexGuard<'_, Waiting<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits.
    pub fn push(&self, item: T) {
        let mut state = self.state();
        state.items.push_back(item);
        let stale = if state.items.len() > self.most { state.items.pop_front() } else { None };
        drop(state);
        // What it holds of the library's is given back outside of the lock.
        if stale.is_some() {
            self.lose();
        }
        self.arrived.notify_one();
    }

    /// Something came that could not be kept.
    pub fn lose(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Nothing follows.
    pub fn end(&self) {
        self.state().over = true;
        self.arrived.notify_one();
    }

    /// The next one, for the one who takes them; none after the last.
    pub async fn next(&self) -> Option<T> {
        loop {
            let (next, over) = {
                let mut state = self.state();
                (state.items.pop_front(), state.over)
            };
            match next {
                Some(item) => return Some(item),
                None if over => return None,
                None => self.arrived.notified().await,
            }
        }
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_are_taken_in_order_and_the_end_comes_after_them() {
        let queue = Queue::new(2);
        (0..5).for_each(|item| queue.push(item));
        queue.end();
        assert_eq!((queue.next().await, queue.next().await, queue.next().await), (Some(3), Some(4), None));
        assert_eq!(queue.dropped(), 3);
    }

    #[tokio::test]
    async fn who_waits_hears_of_what_comes() {
        let queue = std::sync::Arc::new(Queue::new(2));
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { (queue.next().await, queue.next().await) }
        });
        tokio::task::yield_now().await;
        queue.push(7);
        tokio::task::yield_now().await;
        queue.end();
        assert_eq!(waiting.await.expect("no panic"), (Some(7), None));
    }
}
