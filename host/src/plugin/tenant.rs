//! A generation of a slot: its plugin, its warm instance, and what its state can be made again from.
//!
//! Every step into the guest goes through here, so every step is recorded. The keeper of a generation's state is the last snapshot and the
//! journal of reports since; both outlive the instance.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::catalog::{Loaded, PluginName};
use super::events::StateFrom;
use super::instance::{Budgets, PolicyInstance};
use super::meter::Meter;
use super::record::{Entry, Recorder, Step};
use super::slot::Kept;
use super::types::{CallId, Fault, Generation, LabelThreshold, Reply, Request, Slot};
use crate::media::frame::Micros;
use crate::telemetry::plugin_call_span;

/// Reports kept since the last snapshot; a snapshot is taken when half of it is full, so only a plugin whose snapshots fail loses any.
const JOURNAL_MAX: usize = 1024;

/// A plugin and its settings.
#[derive(Clone, Debug)]
pub struct PolicySpec {
    pub plugin: Arc<Loaded>,
    /// JSON that the plugin's schema accepts.
    pub config: Arc<str>,
}

/// What an instance's state can be made again from.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// Version of the plugin that made it, and its bytes.
    pub snapshot: Option<(String, Arc<[u8]>)>,
    pub taken_at: Micros,
    /// The last report that is in the snapshot, by its event's id.
    pub reported: Option<Arc<str>>,
    journal: VecDeque<(Micros, Request)>,
}

impl Saved {
    pub fn empty(at: Micros) -> Self {
        Self { taken_at: at, ..Self::default() }
    }

    /// What somebody else has kept: a snapshot and the reports since.
    pub fn kept(kept: Kept, at: Micros) -> Self {
        Self { snapshot: kept.snapshot, taken_at: at, reported: kept.reported, journal: kept.reports.into() }
    }

    /// A new snapshot, which holds everything that the journal held.
    fn take(&mut self, version: String, state: Vec<u8>, at: Micros) {
        if let Some((_, Request::Feedback { event_id, .. })) = self.journal.back() {
            self.reported = Some(event_id.as_str().into());
        }
        self.snapshot = Some((version, state.into()));
        self.taken_at = at;
        self.journal.clear();
    }

    /// Adds a report. The oldest goes when there are too many.
    pub fn note(&mut self, at: Micros, request: &Request) {
        if matches!(request, Request::Feedback { .. }) {
            if self.journal.len() == JOURNAL_MAX {
                self.journal.pop_front();
                metrics::counter!(super::meter::JOURNAL_DROPPED).increment(1);
            }
            self.journal.push_back((at, request.clone()));
        }
    }

    pub fn wants_snapshot(&self, at: Micros, every: Micros) -> bool {
        at.saturating_sub(self.taken_at) >= every || self.journal.len() >= JOURNAL_MAX / 2
    }
}

/// Why an instance could not be brought up.
#[derive(Debug)]
pub enum StartError {
    Fault(Fault),
    Configure(String),
    Restore(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Fault(fault) => write!(f, "{fault}"),
            StartError::Configure(why) => write!(f, "the plugin refuses its configuration: {why}"),
            StartError::Restore(why) => write!(f, "the plugin cannot read the state: {why}"),
        }
    }
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> Self {
        StartError::Fault(fault)
    }
}

/// A fresh, configured instance that no generation owns yet.
pub struct Fresh {
    pub instance: PolicyInstance,
    pub at: Micros,
}

impl Fresh {
    pub fn start(spec: &PolicySpec, at: Micros, budgets: &Budgets) -> Result<Self, StartError> {
        let mut instance = PolicyInstance::start(&spec.plugin, at, budgets)?;
        instance.configure(at, &spec.config)?.map_err(StartError::Configure)?;
        Ok(Self { instance, at })
    }
}

/// See the module's documentation.
pub struct Tenant {
    pub slot: Slot,
    pub generation: Generation,
    /// Answers for what was captured after it; none for a slot's first generation, which answers for everything.
    pub since: Option<Micros>,
    pub spec: PolicySpec,
    pub saved: Saved,
    pub instance: Option<PolicyInstance>,
    /// Capture times of the faults within the window.
    pub faults: VecDeque<Micros>,
    /// No restart is tried for calls before.
    pub backoff_until: Micros,
    pub meter: Meter,
    recorder: Option<Arc<Recorder>>,
}

impl Tenant {
    /// Takes over a fresh instance. Its start is recorded now, in the slot's own order.
    pub fn adopt(
        slot: Slot,
        generation: Generation,
        since: Option<Micros>,
        spec: PolicySpec,
        fresh: Fresh,
        recorder: Option<Arc<Recorder>>,
    ) -> Self {
        let meter = Meter::new(slot, &spec.plugin.name);
        let mut tenant = Self {
            slot,
            generation,
            since,
            spec,
            saved: Saved::empty(since.unwrap_or(fresh.at)),
            instance: None,
            faults: VecDeque::new(),
            backoff_until: Micros::ZERO,
            meter,
            recorder,
        };
        tenant.install(fresh);
        tenant
    }

    pub fn plugin(&self) -> &PluginName {
        &self.spec.plugin.name
    }

    fn install(&mut self, fresh: Fresh) {
        let Fresh { instance, at } = fresh;
        self.record(|tenant| Step::Started { plugin: tenant.plugin().clone(), digest: tenant.spec.plugin.digest, at });
        self.record(|tenant| Step::Configured { at, config: tenant.spec.config.to_string(), result: Ok(Ok(())) });
        self.meter.holds(instance.memory());
        self.instance = Some(instance);
    }

    /// Where its steps are recorded from now on.
    pub fn record_to(&mut self, recorder: Option<Arc<Recorder>>) {
        self.recorder = recorder;
    }

    fn record(&self, step: impl FnOnce(&Self) -> Step) {
        if let Some(recorder) = &self.recorder {
            recorder.record(&Entry::Step { slot: self.slot, generation: self.generation, step: step(self) });
        }
    }

    fn enter<T>(&mut self, call: impl FnOnce(&mut PolicyInstance) -> Result<T, Fault>) -> Result<T, Fault> {
        let Some(instance) = &mut self.instance else { return Err(Fault::Restarting) };
        let result = call(instance);
        self.meter.holds(instance.memory());
        result
    }

    pub fn call(&mut self, id: CallId, at: Micros, request: &Request) -> Result<Reply, Fault> {
        let _span = plugin_call_span(self.slot, self.plugin(), self.generation, request.function()).entered();
        let result = self.enter(|instance| instance.call(at, request));
        self.record(|_| Step::Called { call: id, at, request: request.clone(), result: result.clone() });
        if result.is_ok() {
            self.saved.note(at, request);
        }
        result
    }

    pub fn current(&mut self, at: Micros) -> Result<Vec<LabelThreshold>, Fault> {
        let result = self.enter(|instance| instance.current(at));
        self.record(|_| Step::Current { at, result: result.clone() });
        result
    }

    /// Takes a snapshot and keeps it; the journal starts anew.
    pub fn snapshot(&mut self, at: Micros) -> Result<(), Fault> {
        let result = self.enter(|instance| instance.snapshot(at));
        self.record(|_| Step::Snapshotted { at, result: result.clone() });
        let version = self.plugin().version().to_string();
        self.saved.take(version, result?, at);
        Ok(())
    }

    fn restore(&mut self, at: Micros, from_version: &str, state: &[u8]) -> Result<(), StartError> {
        let result = self.enter(|instance| instance.restore(at, from_version, state));
        self.record(|_| Step::Restored { at, from_version: from_version.to_owned(), state: state.to_vec(), result: result.clone() });
        result?.map_err(StartError::Restore)
    }

    /// Gives a kept state to the instance: the snapshot, then the journal. Both stay kept.
    pub fn resume(&mut self, at: Micros, saved: Saved) -> Result<StateFrom, StartError> {
        self.saved = saved;
        if let Some((version, state)) = self.saved.snapshot.clone() {
            self.restore(at, &version, &state)?;
        }
        let journal = self.saved.journal.clone();
        for (at, request) in &journal {
            let result = self.enter(|instance| instance.call(*at, request));
            self.record(|_| Step::Replayed { at: *at, request: request.clone(), result: result.clone() });
            result?;
        }
        Ok(match (&self.saved.snapshot, journal.len()) {
            (None, 0) => StateFrom::Nothing,
            (_, replayed) => StateFrom::Journal { replayed: replayed as u32 },
        })
    }

    /// Drops the instance, whose store a fault has poisoned.
    pub fn lose(&mut self) {
        self.instance = None;
        self.meter.holds(0);
    }

    /// Starts again with configuration, last snapshot and journal.
    pub fn restart(&mut self, at: Micros, budgets: &Budgets) -> Result<StateFrom, StartError> {
        self.install(Fresh::start(&self.spec, at, budgets)?);
        let saved = std::mem::take(&mut self.saved);
        let resumed = self.resume(at, saved);
        if resumed.is_err() {
            self.lose();
        }
        resumed
    }

    pub fn last_cpu(&self) -> Duration {
        self.instance.as_ref().map(PolicyInstance::last_cpu).unwrap_or_default()
    }
}
