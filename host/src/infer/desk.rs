//! The readers of one host, shared by its sources: [`Workers`] with a [`Reader`] each.
//!
//! What always holds: each read is answered exactly once, the one whose deadline is nearest first; one whose deadline has passed before it
//! was begun, and one that finds the queue full, is answered with an error. A read that is under way is not broken off.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use super::InferError;
use super::ocr::{Block, Files, Reader, ReaderOptions};
use super::runtime::Runtime;
use super::workers::Workers;
use crate::geometry::Rect;
use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};

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

struct Job {
    frame: Frame,
    within: Vec<Rect>,
    since: Instant,
    deadline: Instant,
    reply: ReadTo,
}

/// A host's readers, which are opened when the first room reads.
pub type LateDesk = Arc<std::sync::OnceLock<Desk>>;

/// See the module.
pub struct Desk {
    workers: Workers<Job>,
    seconds_per_pixel: f64,
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
        let workers = Workers::start("reader", readers.into_iter().map(|mut reader| move |job| work(&mut reader, job)))
            .map_err(|error| InferError::Model { model: "text".into(), reason: format!("no thread for it: {error}") })?;
        Ok(Self { workers, seconds_per_pixel: least.as_secs_f64() / (width * height) as f64 })
    }

    /// What a read of a whole frame of this size takes of a core, seconds, as long as there is no new text in it.
    pub fn cost(&self, width: usize, height: usize) -> f64 {
        self.seconds_per_pixel * (width * height) as f64
    }

    /// Reads these areas of a frame; all of it, if there are none.
    pub fn submit(&self, frame: Frame, within: Vec<Rect>, deadline: Instant, reply: ReadTo) {
        let job = Job { frame, within, since: Instant::now(), deadline, reply };
        if let Err(job) = self.workers.submit(deadline, job) {
            counter!(READ_FAULTS, "reason" => "full").increment(1);
            (job.reply)(Err("too many reads are waiting".to_owned()));
        }
    }
}

fn work(reader: &mut Reader, job: Job) {
    let Job { frame, within, since, deadline, reply } = job;
    let begun = Instant::now();
    histogram!(READ_WAIT).record(begun - since);
    if begun >= deadline {
        counter!(READ_FAULTS, "reason" => "late").increment(1);
        return reply(Err("its deadline passed while it waited".to_owned()));
    }
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reader.read(&frame, &within)));
    let read = read.unwrap_or_else(|_| Err(InferError::Run { model: "text".into(), frames: 1, reason: "the reader panicked".into() }));
    histogram!(READ_RUN).record(begun.elapsed());
    if read.is_err() {
        counter!(READ_FAULTS, "reason" => "failed").increment(1);
    }
    reply(read.map_err(|error| error.to_string()));
}
