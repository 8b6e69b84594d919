//! The recognisers of one host, shared by everybody whose speech is heard: a bounded queue of questions and a few threads with a
//! [`Recogniser`] each.
//!
//! What always holds: each question is answered exactly once, the oldest first; one that finds the queue full is answered with an error.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use super::InferError;
use super::runtime::Runtime;
use super::vad::Vad;
use super::whisper::{Favoured, Files, Heard, Recogniser};
use crate::speech::stream::Question;

/// Questions that wait, at most; a speaker has one at a time.
const WAITING_MAX: usize = 256;
/// Histogram, seconds: from a question's submission to its beginning.
pub const HEAR_WAIT: &str = "scrim_hear_wait_seconds";
/// Histogram, seconds: one stretch of speech recognised.
pub const HEAR_RUN: &str = "scrim_hear_run_seconds";
/// Counter: stretches without an answer. Label `reason`: `full` or `failed`.
pub const HEAR_FAULTS: &str = "scrim_hears_failed_total";

/// Tells the recorder what the figures mean; called once, after one is installed.
pub fn describe() {
    describe_histogram!(HEAR_WAIT, Unit::Seconds, "from a question's submission to its beginning");
    describe_histogram!(HEAR_RUN, Unit::Seconds, "one stretch of speech recognised");
    describe_counter!(HEAR_FAULTS, Unit::Count, "stretches of speech without an answer");
}

/// Called once, from any thread; must not block.
pub type HearTo = Box<dyn FnOnce(Result<Heard, String>) + Send>;

struct Waiting {
    question: Question,
    since: Instant,
    reply: HearTo,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

#[derive(Default)]
struct Inner {
    queue: Mutex<Queue>,
    came: Condvar,
}

/// See the module. The threads end with it.
pub struct Hearing {
    inner: Arc<Inner>,
    runtime: &'static Runtime,
    vad: PathBuf,
}

/// A host's recognisers, which are opened when the first room listens.
pub type LateHearing = Arc<std::sync::OnceLock<Hearing>>;

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hearing {
    /// Opens a recogniser for each of `threads`, and tries the network that hears whether somebody speaks.
    ///
    /// # Errors
    /// When a file is missing or can't be used.
    pub fn open(runtime: &'static Runtime, vad: PathBuf, files: &Files, favoured: &Favoured, threads: usize) -> Result<Self, InferError> {
        Vad::new(runtime, "silero", &vad)?;
        let recognisers: Vec<Recogniser> =
            (0..threads.max(1)).map(|_| Recogniser::new(runtime, "whisper", files, favoured)).collect::<Result<_, _>>()?;
        let inner = Arc::new(Inner::default());
        for (number, recogniser) in recognisers.into_iter().enumerate() {
            let inner = inner.clone();
            let spawned = std::thread::Builder::new().name(format!("hear-{number}")).spawn(move || work(&inner, recogniser));
            spawned.map_err(|error| InferError::Model { model: "whisper".into(), reason: format!("no thread for it: {error}") })?;
        }
        Ok(Self { inner, runtime, vad })
    }

    /// One speaker's.
    ///
    /// # Errors
    /// When the network can't be opened.
    pub fn vad(&self) -> Result<Vad, InferError> {
        Vad::new(self.runtime, "silero", &self.vad)
    }

    /// Recognises a stretch of speech.
    pub fn submit(&self, question: Question, reply: HearTo) {
        let mut queue = lock(&self.inner.queue);
        if queue.closed || queue.waiting.len() >= WAITING_MAX {
            drop(queue);
            counter!(HEAR_FAULTS, "reason" => "full").increment(1);
            return reply(Err("too much speech waits to be recognised".to_owned()));
        }
        queue.waiting.push_back(Waiting { question, since: Instant::now(), reply });
        drop(queue);
        self.inner.came.notify_one();
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        lock(&self.inner.queue).closed = true;
        self.inner.came.notify_all();
    }
}

fn work(inner: &Inner, mut recogniser: Recogniser) {
    loop {
        let mut queue = lock(&inner.queue);
        let waiting = loop {
            if let Some(waiting) = queue.waiting.pop_front() {
                break waiting;
            }
            if queue.closed {
                return;
            }
            queue = inner.came.wait(queue).unwrap_or_else(PoisonError::into_inner);
        };
        drop(queue);
        let Waiting { question, since, reply } = waiting;
        let begun = Instant::now();
        histogram!(HEAR_WAIT).record(begun - since);
        let heard = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| recogniser.hear(&question.samples, &question.draft)));
        let heard = heard.unwrap_or_else(|_| Err(InferError::Heard { model: "whisper".into(), reason: "the recogniser panicked".into() }));
        histogram!(HEAR_RUN).record(begun.elapsed());
        if heard.is_err() {
            counter!(HEAR_FAULTS, "reason" => "failed").increment(1);
        }
        reply(heard.map_err(|error| error.to_string()));
    }
}
