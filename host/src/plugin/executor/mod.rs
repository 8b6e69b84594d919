//! The threads that run guests (invariant 3): a room's task hands calls over and never waits.
//!
//! ```text
//!  SlotHandle ──► mailbox (bounded, in order) ──► worker ──► SlotState ──► Output to the room
//!        └──────► preparing threads ──► Output::Prepared, for the room to commit when it will
//!                                    shadow inputs ──► a worker with nothing else to do
//! ```
//! What always holds: one worker at a time is in a slot, and messages are taken in the order in which they were given; slots take turns, one
//! message each; a full mailbox refuses at once; a shadow never holds the last free worker.

mod handle;

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use self::handle::SlotHandle;
use super::events::{PolicyEvent, Stage};
use super::record::{Entry, Recorder};
use super::shadow::{SHADOW_QUEUE_MAX, Shadow, ShadowInput};
use super::slot::{Answer, Prepared, SlotConfig, SlotState, SlotStatus};
use super::types::{CallId, Fault, Request, Slot};
use crate::media::frame::Micros;

/// Swaps, rollbacks and the like that may wait in one slot.
const ORDERS_MAX: usize = 64;
/// Preparations that may wait in all: every slot of 500 rooms at once.
const PREPARATIONS_MAX: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    #[error("a plugin thread does not start: {0}")]
    Thread(#[source] std::io::Error),
}

#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// Threads that run guests; at least two, so that one guest at the end of its budget does not hold the others up.
    pub workers: usize,
    /// Threads that compile and try out what is to be swapped in.
    pub preparers: usize,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get());
        Self { workers: cores.max(2), preparers: 2 }
    }
}

/// One question, to be answered by [`Output::Answer`].
#[derive(Clone, Debug)]
pub struct Call {
    pub id: CallId,
    /// Capture time of what is asked about.
    pub at: Micros,
    /// Not made once this has passed: the caller's deadline, so that overload does not work on what nobody waits for.
    pub expires: Option<Instant>,
    pub request: Request,
}

/// Why a call was not taken. Nothing follows; the host's default stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{0} calls are waiting already")]
    Full(usize),
    #[error("the call is for another slot")]
    WrongSlot,
}

/// What a slot says to its room. Given from a worker thread: the receiver must not block.
#[derive(Debug)]
pub enum Output {
    Answer(Answer),
    /// Ready to be given to [`SlotHandle::commit`] or [`SlotHandle::shadow`].
    Prepared(Prepared),
    Event(PolicyEvent),
}

/// Where a slot's outputs go.
pub type Deliver = Arc<dyn Fn(Output) + Send + Sync>;

enum Message {
    /// With the span that it was asked in.
    Call(Call, tracing::Span),
    Commit(Box<Prepared>, Micros),
    RollBack(Micros),
    RetireBefore(Micros),
    Shadow(Box<Prepared>),
    Promote(Micros),
    Discard,
    Snapshot(Micros),
    Record(Option<Arc<Recorder>>, Micros),
    Kill(Micros),
}

#[derive(Default)]
struct Mailbox {
    messages: VecDeque<Message>,
    calls: usize,
    /// In the run queue, or with a worker.
    scheduled: bool,
}

#[derive(Default)]
struct ShadowBox {
    shadow: Option<Shadow>,
    inputs: VecDeque<ShadowInput>,
    scheduled: bool,
    /// Counts candidates, so that an instance that was out while its candidate went does not come back.
    number: u64,
}

struct Cell {
    slot: Slot,
    config: SlotConfig,
    deliver: Deliver,
    recorder: Mutex<Option<Arc<Recorder>>>,
    mailbox: Mutex<Mailbox>,
    state: Mutex<SlotState>,
    status: Mutex<SlotStatus>,
    shadow: Mutex<ShadowBox>,
    refused: AtomicU64,
}

#[derive(Default)]
struct RunQueue {
    live: VecDeque<Arc<Cell>>,
    shadow: VecDeque<Arc<Cell>>,
    /// Workers that are in a shadow now.
    in_shadow: usize,
    stop: bool,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    stop: bool,
}

struct Shared {
    workers: usize,
    queue: Mutex<RunQueue>,
    wake: Condvar,
    jobs: Mutex<Jobs>,
    wake_preparers: Condvar,
}

/// A panic while a lock was held leaves plain data behind it, never a half-entered guest: what it guards is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The plugin threads. Dropping it stops them after the message in hand.
pub struct Executor {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Executor {
    pub fn start(config: &ExecutorConfig) -> Result<Self, ExecutorError> {
        let workers = config.workers.max(2);
        let shared = Arc::new(Shared {
            workers,
            queue: Mutex::default(),
            wake: Condvar::new(),
            jobs: Mutex::default(),
            wake_preparers: Condvar::new(),
        });
        let mut executor = Self { shared, threads: Vec::new() };
        for index in 0..workers {
            executor.spawn(format!("scrim-plugin-{index}"), Shared::work)?;
        }
        for index in 0..config.preparers.max(1) {
            executor.spawn(format!("scrim-prepare-{index}"), Shared::prepare)?;
        }
        Ok(executor)
    }

    fn spawn(&mut self, name: String, run: fn(&Shared)) -> Result<(), ExecutorError> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(name).spawn(move || run(&shared)).map_err(ExecutorError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    /// A new, empty slot. It ends, and its instances with it, when its last handle goes.
    pub fn slot(&self, slot: Slot, config: SlotConfig, recorder: Option<Arc<Recorder>>, deliver: Deliver) -> SlotHandle {
        let cell = Cell {
            slot,
            deliver,
            mailbox: Mutex::default(),
            state: Mutex::new(SlotState::new(slot, config.clone(), recorder.clone())),
            status: Mutex::default(),
            shadow: Mutex::default(),
            refused: AtomicU64::new(0),
            config,
            recorder: Mutex::new(recorder),
        };
        SlotHandle { cell: Arc::new(cell), shared: self.shared.clone() }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        lock(&self.shared.queue).stop = true;
        lock(&self.shared.jobs).stop = true;
        self.shared.wake.notify_all();
        self.shared.wake_preparers.notify_all();
        for thread in self.threads.drain(..) {
            // A panicked worker has already logged.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn enqueue(&self, cell: &Arc<Cell>) {
        lock(&self.queue).live.push_back(cell.clone());
        self.wake.notify_one();
    }

    fn enqueue_shadow(&self, cell: &Arc<Cell>) {
        lock(&self.queue).shadow.push_back(cell.clone());
        self.wake.notify_one();
    }

    fn work(&self) {
        let mut queue = lock(&self.queue);
        loop {
            if queue.stop {
                return;
            }
            if let Some(cell) = queue.live.pop_front() {
                drop(queue);
                if cell.turn(self) {
                    self.enqueue(&cell);
                }
                // The slot may end here, and its instances with it: not under the lock.
                drop(cell);
                queue = lock(&self.queue);
            } else if queue.in_shadow + 1 < self.workers
                && let Some(cell) = queue.shadow.pop_front()
            {
                queue.in_shadow += 1;
                drop(queue);
                if cell.shadow_turn() {
                    self.enqueue_shadow(&cell);
                }
                drop(cell);
                queue = lock(&self.queue);
                queue.in_shadow -= 1;
            } else {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn prepare(&self) {
        let mut jobs = lock(&self.jobs);
        loop {
            if jobs.stop {
                return;
            }
            if let Some(job) = jobs.waiting.pop_front() {
                drop(jobs);
                job();
                jobs = lock(&self.jobs);
            } else {
                jobs = self.wake_preparers.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Cell {
    /// Takes one message. True if more wait.
    fn turn(self: &Arc<Self>, shared: &Shared) -> bool {
        let message = {
            let mut mailbox = lock(&self.mailbox);
            let message = mailbox.messages.pop_front();
            if matches!(message, Some(Message::Call(..))) {
                mailbox.calls -= 1;
            }
            message
        };
        // A fault of the host's own costs this message, not the slot or the thread: the room's deadline stands in for the answer.
        let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| message.map(|message| self.take(message, shared))));
        if taken.is_err() {
            tracing::error!(slot = %self.slot, "a plugin's message failed within the host");
            metrics::counter!(super::meter::HOST_PANICS, "slot" => self.slot.as_str()).increment(1);
        }
        let mut mailbox = lock(&self.mailbox);
        mailbox.scheduled = !mailbox.messages.is_empty();
        mailbox.scheduled
    }

    fn take(self: &Arc<Self>, message: Message, shared: &Shared) {
        let mut state = lock(&self.state);
        match message {
            Message::Call(call, span) => span.in_scope(|| self.call(&mut state, call, shared)),
            Message::Commit(prepared, commit_at) => state.commit(*prepared, commit_at),
            Message::RollBack(commit_at) => state.roll_back(commit_at, false),
            Message::RetireBefore(at) => state.retire_before(at),
            Message::Shadow(prepared) => self.begin_shadow(*prepared),
            Message::Promote(commit_at) => self.promote(&mut state, commit_at),
            Message::Discard => self.discard(&mut state),
            Message::Snapshot(at) => state.snapshot_now(at),
            Message::Kill(at) => state.kill(at),
            Message::Record(recorder, at) => {
                *lock(&self.recorder) = recorder.clone();
                state.record(recorder, at);
            }
        }
        let events = state.take_events();
        *lock(&self.status) = state.status.clone();
        drop(state);
        events.into_iter().for_each(|event| (self.deliver)(Output::Event(event)));
    }

    fn call(self: &Arc<Self>, state: &mut SlotState, call: Call, shared: &Shared) {
        let Call { id, at, expires, request } = call;
        if expires.is_some_and(|expires| Instant::now() > expires) {
            state.not_made(id, at, &Fault::Expired);
            let generation = state.status.generation;
            let answer = Answer { call: id, slot: self.slot, generation, at, result: Err(Fault::Expired), cpu: Duration::ZERO };
            return (self.deliver)(Output::Answer(answer));
        }
        let mut live = None;
        let shadowed = lock(&self.shadow).shadow.is_some();
        state.call(id, at, &request, |answer| {
            live = shadowed.then(|| answer.result.clone());
            (self.deliver)(Output::Answer(answer));
        });
        if let Some(live) = live {
            self.show_shadow(ShadowInput { at, request, live }, shared);
        }
    }

    fn show_shadow(self: &Arc<Self>, input: ShadowInput, shared: &Shared) {
        let mut shadow_box = lock(&self.shadow);
        let waiting = shadow_box.inputs.len();
        match &mut shadow_box.shadow {
            Some(shadow) if waiting >= SHADOW_QUEUE_MAX => return shadow.shed(),
            Some(_) => shadow_box.inputs.push_back(input),
            None => return,
        }
        let idle = !std::mem::replace(&mut shadow_box.scheduled, true);
        drop(shadow_box);
        if idle {
            shared.enqueue_shadow(self);
        }
    }

    fn begin_shadow(&self, prepared: Prepared) {
        let plugin = prepared.plugin().clone();
        let shadow = Shadow::new(self.slot, prepared, self.config.budgets);
        let before = {
            let mut shadow_box = lock(&self.shadow);
            shadow_box.inputs.clear();
            shadow_box.number += 1;
            shadow_box.shadow.replace(shadow)
        };
        if let Some(before) = before {
            self.tell(before.ended("another candidate took its place"));
        }
        self.tell(PolicyEvent::ShadowStarted { slot: self.slot, plugin });
    }

    fn tell(&self, event: PolicyEvent) {
        event.count();
        if let Some(recorder) = &*lock(&self.recorder) {
            recorder.record(&Entry::Event(event.clone()));
        }
        (self.deliver)(Output::Event(event));
    }

    fn end_shadow(&self) -> Option<Shadow> {
        let mut shadow_box = lock(&self.shadow);
        shadow_box.inputs.clear();
        shadow_box.shadow.take()
    }

    fn promote(&self, state: &mut SlotState, commit_at: Micros) {
        let Some(shadow) = self.end_shadow() else { return state.refuse(None, Stage::Shadow, "there is no candidate to promote") };
        self.tell(shadow.ended("promoted"));
        match shadow.promoted(commit_at) {
            Ok(prepared) => state.commit(prepared, commit_at),
            Err(reason) => state.refuse(Some(shadow.spec().plugin.name.to_string()), Stage::Instantiate, reason),
        }
    }

    fn discard(&self, state: &mut SlotState) {
        match self.end_shadow() {
            Some(shadow) => self.tell(shadow.ended("discarded")),
            None => state.refuse(None, Stage::Shadow, "there is no candidate to discard"),
        }
    }

    /// Gives the candidate one input. True if more wait.
    fn shadow_turn(&self) -> bool {
        let taken = {
            let mut shadow_box = lock(&self.shadow);
            let number = shadow_box.number;
            let input = shadow_box.inputs.pop_front();
            input.zip(shadow_box.shadow.as_mut().map(Shadow::begin)).map(|(input, run)| (number, input, run))
        };
        let ended = taken.and_then(|(number, input, mut run)| {
            let result = run.see(&input);
            let mut shadow_box = lock(&self.shadow);
            let same = shadow_box.number == number;
            let shadow = shadow_box.shadow.as_mut().filter(|_| same)?;
            let why = shadow.finish(run, &input, result).err()?;
            shadow_box.inputs.clear();
            shadow_box.shadow.take().map(|shadow| shadow.ended(why))
        });
        if let Some(ended) = ended {
            self.tell(ended);
        }
        let mut shadow_box = lock(&self.shadow);
        shadow_box.scheduled = !shadow_box.inputs.is_empty();
        shadow_box.scheduled
    }
}
