//! One slot of a room: its generations, and what happens to them. Plain state, driven by one worker at a time; no thread, no lock.
//!
//! ```text
//!   prepare (elsewhere) ──► commit ──► in force ──► retiring ──► gone
//!                             │           │ faults       ▲ retire_before
//!                          refused        └► rolled back ─┘
//! ```
//! What always holds: a judgement is given by the generation that was in force when its frame was captured; a commit that fails leaves the
//! generation in force as it was; numbers of generations only grow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::PluginName;
use super::events::{PolicyEvent, Stage, StateFrom};
use super::instance::Budgets;
use super::meter;
use super::record::{Entry, Recorder};
use super::tenant::{Fresh, PolicySpec, Saved, StartError, Tenant};
use super::types::{CallId, Fault, Generation, LabelThreshold, Reply, Request, Slot};
use crate::media::frame::Micros;

/// Rules of a slot.
#[derive(Clone, Debug)]
pub struct SlotConfig {
    pub budgets: Budgets,
    /// Calls that may wait. More are refused at once.
    pub mailbox_max: usize,
    /// So many faults within `fault_window` bring the version before back.
    pub faults_max: usize,
    pub fault_window: Micros,
    /// A snapshot is taken between calls when the last is this old.
    pub snapshot_every: Micros,
    /// Generations that may be retiring at once.
    pub retiring_max: usize,
}

impl Default for SlotConfig {
    fn default() -> Self {
        Self {
            budgets: Budgets::default(),
            mailbox_max: 64,
            faults_max: 5,
            fault_window: Micros::from_millis(10_000),
            snapshot_every: Micros::from_millis(5_000),
            retiring_max: 3,
        }
    }
}

/// The first fault in a window restarts at once; then the wait doubles from the first to the second of these.
const BACKOFF_MIN: Micros = Micros::from_millis(50);
const BACKOFF_MAX: Micros = Micros::from_millis(5_000);

/// Answer to one call.
#[derive(Clone, Debug)]
pub struct Answer {
    pub call: CallId,
    pub slot: Slot,
    /// Who answered; none where the slot has no plugin.
    pub generation: Option<Generation>,
    /// Capture time of what was asked about, as the call gave it.
    pub at: Micros,
    pub result: Result<Reply, Fault>,
    /// CPU time that the guest took.
    pub cpu: Duration,
}

/// A policy that has passed every check on a throw-away instance, with a second instance waiting to be committed.
pub struct Prepared {
    pub(super) spec: PolicySpec,
    pub(super) fresh: Fresh,
    /// From the request to here.
    pub took: Duration,
}

impl Prepared {
    pub fn plugin(&self) -> &PluginName {
        &self.spec.plugin.name
    }

    pub fn slot(&self) -> Slot {
        self.spec.plugin.slot
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prepared({} in {:?})", self.plugin(), self.took)
    }
}

/// A plugin's state as a store has kept it, to begin from.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Version of the plugin that made it, and its bytes; none where only reports are kept.
    pub snapshot: Option<(String, Arc<[u8]>)>,
    /// The last report that is in it, by its event's id.
    pub reported: Option<Arc<str>>,
    /// [`Request::Feedback`] since, in order, each with its time.
    pub reports: Vec<(Micros, Request)>,
}

/// The last snapshot of the generation in force, for a store to keep.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub generation: Generation,
    /// Whose it is; the version may be an earlier one's, until the first snapshot of its own.
    pub plugin: PluginName,
    pub version: String,
    pub state: Arc<[u8]>,
    /// The last report that is in it, by its event's id.
    pub reported: Option<Arc<str>>,
    pub taken_at: Micros,
}

/// The version that a rollback returns to.
struct Previous {
    spec: PolicySpec,
    saved: Saved,
}

/// What others may know of a slot.
#[derive(Clone, Debug, Default)]
pub struct SlotStatus {
    pub generation: Option<Generation>,
    pub plugin: Option<PluginName>,
    pub config: Option<Arc<str>>,
    /// Whether a warm instance stands ready.
    pub serving: bool,
    /// What a rollback would return to.
    pub previous: Option<PluginName>,
    pub retiring: usize,
    pub calls: u64,
    pub faults: u64,
    pub restarts: u64,
    pub cpu: Duration,
    pub cpu_last: Duration,
    /// Bytes of linear memory of the instance in force.
    pub memory: usize,
    pub log_dropped: u64,
    /// The threshold slot's last `current()`.
    pub current: Arc<[LabelThreshold]>,
    pub snapshot: Option<Snapshot>,
}

/// See the module's documentation.
pub struct SlotState {
    slot: Slot,
    config: SlotConfig,
    recorder: Option<Arc<Recorder>>,
    /// Oldest first; the last is in force.
    generations: VecDeque<Tenant>,
    previous: Option<Previous>,
    next: Generation,
    /// The newest capture time that was judged.
    judged_to: Micros,
    events: Vec<PolicyEvent>,
    pub(super) status: SlotStatus,
}

impl SlotState {
    pub fn new(slot: Slot, config: SlotConfig, recorder: Option<Arc<Recorder>>) -> Self {
        let status = SlotStatus::default();
        Self {
            slot,
            config,
            recorder,
            generations: VecDeque::new(),
            previous: None,
            next: Generation(0),
            judged_to: Micros::ZERO,
            events: Vec::new(),
            status,
        }
    }

    /// What happened since this was last asked, in order.
    pub fn take_events(&mut self) -> Vec<PolicyEvent> {
        std::mem::take(&mut self.events)
    }

    pub fn spec_in_force(&self) -> Option<&PolicySpec> {
        self.generations.back().map(|tenant| &tenant.spec)
    }

    fn event(&mut self, event: PolicyEvent) {
        event.count();
        if let Some(recorder) = &self.recorder {
            recorder.record(&Entry::Event(event.clone()));
        }
        self.events.push(event);
    }

    /// The generation in force stays, and everybody hears why.
    pub fn refuse(&mut self, plugin: Option<String>, stage: Stage, reason: impl Into<String>) {
        self.event(PolicyEvent::Refused { slot: self.slot, plugin, stage, reason: reason.into() });
    }

    /// Index of the generation that was in force for what was captured at `at`.
    fn in_force_at(&self, at: Micros) -> Result<usize, Fault> {
        if self.generations.is_empty() {
            return Err(Fault::NoPlugin);
        }
        self.generations.iter().rposition(|tenant| tenant.since.is_none_or(|since| at > since)).ok_or(Fault::Retired)
    }

    /// Answers a call, then does what the answer asks for: restart, rollback, a snapshot. `deliver` has the answer before that.
    pub fn call(&mut self, id: CallId, at: Micros, request: &Request, deliver: impl FnOnce(Answer)) {
        let newest = self.generations.len().checked_sub(1);
        let index = if request.is_judgement() { self.in_force_at(at) } else { newest.ok_or(Fault::NoPlugin) };
        let index = match index {
            Ok(index) => index,
            Err(fault) => {
                self.not_made(id, at, &fault);
                deliver(Answer { call: id, slot: self.slot, generation: None, at, result: Err(fault), cpu: Duration::ZERO });
                return;
            }
        };
        self.revive(index, at);
        if request.is_judgement() {
            self.judged_to = self.judged_to.max(at);
        }
        let tenant = &mut self.generations[index];
        let generation = tenant.generation;
        let since = Instant::now();
        let result = tenant.call(id, at, request);
        let wall = since.elapsed();
        let cpu = if tenant.instance.is_some() { tenant.last_cpu() } else { Duration::ZERO };
        tenant.meter.called(request.function(), result.as_ref().map_or_else(|fault| fault.kind(), |_| "ok"), cpu, wall);
        self.status.calls += 1;
        self.status.cpu += cpu;
        self.status.cpu_last = cpu;
        if result.is_ok()
            && let Some(previous) = &mut self.previous
        {
            previous.saved.note(at, request);
        }
        let fault = result.as_ref().err().cloned();
        let is_feedback = matches!(request, Request::Feedback { .. });
        deliver(Answer { call: id, slot: self.slot, generation: Some(generation), at, result, cpu });
        if let Some(fault) = fault {
            self.faulted(index, at, fault);
        } else if is_feedback {
            self.refresh_current(at);
        }
        if matches!(request, Request::SourceEnded { .. }) {
            self.tell_retiring(id, at, request);
        }
        self.keep_state(at);
        self.publish();
    }

    /// A call that no guest saw.
    pub fn not_made(&mut self, call: CallId, at: Micros, fault: &Fault) {
        metrics::counter!(meter::CALLS, "slot" => self.slot.as_str(), "plugin" => "none", "outcome" => fault.kind()).increment(1);
        if let Some(recorder) = &self.recorder {
            recorder.record(&Entry::NotMade { slot: self.slot, call, at, fault: fault.clone() });
        }
    }

    /// Tries a restart whose time has come.
    fn revive(&mut self, index: usize, at: Micros) {
        let tenant = &self.generations[index];
        if tenant.instance.is_none() && at >= tenant.backoff_until {
            self.restart(index, at);
        }
    }

    fn restart(&mut self, index: usize, at: Micros) {
        let tenant = &mut self.generations[index];
        match tenant.restart(at, &self.config.budgets) {
            Ok(state) => {
                let (generation, plugin) = (tenant.generation, tenant.plugin().clone());
                self.status.restarts += 1;
                self.event(PolicyEvent::Restarted { slot: self.slot, generation, plugin, at, state });
                if index + 1 == self.generations.len() {
                    self.refresh_current(at);
                }
            }
            Err(StartError::Fault(fault)) => self.note_fault(index, at, fault),
            Err(error) => self.note_fault(index, at, Fault::BadAnswer(error.to_string())),
        }
    }

    fn faulted(&mut self, index: usize, at: Micros, fault: Fault) {
        if !fault.costs_the_instance() {
            return;
        }
        self.note_fault(index, at, fault);
        let Some(tenant) = self.generations.get(index) else { return };
        if tenant.instance.is_none() && at >= tenant.backoff_until {
            self.restart(index, at);
        }
    }

    /// Counts a fault, drops the instance, and sets when it may start again; after too many the version before comes back.
    fn note_fault(&mut self, index: usize, at: Micros, fault: Fault) {
        self.status.faults += 1;
        let window = self.config.fault_window;
        let faults_max = self.config.faults_max;
        let tenant = &mut self.generations[index];
        tenant.lose();
        while tenant.faults.front().is_some_and(|first| at.saturating_sub(*first) > window) {
            tenant.faults.pop_front();
        }
        tenant.faults.push_back(at);
        let count = tenant.faults.len();
        // The window bounds the list only if time moves; it need not.
        if count > 64 {
            tenant.faults.pop_front();
        }
        if count > 1 {
            let wait = BACKOFF_MIN.0.saturating_mul(1 << (count - 2).min(16)).min(BACKOFF_MAX.0);
            tenant.backoff_until = at + Micros(wait);
        }
        let (generation, plugin) = (tenant.generation, tenant.plugin().clone());
        self.event(PolicyEvent::Faulted { slot: self.slot, generation, plugin, at, fault });
        let in_force = index + 1 == self.generations.len();
        if in_force && count >= faults_max && self.previous.is_some() {
            self.roll_back(at, true);
        }
    }

    fn tell_retiring(&mut self, id: CallId, at: Micros, request: &Request) {
        for index in 0..self.generations.len().saturating_sub(1) {
            if let Err(fault) = self.generations[index].call(id, at, request)
                && fault.costs_the_instance()
            {
                self.note_fault(index, at, fault);
            }
        }
    }

    /// Asks the threshold policy in force for its thresholds.
    fn refresh_current(&mut self, at: Micros) {
        if self.slot != Slot::Threshold {
            return;
        }
        let Some(tenant) = self.generations.back_mut() else { return };
        if tenant.instance.is_none() {
            return;
        }
        match tenant.current(at) {
            Ok(current) => self.status.current = current.into(),
            Err(fault) if fault.costs_the_instance() => self.note_fault(self.generations.len() - 1, at, fault),
            Err(_) => {}
        }
    }

    /// Takes a snapshot of the generation in force when the last is old.
    fn keep_state(&mut self, at: Micros) {
        let Some(tenant) = self.generations.back_mut() else { return };
        if tenant.instance.is_none() || !tenant.saved.wants_snapshot(at, self.config.snapshot_every) {
            return;
        }
        if let Err(fault) = tenant.snapshot(at)
            && fault.costs_the_instance()
        {
            // Do not ask again at once: the next attempt has its own time.
            tenant.saved.taken_at = at;
            self.faulted(self.generations.len() - 1, at, fault);
        }
    }

    /// Puts a prepared policy in force for everything captured after `commit_at`, or after what was judged already, if that is later.
    pub fn commit(&mut self, prepared: Prepared, commit_at: Micros) {
        self.commit_with(prepared, commit_at, None);
    }

    /// As [`SlotState::commit`]; the state is `kept`, if any, and not that of the plugin in force.
    pub fn commit_with(&mut self, prepared: Prepared, commit_at: Micros, kept: Option<Kept>) {
        let since = Instant::now();
        let plugin = prepared.plugin().clone();
        match self.try_commit(prepared, commit_at, kept) {
            Ok((generation, digest, commit_at, state)) => {
                let held = since.elapsed();
                metrics::histogram!(meter::COMMIT, "slot" => self.slot.as_str()).record(held.as_secs_f64());
                let held_us = held.as_micros() as u64;
                self.event(PolicyEvent::Committed { slot: self.slot, generation, plugin, digest, commit_at, state, held_us });
            }
            Err((stage, reason)) => self.refuse(Some(plugin.to_string()), stage, reason),
        }
        self.publish();
    }

    fn try_commit(
        &mut self,
        prepared: Prepared,
        commit_at: Micros,
        kept: Option<Kept>,
    ) -> Result<(Generation, super::catalog::Digest, Micros, StateFrom), (Stage, String)> {
        let Prepared { spec, fresh, .. } = prepared;
        if self.generations.len() > self.config.retiring_max {
            let reason = format!("{} earlier generations are still in use", self.generations.len() - 1);
            return Err((Stage::Commit, reason));
        }
        let (saved, state) = match kept {
            Some(kept) => (Saved::kept(kept, commit_at), StateFrom::Journal { replayed: 0 }),
            None => self.state_for(&spec, commit_at),
        };
        let digest = spec.plugin.digest;
        let (tenant, state) = self.bring_up(spec, fresh, commit_at, saved, state).map_err(|error| (Stage::Restore, error.to_string()))?;
        let since = tenant.since;
        self.previous = self.generations.back().map(|old| Previous { spec: old.spec.clone(), saved: old.saved.clone() });
        let generation = self.take_over(tenant, commit_at);
        Ok((generation, digest, since.unwrap_or(commit_at), state))
    }

    /// The state that a plugin may have: a snapshot of this moment if the one in force has the same name.
    fn state_for(&mut self, spec: &PolicySpec, at: Micros) -> (Saved, StateFrom) {
        let Some(old) = self.generations.back_mut() else { return (Saved::default(), StateFrom::Nothing) };
        let same = old.plugin().name() == spec.plugin.name.name();
        let before = old.plugin().clone();
        let taken = old.snapshot(at);
        let saved = old.saved.clone();
        let origin = match taken {
            Ok(()) => StateFrom::Live,
            Err(fault) => {
                if fault.costs_the_instance() {
                    self.faulted_quietly(at, fault);
                }
                StateFrom::Journal { replayed: 0 }
            }
        };
        if same { (saved, origin) } else { (Saved::empty(at), StateFrom::OtherPlugin { before }) }
    }

    /// A fault of the generation in force while it is being replaced: no rollback now, but it still serves what was captured before.
    fn faulted_quietly(&mut self, at: Micros, fault: Fault) {
        let index = self.generations.len() - 1;
        let previous = self.previous.take();
        self.faulted(index, at, fault);
        self.previous = previous;
    }

    fn bring_up(
        &mut self,
        spec: PolicySpec,
        fresh: Fresh,
        commit_at: Micros,
        saved: Saved,
        origin: StateFrom,
    ) -> Result<(Tenant, StateFrom), StartError> {
        // Never before the commit before it, or a frame would have no generation; nor before what the old one has judged already: a frame that
        // was captured while this commit was on its way here may have been asked about first.
        let commit_at_least = commit_at.max(self.judged_to);
        let since = self.generations.back().map(|old| old.since.map_or(commit_at_least, |since| since.max(commit_at_least)));
        let mut tenant = Tenant::adopt(self.slot, self.next, since, spec, fresh, self.recorder.clone());
        let resumed = tenant.resume(commit_at, saved)?;
        if self.slot == Slot::Threshold {
            self.status.current = tenant.current(commit_at)?.into();
        }
        let state = match (origin, resumed) {
            (StateFrom::Journal { .. }, resumed) => resumed,
            (origin, _) => origin,
        };
        Ok((tenant, state))
    }

    fn take_over(&mut self, tenant: Tenant, at: Micros) -> Generation {
        let generation = tenant.generation;
        self.next = Generation(generation.0 + 1);
        self.generations.push_back(tenant);
        // What it starts from is its first snapshot's worth; the cadence begins now.
        if let Some(tenant) = self.generations.back_mut() {
            tenant.saved.taken_at = at;
        }
        generation
    }

    /// Brings the version before back, for everything captured after `commit_at` as [`SlotState::commit`] has it, with its last snapshot and the reports since.
    pub fn roll_back(&mut self, commit_at: Micros, automatic: bool) {
        let Some(previous) = self.previous.take() else {
            self.refuse(None, Stage::Rollback, "there is no earlier version");
            self.publish();
            return;
        };
        let Previous { spec, saved } = previous;
        let plugin = spec.plugin.name.clone();
        let began = Fresh::start(&spec, commit_at, &self.config.budgets)
            .and_then(|fresh| self.bring_up(spec.clone(), fresh, commit_at, saved.clone(), StateFrom::Journal { replayed: 0 }));
        match began {
            Ok((tenant, state)) => {
                let since = tenant.since.unwrap_or(commit_at);
                // By hand one may go forward again; by itself the host does not return to what just failed.
                let old = self.generations.back().filter(|_| !automatic);
                self.previous = old.map(|old| Previous { spec: old.spec.clone(), saved: old.saved.clone() });
                let generation = self.take_over(tenant, commit_at);
                self.shed_retiring();
                self.event(PolicyEvent::RolledBack { slot: self.slot, generation, plugin, commit_at: since, automatic, state });
            }
            Err(error) => {
                self.previous = (!automatic).then_some(Previous { spec, saved });
                self.refuse(Some(plugin.to_string()), Stage::Rollback, error.to_string());
            }
        }
        self.publish();
    }

    /// A rollback may not be refused for want of room: the oldest retiring generations go instead.
    fn shed_retiring(&mut self) {
        while self.generations.len() > self.config.retiring_max + 1 {
            self.retire_oldest();
        }
    }

    fn retire_oldest(&mut self) {
        if let Some(tenant) = self.generations.pop_front() {
            self.event(PolicyEvent::Retired { slot: self.slot, generation: tenant.generation });
        }
    }

    /// Promise that nothing captured before `at` will be asked about any more: generations that only such frames need are dropped.
    pub fn retire_before(&mut self, at: Micros) {
        while self.generations.get(1).and_then(|successor| successor.since).is_some_and(|since| since < at) {
            self.retire_oldest();
        }
        self.publish();
    }

    fn publish(&mut self) {
        let newest = self.generations.back();
        self.status.generation = newest.map(|tenant| tenant.generation);
        self.status.plugin = newest.map(|tenant| tenant.plugin().clone());
        self.status.config = newest.map(|tenant| tenant.spec.config.clone());
        let instance = newest.and_then(|tenant| tenant.instance.as_ref());
        self.status.serving = instance.is_some();
        self.status.memory = instance.map(|instance| instance.memory()).unwrap_or_default();
        self.status.log_dropped = instance.map(|instance| instance.log_dropped()).unwrap_or_default();
        self.status.previous = self.previous.as_ref().map(|previous| previous.spec.plugin.name.clone());
        self.status.retiring = self.generations.len().saturating_sub(1);
        self.status.snapshot = newest.and_then(|tenant| {
            let (version, state) = tenant.saved.snapshot.clone()?;
            let (plugin, reported, taken_at) = (tenant.plugin().clone(), tenant.saved.reported.clone(), tenant.saved.taken_at);
            Some(Snapshot { generation: tenant.generation, plugin, version, state, reported, taken_at })
        });
    }

    /// Takes the instance in force away, as a trap would; it counts as one.
    pub fn kill(&mut self, at: Micros) {
        if let Some(newest) = self.generations.len().checked_sub(1) {
            self.faulted(newest, at, Fault::Trap("killed by hand".to_owned()));
        }
        self.publish();
    }

    /// Begins a recording, or ends one. It begins with an instance that is made anew from a snapshot of this moment, so that a replay
    /// starts from nothing but what is recorded; generations that retire are not in it.
    pub fn record(&mut self, recorder: Option<Arc<Recorder>>, at: Micros) {
        let begins = recorder.is_some();
        if begins {
            self.snapshot_now(at);
        }
        self.recorder = recorder.clone();
        let Some(newest) = self.generations.len().checked_sub(1) else { return };
        for (index, tenant) in self.generations.iter_mut().enumerate() {
            tenant.record_to(if index == newest { recorder.clone() } else { None });
        }
        if begins {
            self.restart(newest, at);
        }
        self.publish();
    }

    /// Takes a snapshot of the generation in force now: before its room ends, or when somebody wants to keep it.
    pub fn snapshot_now(&mut self, at: Micros) {
        if let Some(tenant) = self.generations.back_mut()
            && tenant.instance.is_some()
            && let Err(fault) = tenant.snapshot(at)
            && fault.costs_the_instance()
        {
            tenant.saved.taken_at = at;
            self.faulted(self.generations.len() - 1, at, fault);
        }
        self.publish();
    }
}
