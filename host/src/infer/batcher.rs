//! The batcher: one per detector, shared by all rooms. Looks go in from anywhere, their answers come back by a call.
//!
//! ```text
//! submit ──► Queue ──► worker threads, a detector each ──► reply
//!              ▲ late        ▲ hung
//!              └── watchdog ─┘
//! ```
//! Workers are threads of the operating system, so no detector ever holds up an async runtime. What always holds: every look that is
//! submitted is answered exactly once. A detector that errs or panics costs the looks of that batch, and after a panic is made anew. One
//! that does not return costs them too: the watchdog answers them, counts the worker as hung and starts another in its place, up to
//! [`REPLACEMENTS_MAX`] for each worker; what the lost one still brings is thrown away.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::meter::Meter;
use super::queue::{DropReason, Limits, Look, Queue, Ready};
use super::{Detector, InferError};
use crate::media::frame::Frame;
use crate::vision::detection::Detection;

/// Threads that may be lost for each worker before its place stays empty: a detector that hangs always would fill the memory otherwise.
pub const REPLACEMENTS_MAX: usize = 3;

/// Called once, on a worker's, the watchdog's or the submitter's thread; must not block.
pub type Reply = Box<dyn FnOnce(LookResult) + Send>;

/// One frame to be looked at.
pub struct LookRequest {
    /// Whom fairness is reckoned by, and among whose optional looks the newest wins.
    pub source: u64,
    pub weight: NonZeroU32,
    pub frame: Frame,
    /// Invariant 1 needs this look: it is never replaced by another.
    pub required: bool,
    /// When the answer is of no more use; a look that still waits then is answered [`LookFault::Dropped`], not run.
    pub deadline: Instant,
}

/// How a look ended.
#[derive(Debug)]
pub struct LookResult {
    pub found: Result<Vec<Detection>, LookFault>,
    /// From submission to the start of the run, or to the end if there was none.
    pub waited: Duration,
    /// Of the whole batch; zero if there was no run.
    pub ran: Duration,
    /// Looks that shared the run; zero if there was none.
    pub batch: usize,
}

/// Why a look has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookFault {
    #[error("not looked at: {}", .0.name())]
    Dropped(DropReason),
    #[error("{0}")]
    Failed(String),
    #[error("the detector panicked: {0}")]
    Panicked(String),
    #[error("the detector did not return within {0:?}")]
    Hung(Duration),
    #[error("the batcher is closed")]
    Closed,
}

#[derive(Clone, Copy, Debug)]
pub struct BatcherConfig {
    pub limits: Limits,
    pub workers: usize,
    /// A run that takes longer is given up.
    pub hang_after: Duration,
}

impl BatcherConfig {
    /// One look at a time on each of `workers` threads.
    pub fn cpu(workers: usize) -> Self {
        // Far beyond any look on a machine that is merely busy, and short enough that a room in fail mode recovers while its viewers wait.
        Self { limits: Limits::cpu(), workers, hang_after: Duration::from_secs(2) }
    }

    /// Batches on one thread, which keeps one device busy.
    pub fn gpu() -> Self {
        Self { limits: Limits::gpu(), workers: 1, ..Self::cpu(1) }
    }
}

/// State of the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Threads that take looks.
    pub workers: usize,
    /// Of these, threads in a run.
    pub busy: usize,
    /// Threads given up, and not returned since.
    pub hung: usize,
    /// Detectors made anew after a panic or a hang.
    pub restarts: usize,
}

impl Health {
    /// Whether looks are being taken by as many workers as there should be.
    pub fn is_well(&self, configured: usize) -> bool {
        self.hung == 0 && self.workers == configured
    }
}

/// Makes a worker's detector: at the start for each, later for one that panicked or hung.
pub type Factory = Arc<dyn Fn() -> Result<Box<dyn Detector>, InferError> + Send + Sync>;

/// See the module.
pub struct Batcher {
    shared: Arc<Shared>,
    config: BatcherConfig,
    name: Arc<str>,
    labels: Arc<[Arc<str>]>,
    look_budget: Duration,
}

struct Shared {
    state: Mutex<State>,
    /// Workers wait here for looks.
    work: Condvar,
    /// The watchdog waits here for the next deadline, and who closes for the workers' end.
    change: Condvar,
    epoch: Instant,
    config: BatcherConfig,
    factory: Factory,
    meter: Meter,
}

struct State {
    queue: Queue<Waiting>,
    runs: Vec<Run>,
    next_run: u64,
    threads: usize,
    hung: usize,
    restarts: usize,
    lost: usize,
    /// When the watchdog looks next, unless woken.
    watch_at: Option<Duration>,
    closed: bool,
}

struct Waiting {
    frame: Frame,
    reply: Reply,
}

/// A batch that a worker is at. Whoever removes it from [`State::runs`] answers its looks.
struct Run {
    id: u64,
    started: Duration,
    /// Reply and time waited.
    replies: Vec<(Reply, Duration)>,
}

impl Batcher {
    /// Starts the workers and returns when each has its detector.
    ///
    /// # Errors
    /// When a detector can't be made, or a thread not started.
    pub fn start(config: BatcherConfig, factory: Factory) -> Result<Self, InferError> {
        let first = factory()?;
        let (name, labels, look_budget) = (first.name().clone(), first.labels().into(), first.look_budget());
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: Queue::new(config.limits),
                runs: Vec::new(),
                next_run: 0,
                threads: 0,
                hung: 0,
                restarts: 0,
                lost: 0,
                watch_at: None,
                closed: false,
            }),
            work: Condvar::new(),
            change: Condvar::new(),
            epoch: Instant::now(),
            config,
            factory,
            meter: Meter::new(&name),
        });
        // Dropped on an error below, which ends the threads that did start.
        let batcher = Self { shared: shared.clone(), config, name, labels, look_budget };
        let mut detectors = vec![first];
        for _ in 1..config.workers {
            detectors.push((shared.factory)()?);
        }
        for detector in detectors {
            Shared::spawn_worker(&shared, Some(detector)).map_err(|error| batcher.thread_fault(&error))?;
        }
        let watched = shared.clone();
        let watchdog = thread::Builder::new().name(format!("watch-{}", batcher.name)).spawn(move || watched.watch());
        watchdog.map_err(|error| batcher.thread_fault(&error))?;
        Ok(batcher)
    }

    fn thread_fault(&self, error: &std::io::Error) -> InferError {
        InferError::Model { model: self.name.to_string(), reason: format!("a thread cannot be started: {error}") }
    }

    /// The detector's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The detector's labels.
    pub fn labels(&self) -> &Arc<[Arc<str>]> {
        &self.labels
    }

    /// The detector's look budget.
    pub fn look_budget(&self) -> Duration {
        self.look_budget
    }

    pub fn config(&self) -> &BatcherConfig {
        &self.config
    }

    /// Hands a look in. `reply` is called once, possibly before this returns.
    pub fn submit(&self, request: LookRequest, reply: Reply) {
        let LookRequest { source, weight, frame, required, deadline } = request;
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.closed {
            drop(state);
            return reply(LookResult::fault(LookFault::Closed, Duration::ZERO));
        }
        let now = shared.now();
        let deadline = deadline.saturating_duration_since(shared.epoch);
        let dropped = state.queue.push(now, Look { source, weight, required, deadline, payload: Waiting { frame, reply } });
        let watchdog_sleeps_past = state.watch_at.is_none_or(|at| deadline < at);
        shared.meter.queue(state.queue.len(), state.queue.optional_wait(now));
        drop(state);
        shared.work.notify_one();
        if watchdog_sleeps_past {
            shared.change.notify_all();
        }
        if let Some(dropped) = dropped {
            shared.meter.dropped(dropped.look.required, dropped.reason);
            (dropped.look.payload.reply)(LookResult::fault(LookFault::Dropped(dropped.reason), dropped.waited));
        }
    }

    /// As [`Batcher::submit`], for a task that waits. Dropping the future abandons the answer, not the look.
    pub async fn look(&self, request: LookRequest) -> LookResult {
        let (sender, answer) = oneshot::channel();
        self.submit(request, Box::new(move |result| _ = sender.send(result)));
        answer.await.unwrap_or_else(|_| LookResult::fault(LookFault::Closed, Duration::ZERO))
    }

    pub fn health(&self) -> Health {
        let state = self.shared.lock();
        Health { workers: state.threads, busy: state.runs.len(), hung: state.hung, restarts: state.restarts }
    }
}

impl Drop for Batcher {
    /// Answers what waits, lets what runs finish, for at most [`BatcherConfig::hang_after`].
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let waiting = state.queue.drain();
        drop(state);
        self.shared.work.notify_all();
        self.shared.change.notify_all();
        for look in waiting {
            answer(look.payload.reply, LookResult::fault(LookFault::Closed, Duration::ZERO));
        }
        let state = self.shared.lock();
        let ended = self.shared.change.wait_timeout_while(state, self.config.hang_after, |state| state.threads > 0);
        drop(ended);
    }
}

impl LookResult {
    fn fault(fault: LookFault, waited: Duration) -> Self {
        Self { found: Err(fault), waited, ran: Duration::ZERO, batch: 0 }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of a detector or a reply runs under the lock, so the state is whole even if a thread died.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn spawn_worker(shared: &Arc<Self>, detector: Option<Box<dyn Detector>>) -> std::io::Result<()> {
        let worker = shared.clone();
        shared.lock().threads += 1;
        let spawned = thread::Builder::new().name("look".to_owned()).spawn(move || worker.work(detector));
        spawned.map(|_| ()).inspect_err(|_| shared.lock().threads -= 1)
    }

    /// A worker's life. It ends when the batcher closes, when the watchdog has given it up, or when its detector can't be made anew.
    fn work(&self, detector: Option<Box<dyn Detector>>) {
        let mut detector = match detector.map_or_else(|| (self.factory)(), Ok) {
            Ok(detector) => detector,
            Err(error) => return self.end_worker(&error),
        };
        while let Some((run, batch)) = self.next_batch() {
            let began = Instant::now();
            let frames: Vec<&Frame> = batch.iter().collect();
            let outcome = catch_unwind(AssertUnwindSafe(|| detector.detect(&frames)));
            let ran = began.elapsed();
            let panicked = outcome.is_err();
            // Before anybody is told, so that whoever covers a frame next finds it unshared and need not copy it.
            drop(frames);
            drop(batch);
            if !self.finish(run, outcome, ran) {
                return;
            }
            if panicked {
                // What it holds may be half changed.
                match (self.factory)() {
                    Ok(made) => detector = made,
                    Err(error) => return self.end_worker(&error),
                }
                self.lock().restarts += 1;
            }
        }
        self.lock().threads -= 1;
        self.change.notify_all();
    }

    fn end_worker(&self, error: &InferError) {
        tracing::error!(%error, "a worker ends: its detector cannot be made");
        self.lock().threads -= 1;
        self.change.notify_all();
    }

    /// Waits for a batch; `None` when closed.
    fn next_batch(&self) -> Option<(u64, Vec<Frame>)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let now = self.now();
            let late = state.queue.expire(now);
            let ready = state.queue.take(now);
            if !ready.is_empty() {
                let started = self.start_run(&mut state, now, ready);
                self.meter.queue(state.queue.len(), state.queue.optional_wait(now));
                let more_waits = !state.queue.is_empty();
                let watchdog_sleeps_past = state.watch_at.is_none_or(|at| now + self.config.hang_after < at);
                drop(state);
                if more_waits {
                    self.work.notify_one();
                }
                if watchdog_sleeps_past {
                    self.change.notify_all();
                }
                self.answer_dropped(late);
                return Some(started);
            }
            if !late.is_empty() {
                drop(state);
                self.answer_dropped(late);
                state = self.lock();
                continue;
            }
            state = match state.queue.due() {
                Some(due) => self.work.wait_timeout(state, due.saturating_sub(now)).unwrap_or_else(PoisonError::into_inner).0,
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn start_run(&self, state: &mut State, now: Duration, ready: Vec<Ready<Waiting>>) -> (u64, Vec<Frame>) {
        let id = state.next_run;
        state.next_run += 1;
        let (mut frames, mut replies) = (Vec::with_capacity(ready.len()), Vec::with_capacity(ready.len()));
        for Ready { look, waited, batches } in ready {
            self.meter.started(look.required, waited, batches);
            frames.push(look.payload.frame);
            replies.push((look.payload.reply, waited));
        }
        state.runs.push(Run { id, started: now, replies });
        (id, frames)
    }

    /// Answers a batch. `false`: the watchdog has done so already and somebody else has taken this worker's place.
    fn finish(&self, id: u64, outcome: thread::Result<Result<Vec<Vec<Detection>>, InferError>>, ran: Duration) -> bool {
        let mut state = self.lock();
        let Some(index) = state.runs.iter().position(|run| run.id == id) else {
            state.hung -= 1;
            self.meter.hung(state.hung);
            return false;
        };
        let replies = state.runs.swap_remove(index).replies;
        drop(state);
        let batch = replies.len();
        self.meter.ran(batch, ran);
        let answers = match outcome {
            Ok(Ok(found)) if found.len() == batch => Ok(found),
            Ok(Ok(found)) => Err(("failed", LookFault::Failed(format!("{} answers came for {batch} frames", found.len())))),
            Ok(Err(error)) => Err(("failed", LookFault::Failed(error.to_string()))),
            Err(panic) => Err(("panicked", LookFault::Panicked(panic_text(&*panic)))),
        };
        match answers {
            Ok(found) => {
                for ((reply, waited), found) in replies.into_iter().zip(found) {
                    answer(reply, LookResult { found: Ok(found), waited, ran, batch });
                }
            }
            Err((reason, fault)) => {
                tracing::warn!(%fault, looks = batch, "a run failed");
                self.meter.failed(batch, reason);
                for (reply, waited) in replies {
                    answer(reply, LookResult { found: Err(fault.clone()), waited, ran, batch });
                }
            }
        }
        true
    }

    /// The watchdog's life: answers what is late, though every worker be busy, and gives up workers that do not return.
    fn watch(self: Arc<Self>) {
        let mut state = self.lock();
        while !state.closed || !state.runs.is_empty() {
            let now = self.now();
            let late = state.queue.expire(now);
            let (hung, running) = std::mem::take(&mut state.runs).into_iter().partition(|run| run.started + self.config.hang_after <= now);
            state.runs = running;
            let hung: Vec<Run> = hung;
            if !hung.is_empty() || !late.is_empty() {
                let replaced = hung.iter().filter(|_| self.give_up(&mut state)).count();
                drop(state);
                self.answer_dropped(late);
                self.answer_hung(hung);
                for _ in 0..replaced {
                    if let Err(error) = Self::spawn_worker(&self, None) {
                        tracing::error!(%error, "a hung worker cannot be replaced");
                    }
                }
                state = self.lock();
                continue;
            }
            let hangs = state.runs.iter().map(|run| run.started + self.config.hang_after).min();
            let next = [hangs, state.queue.next_deadline()].into_iter().flatten().min();
            state.watch_at = next;
            state = match next {
                Some(at) => self.change.wait_timeout(state, at.saturating_sub(now)).unwrap_or_else(PoisonError::into_inner).0,
                None => self.change.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Takes a hung worker's thread off the books; `true` if another is to be started.
    fn give_up(&self, state: &mut State) -> bool {
        state.threads -= 1;
        state.hung += 1;
        self.meter.hung(state.hung);
        if state.closed || state.lost >= REPLACEMENTS_MAX * self.config.workers {
            return false;
        }
        state.lost += 1;
        state.restarts += 1;
        true
    }

    fn answer_dropped(&self, late: Vec<super::queue::Dropped<Waiting>>) {
        for dropped in late {
            self.meter.dropped(dropped.look.required, dropped.reason);
            answer(dropped.look.payload.reply, LookResult::fault(LookFault::Dropped(dropped.reason), dropped.waited));
        }
    }

    fn answer_hung(&self, hung: Vec<Run>) {
        for run in hung {
            let (batch, ran) = (run.replies.len(), self.config.hang_after);
            tracing::error!(looks = batch, after = ?ran, "a detector does not return; its worker is given up");
            self.meter.failed(batch, "hung");
            for (reply, waited) in run.replies {
                answer(reply, LookResult { found: Err(LookFault::Hung(ran)), waited, ran, batch });
            }
        }
    }
}

/// A reply that panics must not take its worker along.
fn answer(reply: Reply, result: LookResult) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| reply(result))) {
        tracing::error!(panic = panic_text(&*panic), "a look's reply panicked");
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
