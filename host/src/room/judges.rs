//! Who answers a source's requests: detectors (through their batchers), the cascade and the threshold policy (through their slots), and
//! the host's own defaults where one of these fails (invariant 7):
//!
//! - cascade: every detector looks;
//! - threshold: a detection counts at the lower of its base and the plugin's last `current()`.
//!
//! What always holds: each request is answered exactly once, at the latest at its deadline; a policy's answer that comes later is dropped,
//! counted and recorded as late. Nothing here waits, except [`Judges::ask`], which files use.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::channel::Why;
use super::source::{Answer, LookId, Request};
use crate::infer::batcher::{Batcher, LookRequest, LookResult};
use crate::infer::model::Thresholds;
use crate::media::frame::{FrameSeq, Micros};
use crate::plugin::catalog::PluginName;
use crate::plugin::events::PolicyEvent;
use crate::plugin::executor::{Call, Deliver, Executor, Output, SlotHandle};
use crate::plugin::prepare::Candidate;
use crate::plugin::record::Recorder;
use crate::plugin::slot::{Answer as PolicyAnswer, SlotConfig};
use crate::plugin::types::{self, CallId, Generation, Hints, Reply, Slot};
use crate::vision::detection::{Detection, Verdict};
use crate::vision::thumbnail::Thumbnail;

/// Longest time that a live room waits for a policy's answer before its default stands in. The CPU budget is shorter; this bounds what a
/// busy machine adds to it.
pub const POLICY_DEADLINE: Duration = Duration::from_millis(30);

/// One enabled detector.
#[derive(Clone)]
pub struct Lookout {
    pub batcher: Arc<Batcher>,
    /// The model's base thresholds.
    pub thresholds: Thresholds,
}

/// What a policy, or the host in its place, decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decision {
    pub slot: Slot,
    pub seq: FrameSeq,
    /// Capture time of the frame.
    pub at: Micros,
    /// None: the host's default.
    pub generation: Option<Generation>,
    pub plugin: Option<String>,
    /// What was decided and by which rule, for people.
    pub summary: String,
    /// Why the default stood in.
    pub fault: Option<String>,
    pub cpu_us: u64,
}

/// One look's outcome, for the report.
#[derive(Clone, Debug)]
pub struct Looking {
    pub id: LookId,
    pub why: Why,
    pub found: Result<Vec<Detection>, String>,
    pub waited: Duration,
    pub ran: Duration,
}

/// What counts of a look's detections, one verdict each.
#[derive(Clone, Debug)]
pub struct Weighing {
    pub id: LookId,
    pub detections: Vec<Detection>,
    pub verdicts: Vec<Verdict>,
}

/// What happened, in order.
#[derive(Clone, Debug)]
pub enum Note {
    Decision(Decision),
    Look(Looking),
    /// The cascade said that this detector need not look.
    Skipped {
        seq: FrameSeq,
        detector: Arc<str>,
    },
    Weighed(Weighing),
    Event(PolicyEvent),
}

/// Told of everything that happens, from any thread; must not block.
pub type Observer = Arc<dyn Fn(Note) + Send + Sync>;

type ReplyTo = Box<dyn FnOnce(Answer) + Send>;

enum Pending {
    Screen { seq: FrameSeq, at: Micros, detectors: Vec<Arc<str>>, reply: ReplyTo },
    Weigh { id: LookId, at: Micros, detections: Vec<Detection>, reply: ReplyTo },
}

struct Inner {
    /// The source's number in the batchers.
    number: u64,
    source: Arc<types::Source>,
    lookouts: BTreeMap<Arc<str>, Lookout>,
    slots: OnceLock<Slots>,
    next_call: AtomicU64,
    pending: Mutex<BTreeMap<CallId, Pending>>,
    prepared: Mutex<BTreeMap<Slot, mpsc::SyncSender<Output>>>,
    /// Capture time of the newest frame: what a commit counts from.
    newest: AtomicU64,
    observer: Observer,
    late: AtomicU64,
}

struct Slots {
    cascade: SlotHandle,
    threshold: SlotHandle,
}

/// The judges of one source.
#[derive(Clone)]
pub struct Judges(Arc<Inner>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Judges {
    /// With empty slots: the host's defaults judge until [`Judges::install`].
    pub fn new(
        number: u64,
        source: types::Source,
        lookouts: BTreeMap<Arc<str>, Lookout>,
        executor: &Executor,
        slot_config: &SlotConfig,
        recorder: Option<Arc<Recorder>>,
        observer: Observer,
    ) -> Self {
        let inner = Arc::new(Inner {
            number,
            source: Arc::new(source),
            lookouts,
            slots: OnceLock::new(),
            next_call: AtomicU64::new(0),
            pending: Mutex::default(),
            prepared: Mutex::default(),
            newest: AtomicU64::new(0),
            observer,
            late: AtomicU64::new(0),
        });
        // The slots' threads hold the room weakly: a room that is gone needs no answers.
        let weak = Arc::downgrade(&inner);
        let deliver: Deliver = Arc::new(move |output| {
            if let Some(inner) = weak.upgrade() {
                inner.heard(output);
            }
        });
        let slot = |slot| executor.slot(slot, slot_config.clone(), recorder.clone(), deliver.clone());
        let slots = Slots { cascade: slot(Slot::Cascade), threshold: slot(Slot::Threshold) };
        let _first = inner.slots.set(slots);
        Self(inner)
    }

    /// The slot's handle; none for the text slot, which no picture needs.
    pub fn slot(&self, slot: Slot) -> Option<&SlotHandle> {
        let slots = self.0.slots.get()?;
        match slot {
            Slot::Cascade => Some(&slots.cascade),
            Slot::Threshold => Some(&slots.threshold),
            Slot::Text => None,
        }
    }

    /// Puts a policy into its slot before the first frame.
    ///
    /// # Errors
    /// Why the plugin was refused.
    pub fn install(&self, slot: Slot, candidate: &Candidate, config: &str) -> Result<(), String> {
        let handle = self.slot(slot).ok_or_else(|| format!("a {slot} policy judges no pictures"))?;
        handle.install(candidate, config, Micros::ZERO)
    }

    /// Notes the newest frame's capture time, from which a commit counts.
    pub fn captured(&self, at: Micros) {
        self.0.newest.fetch_max(at.0, Ordering::Relaxed);
    }

    /// Promise that no frame captured before `at` will be asked about.
    pub fn published(&self, at: Micros) {
        if let Some(slots) = self.0.slots.get() {
            slots.cascade.retire_before(at);
            slots.threshold.retire_before(at);
        }
    }

    /// Policy answers that came after their deadline.
    pub fn late(&self) -> u64 {
        self.0.late.load(Ordering::Relaxed)
    }

    /// Prepares a policy on other threads and commits it between two frames when it is ready. The outcome is an event.
    pub fn swap(&self, candidate: Candidate, slot: Slot, config: &str) {
        if let Some(handle) = self.slot(slot) {
            handle.prepare(candidate, config, Micros(self.0.newest.load(Ordering::Relaxed)));
        }
    }

    /// As [`Judges::swap`], for a file: returns when the outcome's event is out. Everything captured after `commit_at` is judged by
    /// the new generation if there is one.
    pub fn swap_now(&self, candidate: Candidate, slot: Slot, config: &str, commit_at: Micros) {
        self.0.newest.store(commit_at.0, Ordering::Relaxed);
        let (tell, told) = mpsc::sync_channel(8);
        lock(&self.0.prepared).insert(slot, tell);
        self.swap(candidate, slot, config);
        // The outcome always comes: prepared leads to a commit's event, anything else is a refusal's.
        let _outcome = told.recv();
        lock(&self.0.prepared).remove(&slot);
    }

    /// Hands a request over. `reply` is called once, from any thread, perhaps before this returns; it must not block.
    /// `now` is the stream's time; a deadline past a day is none.
    pub fn dispatch(&self, request: Request, now: Micros, reply: impl FnOnce(Answer) + Send + 'static) {
        let inner = &self.0;
        match request {
            Request::Look { id, frame, why, deadline } => {
                let left = Duration::from(deadline.saturating_sub(now)).min(Duration::from_secs(86_400));
                inner.look(id, frame, why, Instant::now() + left, Box::new(reply));
            }
            Request::Screen { frame, detectors, hints } => {
                let hints = Hints {
                    scene_cut: hints.scene_cut,
                    change: hints.change.clamp(0.0, 1.0),
                    since_look: hints.since_look,
                    trails: hints.trails,
                };
                let (seq, at) = (frame.seq, frame.at);
                let thumbnail = Arc::new(Thumbnail::of(&frame));
                let question = types::Request::Screen { source: inner.source.clone(), thumbnail, detectors: detectors.clone(), hints };
                self.call(at, question, Pending::Screen { seq, at, detectors, reply: Box::new(reply) });
            }
            Request::Weigh { id, at, detections } => {
                if detections.is_empty() {
                    return reply(Answer::Weighed { id, generation: inner.threshold_generation(), verdicts: Vec::new() });
                }
                let question = types::Request::Weigh { source: inner.source.clone(), found: detections.clone() };
                self.call(at, question, Pending::Weigh { id, at, detections, reply: Box::new(reply) });
            }
        }
    }

    /// As [`Judges::dispatch`], and waits for the answer, however long it takes. Not for a live room's task.
    pub fn ask(&self, request: Request) -> Answer {
        let (tell, told) = mpsc::sync_channel(1);
        let stand_in = match &request {
            Request::Look { id, .. } => Answer::Failed { id: id.clone() },
            Request::Screen { frame, detectors, .. } => Answer::Screened { seq: frame.seq, look: detectors.clone() },
            Request::Weigh { id, detections, .. } => self.0.default_verdicts(id.clone(), detections),
        };
        let far = match &request {
            Request::Look { deadline, .. } => deadline.saturating_sub(Micros(60_000_000)),
            _ => Micros::ZERO,
        };
        self.dispatch(request, far, move |answer| _ = tell.send(answer));
        // Every request is answered; should its thread be gone with the executor, the default is as good.
        told.recv().unwrap_or(stand_in)
    }

    /// Gives up a policy's answer that has not come by its deadline: the default stands in.
    pub fn expire(&self, call: CallId) {
        let Some(pending) = lock(&self.0.pending).remove(&call) else { return };
        self.0.late.fetch_add(1, Ordering::Relaxed);
        self.0.stand_in(pending, "it did not answer in time".to_owned(), None, Duration::ZERO);
    }

    fn call(&self, at: Micros, request: types::Request, pending: Pending) {
        let inner = &self.0;
        let Some(slot) = request.slot().and_then(|slot| self.slot(slot)) else { return };
        let id = CallId(inner.next_call.fetch_add(1, Ordering::Relaxed));
        let live = tokio::runtime::Handle::try_current().ok();
        lock(&inner.pending).insert(id, pending);
        let expires = live.as_ref().map(|_| Instant::now() + POLICY_DEADLINE);
        if let Err(refused) = slot.call(Call { id, at, expires, request }) {
            if let Some(pending) = lock(&inner.pending).remove(&id) {
                inner.stand_in(pending, refused.to_string(), None, Duration::ZERO);
            }
            return;
        }
        // A live room waits no longer than the deadline; a file waits for the answer, whose time the CPU budget bounds.
        if let Some(runtime) = live {
            let judges = self.clone();
            runtime.spawn(async move {
                tokio::time::sleep(POLICY_DEADLINE).await;
                judges.expire(id);
            });
        }
    }
}

impl Inner {
    fn look(self: &Arc<Self>, id: LookId, frame: crate::media::frame::Frame, why: Why, deadline: Instant, reply: ReplyTo) {
        let Some(lookout) = self.lookouts.get(&id.detector) else { return reply(Answer::Failed { id }) };
        let request = LookRequest { source: self.number, weight: NonZeroU32::MIN, frame, required: why.required(), deadline };
        let inner = self.clone();
        lookout.batcher.submit(request, Box::new(move |result| inner.looked(id, why, result, reply)));
    }

    fn looked(&self, id: LookId, why: Why, result: LookResult, reply: ReplyTo) {
        let LookResult { found, waited, ran, .. } = result;
        let found = found.map_err(|fault| fault.to_string()).map(|mut detections| {
            // The model's name is not the room's name for it.
            detections.iter_mut().for_each(|d| d.detector = id.detector.clone());
            detections
        });
        (self.observer)(Note::Look(Looking { id: id.clone(), why, found: found.clone(), waited, ran }));
        reply(match found {
            Ok(detections) => Answer::Looked { id, detections },
            Err(_) => Answer::Failed { id },
        });
    }

    fn threshold_generation(&self) -> u64 {
        let generation = self.slots.get().and_then(|slots| slots.threshold.status().generation);
        generation.map_or(0, |g| u64::from(g.0) + 1)
    }

    fn heard(&self, output: Output) {
        match output {
            Output::Answer(answer) => self.answered(answer),
            Output::Prepared(prepared) => {
                let slots = self.slots.get();
                let handle = slots.map(|slots| if prepared.slot() == Slot::Cascade { &slots.cascade } else { &slots.threshold });
                if let Some(handle) = handle {
                    handle.commit(prepared, Micros(self.newest.load(Ordering::Relaxed)));
                }
            }
            Output::Event(event) => {
                (self.observer)(Note::Event(event.clone()));
                let outcome = matches!(event, PolicyEvent::Committed { .. } | PolicyEvent::Refused { .. } | PolicyEvent::RolledBack { .. });
                if let (true, Some(waiting)) = (outcome, lock(&self.prepared).get(&event.slot())) {
                    let _gone = waiting.try_send(Output::Event(event));
                }
            }
        }
    }

    fn answered(&self, answer: PolicyAnswer) {
        let Some(pending) = lock(&self.pending).remove(&answer.call) else {
            if let Some(slots) = self.slots.get() {
                let handle = if answer.slot == Slot::Cascade { &slots.cascade } else { &slots.threshold };
                handle.late(answer.call);
            }
            return;
        };
        let plugin = |inner: &Self| inner.plugin(answer.slot);
        match (pending, answer.result) {
            (Pending::Screen { seq, at, detectors, reply }, Ok(Reply::Screenings(screenings))) => {
                let told_off = |detector: &Arc<str>| screenings.iter().any(|s| *s.detector == **detector && !s.look);
                let (skipped, look): (Vec<Arc<str>>, Vec<Arc<str>>) = detectors.into_iter().partition(told_off);
                skipped.into_iter().for_each(|detector| (self.observer)(Note::Skipped { seq, detector }));
                let said = screenings.iter().map(|s| format!("{}: {} ({})", s.detector, if s.look { "look" } else { "skip" }, s.reason));
                self.decided(answer.slot, seq, at, answer.generation, plugin(self), said.collect::<Vec<_>>().join("; "), None, answer.cpu);
                reply(Answer::Screened { seq, look });
            }
            (Pending::Weigh { id, at, detections, reply }, Ok(Reply::Verdicts(verdicts))) if verdicts.len() == detections.len() => {
                let summary = summary(&detections, &verdicts);
                self.decided(answer.slot, id.seq, at, answer.generation, plugin(self), summary, None, answer.cpu);
                let generation = answer.generation.map_or(0, |g| u64::from(g.0) + 1);
                (self.observer)(Note::Weighed(Weighing { id: id.clone(), detections, verdicts: verdicts.clone() }));
                reply(Answer::Weighed { id, generation, verdicts });
            }
            (pending, Ok(_)) => self.stand_in(pending, "it answered something else".to_owned(), answer.generation, answer.cpu),
            (pending, Err(fault)) => self.stand_in(pending, fault.to_string(), answer.generation, answer.cpu),
        }
    }

    fn plugin(&self, slot: Slot) -> Option<String> {
        let slots = self.slots.get()?;
        let handle = if slot == Slot::Cascade { &slots.cascade } else { &slots.threshold };
        handle.status().plugin.as_ref().map(PluginName::to_string)
    }

    /// The host's default, in a policy's place.
    fn stand_in(&self, pending: Pending, why: String, generation: Option<Generation>, cpu: Duration) {
        match pending {
            Pending::Screen { seq, at, detectors, reply } => {
                let said = "every detector looks (the host's default)".to_owned();
                self.decided(Slot::Cascade, seq, at, generation, self.plugin(Slot::Cascade), said, Some(why), cpu);
                reply(Answer::Screened { seq, look: detectors });
            }
            Pending::Weigh { id, at, detections, reply } => {
                let answer = self.default_verdicts(id.clone(), &detections);
                if let Answer::Weighed { verdicts, .. } = &answer {
                    let said = format!("{} (the host's default)", summary(&detections, verdicts));
                    self.decided(Slot::Threshold, id.seq, at, generation, self.plugin(Slot::Threshold), said, Some(why), cpu);
                    (self.observer)(Note::Weighed(Weighing { id, detections, verdicts: verdicts.clone() }));
                }
                reply(answer);
            }
        }
    }

    fn default_verdicts(&self, id: LookId, detections: &[Detection]) -> Answer {
        let current = self.slots.get().map(|slots| slots.threshold.current());
        let verdicts = detections.iter().map(|d| {
            let base = self.lookouts.get(&d.detector).map_or(0.0, |l| l.thresholds.base(&d.label));
            let learned = current.iter().flat_map(|c| c.iter()).find(|t| *t.detector == *d.detector && *t.label == *d.label);
            let threshold = learned.map_or(base, |t| base.min(t.threshold));
            Verdict { counts: d.confidence >= threshold, threshold }
        });
        Answer::Weighed { id, generation: self.threshold_generation(), verdicts: verdicts.collect() }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a decision, named where it is made")]
    fn decided(
        &self,
        slot: Slot,
        seq: FrameSeq,
        at: Micros,
        generation: Option<Generation>,
        plugin: Option<String>,
        summary: String,
        fault: Option<String>,
        cpu: Duration,
    ) {
        let cpu_us = cpu.as_micros() as u64;
        (self.observer)(Note::Decision(Decision { slot, seq, at, generation, plugin, summary, fault, cpu_us }));
    }
}

fn summary(detections: &[Detection], verdicts: &[Verdict]) -> String {
    let one = |(d, v): (&Detection, &Verdict)| {
        format!("{} {:.2} {} {:.2}", d.label, d.confidence, if v.counts { "counts at" } else { "is under" }, v.threshold)
    };
    detections.iter().zip(verdicts).map(one).collect::<Vec<_>>().join("; ")
}
