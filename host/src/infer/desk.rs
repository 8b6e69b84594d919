//! The readers of one host, shared by its sources: a bounded queue of reads and a few threads with a [`Reader`] each.
//!
//! What always holds: each read is answered exactly once, the one whose deadline is nearest first; one whose deadline has passed before it
//! was begun, and one that finds the queue full, is answered with an error. A read that is under way is not broken off.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use super::InferError;
use super::ocr::{Block, Files, Reader, ReaderOptions};
use super::runtime::Runtime;
use crate::geometry::Rect;
use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};

/// Reads that wait, at most; a source has one at a time, so this is more than a host serves.
const WAITING_MAX: usize = 256;
/// Histogram, seconds: from a read's submission to its beginning.
pub const READ_WAIT: &str = "scrim_read_wait_seconds";
/// Histogram, seconds: one read of a frame or of parts of it.
pub const READ_RUN: &str = "scrim_read_run_seconds";
/// Counter: reads without an answer. Label `reason`: `late`, `full` or `failed`.
pub const READ_FAULTS: &str = "scrim_reads_failed_total";

/// Tells the recorder what the figures mean; called once, after one is installed.
pub fn describe() {
    describe_histogram!(READ_WAIT, Unit::Seconds, "from a read's submission to its beginning");
    describe_histogram!(READ_RUN, Unit::Seconds, "one read of a frame or of parts of it");
    describe_counter!(READ_FAULTS, Unit::Count, "reads without an answer");
}

/// Called once, from any thread; must not block.
pub type ReadTo = Box<dyn FnOnce(Result<Vec<Block>, String>) + Send>;

struct Waiting {
    frame: Frame,
    within: Vec<Rect>,
    since: Instant,
    deadline: Instant,
    reply: ReadTo,
}

#[derive(Default)]
struct Queue {
    /// By deadline, then by number.
    waiting: BTreeMap<(Instant, u64), Waiting>,
    next: u64,
    closed: bool,
}

#[derive(Default)]
struct Inner {
    queue: Mutex<Queue>,
    came: Condvar,
}

/// A host's readers, which are opened when the first room reads.
pub type LateDesk = Arc<std::sync::OnceLock<Desk>>;

/// See the module. The threads end with it.
pub struct Desk {
    inner: Arc<Inner>,
    seconds_per_pixel: f64,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Opens a reader for each of `threads` and tries one on a blank frame.
    ///
    /// # Errors
    /// When the networks can't be opened or run.
    pub fn open(runtime: &Runtime, files: &Files, options: &ReaderOptions, threads: usize) -> Result<Self, InferError> {
        let mut readers = Vec::new();
        for _ in 0..threads.max(1) {
            readers.push(Reader::open(runtime, files, options.clone())?);
        }
        let (width, height) = (640, 360);
        let blank = vec![128; i420_len(width, height)];
        let blank = Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Limited, Matrix::Bt601, blank);
        let mut least = Duration::MAX;
        for _ in 0..2 {
            let since = cpu_time::ThreadTime::now();
            readers[0].read(&blank, &[])?;
            least = least.min(since.elapsed());
        }
        let inner = Arc::new(Inner::default());
        for (number, reader) in readers.into_iter().enumerate() {
            let inner = inner.clone();
            let spawned = std::thread::Builder::new().name(format!("reader-{number}")).spawn(move || work(&inner, reader));
            spawned.map_err(|error| InferError::Model { model: "text".into(), reason: format!("no thread for it: {error}") })?;
        }
        Ok(Self { inner, seconds_per_pixel: least.as_secs_f64() / (width * height) as f64 })
    }

    /// What a read of a whole frame of this size takes of a core, seconds, as long as there is no new text in it.
    pub fn cost(&self, width: usize, height: usize) -> f64 {
        self.seconds_per_pixel * (width * height) as f64
    }

    /// Reads these areas of a frame; all of it, if there are none.
    pub fn submit(&self, frame: Frame, within: Vec<Rect>, deadline: Instant, reply: ReadTo) {
        let mut queue = lock(&self.inner.queue);
        if queue.closed || queue.waiting.len() >= WAITING_MAX {
            drop(queue);
            counter!(READ_FAULTS, "reason" => "full").increment(1);
            return reply(Err("too many reads are waiting".to_owned()));
        }
        queue.next += 1;
        let key = (deadline, queue.next);
        queue.waiting.insert(key, Waiting { frame, within, since: Instant::now(), deadline, reply });
        drop(queue);
        self.inner.came.notify_one();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        lock(&self.inner.queue).closed = true;
        self.inner.came.notify_all();
    }
}

fn work(inner: &Inner, mut reader: Reader) {
    loop {
        let mut queue = lock(&inner.queue);
        let waiting = loop {
            if let Some((_, waiting)) = queue.waiting.pop_first() {
                break waiting;
            }
            if queue.closed {
                return;
            }
            queue = inner.came.wait(queue).unwrap_or_else(PoisonError::into_inner);
        };
        drop(queue);
        let Waiting { frame, within, since, deadline, reply } = waiting;
        let begun = Instant::now();
        histogram!(READ_WAIT).record(begun - since);
        if begun >= deadline {
            counter!(READ_FAULTS, "reason" => "late").increment(1);
            reply(Err("its deadline passed while it waited".to_owned()));
            continue;
        }
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reader.read(&frame, &within)));
        let read = read.unwrap_or_else(|_| Err(InferError::Run { model: "text".into(), frames: 1, reason: "the reader panicked".into() }));
        histogram!(READ_RUN).record(begun.elapsed());
        if read.is_err() {
            counter!(READ_FAULTS, "reason" => "failed").increment(1);
        }
        reply(read.map_err(|error| error.to_string()));
    }
}
