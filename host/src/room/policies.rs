//! One room's three policies, shared by all of its sources, by its chat and by its reports: calls, their deadlines, and the orders that
//! change who is in force.
//!
//! ```text
//!  ask ──► slot ──► Answered (by its deadline, or the reason why not)
//!  order ─► one at a time a slot: prepare ─► commit or shadow ─► its event
//!  enter ─► a source: told of commits; until it has published past a commit, the generation before stays
//! ```
//! What always holds: a question is answered exactly once; an answer past its deadline is dropped, counted and recorded as late; an order
//! ends in exactly one event; a commit counts from the newest frame captured by any source of the room, or judged by the slot.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::note::{Note, Observer};
use crate::media::frame::Micros;
use crate::plugin::events::PolicyEvent;
use crate::plugin::executor::{Call, Deliver, Executor, Output, SlotHandle};
use crate::plugin::inputs::Inputs;
use crate::plugin::prepare::Candidate;
use crate::plugin::record::Recorder;
use crate::plugin::slot::{Kept, SlotConfig};
use crate::plugin::types::{CallId, Generation, Reply, Request, Slot};

/// Longest time that a live room waits for a policy's answer before its default stands in. The CPU budget is shorter; this bounds what a
/// busy machine adds to it.
pub const POLICY_DEADLINE: Duration = Duration::from_millis(30);

/// What became of a question.
#[derive(Debug)]
pub struct Answered {
    /// Who answered, or would have.
    pub generation: Option<Generation>,
    pub plugin: Option<String>,
    /// The error says why the host's default is to stand in.
    pub result: Result<Reply, String>,
    pub cpu: Duration,
}

/// A change of who is in force in a slot, or in its shadow. `config` is JSON.
#[derive(Clone)]
pub enum Order {
    Swap { candidate: Candidate, config: Arc<str> },
    Shadow { candidate: Candidate, config: Arc<str> },
    Promote,
    Discard,
    RollBack,
}

impl Order {
    /// Whether an event of the order's slot is how it ended.
    fn ends_with(&self, event: &PolicyEvent) -> bool {
        match (self, event) {
            (_, PolicyEvent::Refused { .. }) => true,
            (Order::Swap { .. } | Order::Promote, PolicyEvent::Committed { .. }) => true,
            (Order::Shadow { .. }, PolicyEvent::ShadowStarted { .. }) => true,
            (Order::Discard, PolicyEvent::ShadowEnded { .. }) => true,
            (Order::RollBack, PolicyEvent::RolledBack { automatic, .. }) => !automatic,
            _ => false,
        }
    }
}

/// A new generation of a policy, in force for what is captured from `from` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    pub slot: Slot,
    /// As [`super::request::Answer::Weighed`] counts them.
    pub generation: u64,
    pub from: Micros,
}

/// Hears of commits, from any thread; must not block.
pub type OnCommit = Box<dyn Fn(Commit) + Send + Sync>;

type ReplyTo = Box<dyn FnOnce(Answered) + Send>;
type Told = Box<dyn FnOnce(PolicyEvent) + Send>;

struct Entered {
    /// Everything captured before is published.
    published: Micros,
    on_commit: OnCommit,
}

struct Inner {
    slots: OnceLock<[SlotHandle; 3]>,
    next_call: AtomicU64,
    pending: Mutex<HashMap<CallId, ReplyTo>>,
    /// The first of each slot is under way.
    orders: Mutex<BTreeMap<Slot, VecDeque<(Order, Told)>>>,
    /// Capture time of the newest frame: what a commit counts from.
    newest: AtomicU64,
    sources: Mutex<BTreeMap<u64, Entered>>,
    /// Where the threshold policy's inputs are kept, if they are.
    inputs: OnceLock<Arc<Inputs>>,
    observer: Observer,
    late: AtomicU64,
}

/// See the module. Clones are handles to the same slots; the instances go with the last.
#[derive(Clone)]
pub struct Policies(Arc<Inner>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Policies {
    /// With empty slots: the host's defaults judge until something is installed. `observer` hears of every policy event.
    pub fn new(executor: &Executor, slot_config: &SlotConfig, recorder: Option<Arc<Recorder>>, observer: Observer) -> Self {
        let inner = Arc::new(Inner {
            slots: OnceLock::new(),
            next_call: AtomicU64::new(0),
            pending: Mutex::default(),
            orders: Mutex::default(),
            newest: AtomicU64::new(0),
            sources: Mutex::default(),
            inputs: OnceLock::new(),
            observer,
            late: AtomicU64::new(0),
        });
        // The slots' threads hold the room weakly: a room that is gone needs no answers.
        let weak = Arc::downgrade(&inner);
        let deliver: Deliver = Arc::new(move |output| {
            if let Some(inner) = weak.upgrade() {
                Policies(inner).heard(output);
            }
        });
        let slot = |slot| executor.slot(slot, slot_config.clone(), recorder.clone(), deliver.clone());
        let _first = inner.slots.set(Slot::ALL.map(slot));
        Self(inner)
    }

    /// The slot's handle.
    ///
    /// # Panics
    /// Never: the slots are set before anybody has the room's policies.
    pub fn slot(&self, slot: Slot) -> &SlotHandle {
        let slots = self.0.slots.get().expect("set when the room was made");
        &slots[slot as usize]
    }

    /// Puts a policy into its slot before anything is asked, with the state that was kept of it, if any.
    ///
    /// # Errors
    /// Why the plugin was refused.
    pub fn install(&self, slot: Slot, candidate: &Candidate, config: &str, kept: Option<Kept>) -> Result<(), String> {
        self.slot(slot).install(candidate, config, Micros(self.0.newest.load(Ordering::Relaxed)), kept)
    }

    /// Keeps what the threshold policy is asked from now on.
    pub fn keep_inputs(&self, inputs: Arc<Inputs>) {
        // Whoever made the room's policies says so once.
        let _first = self.0.inputs.set(inputs);
    }

    /// Notes the newest frame's capture time, from which a commit counts.
    pub fn captured(&self, at: Micros) {
        self.0.newest.fetch_max(at.0, Ordering::Relaxed);
    }

    /// A time for a question about something that has no capture time of its own (a message, a report): `now`, but past every commit.
    pub fn moment(&self, now: Micros) -> Micros {
        self.captured(Micros(now.0.saturating_sub(1)));
        Micros(self.0.newest.load(Ordering::Relaxed) + 1)
    }

    /// A source begins: nothing that it captures from `at` on is published yet.
    pub fn enter(&self, source: u64, at: Micros, on_commit: OnCommit) {
        lock(&self.0.sources).insert(source, Entered { published: at, on_commit });
    }

    /// Promise that the source will ask about nothing that was captured before `at`.
    pub fn published(&self, source: u64, at: Micros) {
        if let Some(entered) = lock(&self.0.sources).get_mut(&source) {
            entered.published = at;
        }
        self.retire();
    }

    /// A source has ended: it asks nothing more.
    pub fn leave(&self, source: u64) {
        lock(&self.0.sources).remove(&source);
        self.retire();
    }

    /// Lets generations go that no source can ask any more.
    fn retire(&self) {
        let before = lock(&self.0.sources).values().map(|entered| entered.published).min().unwrap_or(Micros::MAX);
        Slot::ALL
            .iter()
            .map(|slot| self.slot(*slot))
            .filter(|handle| handle.retiring() > 0)
            .for_each(|handle| handle.retire_before(before));
    }

    /// Policy answers that came after their deadline.
    pub fn late(&self) -> u64 {
        self.0.late.load(Ordering::Relaxed)
    }

    /// Whether a slot has no plugin, so that the host's default decides.
    pub fn is_empty(&self, slot: Slot) -> bool {
        self.slot(slot).status().generation.is_none()
    }

    /// The number under which the threshold policy in force weighs; 0 is the host's default.
    pub fn threshold_generation(&self) -> u64 {
        self.slot(Slot::Threshold).status().generation.map_or(0, number)
    }

    /// Queues an order behind those that the slot already has; `told` hears how it ended.
    pub fn order(&self, slot: Slot, order: Order, told: impl FnOnce(PolicyEvent) + Send + 'static) {
        let mut orders = lock(&self.0.orders);
        let queue = orders.entry(slot).or_default();
        queue.push_back((order, Box::new(told)));
        let first = (queue.len() == 1).then(|| queue[0].0.clone());
        drop(orders);
        if let Some(order) = first {
            self.begin(slot, order);
        }
    }

    /// As [`Policies::order`] with a swap, for a file: waits for the outcome. Everything captured after `commit_at` is judged by the new
    /// generation if there is one.
    pub fn swap_now(&self, slot: Slot, candidate: Candidate, config: Arc<str>, commit_at: Micros) -> Option<PolicyEvent> {
        self.0.newest.store(commit_at.0, Ordering::Relaxed);
        let (tell, told) = mpsc::sync_channel(1);
        self.order(slot, Order::Swap { candidate, config }, move |event| _ = tell.send(event));
        told.recv().ok()
    }

    /// Asks a slot; `reply` is called once, from any thread, perhaps before this returns, and must not block. With a deadline it is called
    /// by then; it needs a tokio runtime.
    pub fn ask(&self, at: Micros, request: Request, deadline: Option<Duration>, reply: impl FnOnce(Answered) + Send + 'static) {
        let id = CallId(self.0.next_call.fetch_add(1, Ordering::Relaxed));
        let Some(slot) = request.slot() else { return };
        if let (Request::Weigh { source, found }, Some(inputs)) = (&request, self.0.inputs.get()) {
            inputs.push(at, source, found);
        }
        lock(&self.0.pending).insert(id, Box::new(reply));
        let expires = deadline.map(|deadline| Instant::now() + deadline);
        if let Err(refused) = self.slot(slot).call(Call { id, at, expires, request }) {
            return self.give_up(id, slot, refused.to_string());
        }
        if let Some(deadline) = deadline {
            let policies = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(deadline).await;
                policies.expire(id, slot);
            });
        }
    }

    /// Tells every policy that a source is over. Nobody waits for the answers.
    pub fn source_ended(&self, source_id: &str, at: Micros) {
        for slot in Slot::ALL {
            let id = CallId(self.0.next_call.fetch_add(1, Ordering::Relaxed));
            let request = Request::SourceEnded { source_id: source_id.to_owned() };
            lock(&self.0.pending).insert(id, Box::new(|_| {}));
            if self.slot(slot).call(Call { id, at, expires: None, request }).is_err() {
                lock(&self.0.pending).remove(&id);
            }
        }
    }

    fn expire(&self, id: CallId, slot: Slot) {
        if lock(&self.0.pending).contains_key(&id) {
            self.0.late.fetch_add(1, Ordering::Relaxed);
            self.give_up(id, slot, "it did not answer in time".to_owned());
        }
    }

    fn give_up(&self, id: CallId, slot: Slot, why: String) {
        let Some(reply) = lock(&self.0.pending).remove(&id) else { return };
        let plugin = self.plugin(slot);
        reply(Answered { generation: None, plugin, result: Err(why), cpu: Duration::ZERO });
    }

    fn plugin(&self, slot: Slot) -> Option<String> {
        self.slot(slot).status().plugin.map(|plugin| plugin.to_string())
    }

    fn begin(&self, slot: Slot, order: Order) {
        let handle = self.slot(slot);
        let newest = Micros(self.0.newest.load(Ordering::Relaxed));
        match order {
            Order::Swap { candidate, config } | Order::Shadow { candidate, config } => handle.prepare(candidate, config, newest),
            Order::Promote => handle.promote(newest),
            Order::Discard => handle.discard(),
            Order::RollBack => handle.roll_back(newest),
        }
    }

    fn heard(&self, output: Output) {
        match output {
            Output::Answer(answer) => {
                let reply = lock(&self.0.pending).remove(&answer.call);
                match reply {
                    Some(reply) => reply(Answered {
                        generation: answer.generation,
                        plugin: self.plugin(answer.slot),
                        result: answer.result.map_err(|fault| fault.to_string()),
                        cpu: answer.cpu,
                    }),
                    None => self.slot(answer.slot).late(answer.call),
                }
            }
            Output::Prepared(prepared) => {
                let slot = prepared.slot();
                let shadow = lock(&self.0.orders)
                    .get(&slot)
                    .and_then(|queue| queue.front())
                    .is_some_and(|(order, _)| matches!(order, Order::Shadow { .. }));
                let handle = self.slot(slot);
                if shadow { handle.shadow(prepared) } else { handle.commit(prepared, Micros(self.0.newest.load(Ordering::Relaxed))) }
            }
            Output::Event(event) => self.happened(event),
        }
    }

    fn happened(&self, event: PolicyEvent) {
        let slot = event.slot();
        let commit = match &event {
            PolicyEvent::Committed { generation, commit_at, .. } | PolicyEvent::RolledBack { generation, commit_at, .. } => {
                Some(Commit { slot, generation: number(*generation), from: Micros(commit_at.0.saturating_add(1)) })
            }
            _ => None,
        };
        if let Some(commit) = commit {
            lock(&self.0.sources).values().for_each(|entered| (entered.on_commit)(commit));
            self.retire();
        }
        (self.0.observer)(Note::Event(event.clone()));
        let mut orders = lock(&self.0.orders);
        let Some(queue) = orders.get_mut(&slot) else { return };
        if !queue.front().is_some_and(|(order, _)| order.ends_with(&event)) {
            return;
        }
        let ended = queue.pop_front();
        let next = queue.front().map(|(order, _)| order.clone());
        drop(orders);
        if let Some((_, told)) = ended {
            told(event);
        }
        if let Some(order) = next {
            self.begin(slot, order);
        }
    }
}

/// A generation as the frame path counts them: 0 is the host's default.
pub fn number(generation: Generation) -> u64 {
    u64::from(generation.0) + 1
}
