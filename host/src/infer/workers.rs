//! A few threads that work off one bounded queue: the readers and the recognisers of a host.
//!
//! What always holds: each job that was taken is handed to one worker exactly once, the most urgent first, those that are as urgent in the
//! order of their coming; what was taken is still done after the [`Workers`] are dropped, and then the threads end.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Jobs that wait, at most; a source has one at a time, so this is more than a host serves.
const WAITING_MAX: usize = 256;

struct Queue<J> {
    /// By urgency, then by number.
    waiting: BTreeMap<(Instant, u64), J>,
    next: u64,
    closed: bool,
}

struct Inner<J> {
    queue: Mutex<Queue<J>>,
    came: Condvar,
}

impl<J> Inner<J> {
    fn queue(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub struct Workers<J> {
    inner: Arc<Inner<J>>,
}

impl<J: Send + 'static> Workers<J> {
    /// Starts a thread for each of `each`, which must not panic.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub fn start(name: &str, each: impl IntoIterator<Item = impl FnMut(J) + Send + 'static>) -> std::io::Result<Self> {
        let queue = Mutex::new(Queue { waiting: BTreeMap::new(), next: 0, closed: false });
        // Dropped on an error, which ends the threads that were started before.
        let workers = Self { inner: Arc::new(Inner { queue, came: Condvar::new() }) };
        for (number, mut work) in each.into_iter().enumerate() {
            let inner = workers.inner.clone();
            let run = move || {
                while let Some(job) = next(&inner) {
                    work(job);
                }
            };
            std::thread::Builder::new().name(format!("{name}-{number}")).spawn(run)?;
        }
        Ok(workers)
    }

    /// Puts a job into the queue; the lower `urgency`, the sooner its turn. Gives it back when the queue is full.
    pub fn submit(&self, urgency: Instant, job: J) -> Result<(), J> {
        let mut queue = self.inner.queue();
        if queue.waiting.len() >= WAITING_MAX {
            return Err(job);
        }
        queue.next += 1;
        let key = (urgency, queue.next);
        queue.waiting.insert(key, job);
        drop(queue);
        self.inner.came.notify_one();
        Ok(())
    }
}

impl<J> Drop for Workers<J> {
    fn drop(&mut self) {
        self.inner.queue().closed = true;
        self.inner.came.notify_all();
    }
}

/// The next job; none when no more will come.
fn next<J>(inner: &Inner<J>) -> Option<J> {
    let mut queue = inner.queue();
    loop {
        if let Some((_, job)) = queue.waiting.pop_first() {
            return Some(job);
        }
        if queue.closed {
            return None;
        }
        queue = inner.came.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// One worker, which is busy until it is told to go on.
    fn busy() -> (Workers<u32>, mpsc::Sender<()>, mpsc::Receiver<u32>) {
        let (go_on, wait) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let work = move |job| {
            let _ = tell.send(job);
            let _ = wait.recv();
        };
        let workers = Workers::start("test", [work]).expect("a thread can be started");
        assert_eq!(workers.submit(Instant::now(), 0), Ok(()));
        assert_eq!(told.recv(), Ok(0));
        (workers, go_on, told)
    }

    #[test]
    fn the_most_urgent_is_first_and_all_is_done_though_nobody_waits() {
        let (workers, go_on, told) = busy();
        let now = Instant::now();
        for (job, after) in [(3, 30), (1, 10), (2, 10), (4, 40)] {
            assert_eq!(workers.submit(now + Duration::from_secs(after), job), Ok(()));
        }
        drop(workers);
        drop(go_on);
        assert_eq!(told.iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn what_finds_no_room_is_given_back() {
        let (workers, _busy, _told) = busy();
        let now = Instant::now();
        let refused: Vec<u32> = (0..WAITING_MAX as u32 + 2).filter_map(|job| workers.submit(now, job).err()).collect();
        assert_eq!(refused, [WAITING_MAX as u32, WAITING_MAX as u32 + 1]);
    }
}
