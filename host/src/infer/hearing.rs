//! The recognisers of one host, shared by everybody whose speech is heard: [`Workers`] with a [`Recogniser`] each.
//!
//! What always holds: each question is answered exactly once, the oldest first; one that finds the queue full is answered with an error.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use super::InferError;
use super::runtime::Runtime;
use super::vad::Vad;
use super::whisper::{Favoured, Files, Heard, Recogniser};
use super::workers::Workers;
use crate::speech::resample::RATE;
use crate::speech::stream::{Question, STEP};

/// What is recognised to see what it costs: four seconds, half of the longest window.
const TRIAL: u32 = 4 * RATE;
/// What a question costs on the average, of what the trial does, which writes on to its limit: as speech grows 0.26 of a core were taken (`scrim-bench
/// speech`, seed 1, every sentence with a bad word, on a busy machine), that is 126 ms a question, where the trial took some 130 ms.
const OF_TRIAL: f64 = 0.97;
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

struct Job {
    question: Question,
    since: Instant,
    reply: HearTo,
}

/// See the module.
pub struct Hearing {
    workers: Workers<Job>,
    cost: f64,
    runtime: &'static Runtime,
    vad: PathBuf,
}

/// A host's recognisers, which are opened when the first room listens.
pub type LateHearing = Arc<std::sync::OnceLock<Hearing>>;

impl Hearing {
    /// Opens a recogniser for each of `threads`, and tries the network that hears whether somebody speaks.
    ///
    /// # Errors
    /// When a file is missing or can't be used.
    pub fn open(runtime: &'static Runtime, vad: PathBuf, files: &Files, favoured: &Favoured, threads: usize) -> Result<Self, InferError> {
        Vad::new(runtime, "silero", &vad)?;
        let mut recognisers: Vec<Recogniser> =
            (0..threads.max(1)).map(|_| Recogniser::new(runtime, "whisper", files, favoured)).collect::<Result<_, _>>()?;
        let cost = trial(&mut recognisers[0])?.as_secs_f64() * OF_TRIAL / f64::from(STEP.as_secs_f32());
        let workers = Workers::start("hear", recognisers.into_iter().map(|mut recogniser| move |job| work(&mut recogniser, job)))
            .map_err(|error| InferError::Model { model: "whisper".into(), reason: format!("no thread for it: {error}") })?;
        Ok(Self { workers, cost, runtime, vad })
    }

    /// Share of a recogniser that somebody who goes on speaking takes, recognised as it grows; measured when this was opened.
    pub fn cost(&self) -> f64 {
        self.cost
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
        let since = Instant::now();
        if let Err(job) = self.workers.submit(since, Job { question, since, reply }) {
            counter!(HEAR_FAULTS, "reason" => "full").increment(1);
            (job.reply)(Err("too much speech waits to be recognised".to_owned()));
        }
    }
}

/// CPU time of one question of noise.
fn trial(recogniser: &mut Recogniser) -> Result<Duration, InferError> {
    // Knuth's multiplicative hash: noise enough, the same each time.
    let noise: Vec<f32> = (0..TRIAL).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as f32 / 655_360.0 - 0.05).collect();
    let mut least = Duration::MAX;
    for _ in 0..2 {
        let since = cpu_time::ThreadTime::now();
        recogniser.recognise(&noise)?;
        least = least.min(since.elapsed());
    }
    Ok(least)
}

fn work(recogniser: &mut Recogniser, job: Job) {
    let Job { question, since, reply } = job;
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
