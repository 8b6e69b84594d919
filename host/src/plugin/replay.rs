//! Runs a recording again and tells where decisions differ. The same plugin on the same file never does.
//!
//! What a recorded instance went through is given to a fresh one: configuration, state, calls, reports. A fault that was recorded is not
//! run again (a deadline depends on the machine): it replays as itself, and costs the instance as it did then.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::catalog::{Digest, Loaded, PluginName};
use super::instance::{Budgets, PolicyInstance};
use super::record::{Entry, RecordError, Recording, Step};
use super::types::{CallId, Fault, Generation, Slot};
use crate::media::frame::Micros;

/// Differences that are kept in full; all are counted.
const DIFFERENCES_MAX: usize = 1000;

/// Which generations of the recording are run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of this very plugin (by digest), if it is in the recording; otherwise every one of its slot.
    Auto,
    /// Every generation of the plugin's slot, as if this plugin had been in force all along.
    All,
}

/// One step whose outcome was another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    pub generation: Generation,
    /// None for steps that are no call.
    pub call: Option<CallId>,
    pub at: Micros,
    pub function: String,
    pub recorded: String,
    pub replayed: String,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionDiff {
    /// Judgements and other steps that were run again.
    pub steps: u64,
    pub same: u64,
    pub differing: u64,
    /// Faults that were recorded and stand as they are.
    pub faults: u64,
    /// Answers that came too late when they were recorded.
    pub late: u64,
    /// Steps of other plugins in the same slot, left out.
    pub others: u64,
    /// Whether the recording ends early because it was full.
    pub full: bool,
    /// The first of the differences.
    pub differences: Vec<Difference>,
}

impl DecisionDiff {
    pub fn is_empty(&self) -> bool {
        self.differing == 0
    }
}

impl std::fmt::Display for DecisionDiff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for difference in &self.differences {
            let Difference { generation, at, function, recorded, replayed, .. } = difference;
            writeln!(f, "at {:.3} s, generation {}, {function}:", at.0 as f64 / 1e6, generation.0)?;
            writeln!(f, "  - {recorded}")?;
            writeln!(f, "  + {replayed}")?;
        }
        write!(f, "{} steps: {} the same, {} differ", self.steps, self.same, self.differing)?;
        write!(f, "; {} recorded faults, {} late answers, {} steps of other plugins", self.faults, self.late, self.others)?;
        if self.full { write!(f, "; the recording was full and ends early") } else { Ok(()) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("the recording holds nothing of a {0} policy")]
    Nothing(Slot),
    #[error("generation {generation} at {at} us: {fault}, where none was recorded")]
    Start { generation: u32, at: u64, fault: Fault },
}

/// Runs the plugin on everything that a file recorded of its slot.
pub fn replay(plugin: &Arc<Loaded>, file: &Path, scope: Scope, budgets: &Budgets) -> Result<DecisionDiff, ReplayError> {
    let only = if scope == Scope::Auto && holds(plugin, file)? { Some(plugin.digest) } else { None };
    let mut player = Player { plugin, budgets, only, instances: HashMap::new(), diff: DecisionDiff::default() };
    for entry in Recording::open(file)? {
        player.entry(entry?)?;
    }
    let diff = player.diff;
    if diff.steps + diff.faults + diff.others == 0 { Err(ReplayError::Nothing(plugin.slot)) } else { Ok(diff) }
}

/// Which plugins a file recorded.
pub fn recorded_plugins(file: &Path) -> Result<Vec<(Slot, PluginName, Digest)>, RecordError> {
    let mut plugins = Vec::new();
    for entry in Recording::open(file)? {
        if let Entry::Step { slot, step: Step::Started { plugin, digest, .. }, .. } = entry?
            && !plugins.iter().any(|(at, _, known)| (*at, *known) == (slot, digest))
        {
            plugins.push((slot, plugin, digest));
        }
    }
    Ok(plugins)
}

fn holds(plugin: &Loaded, file: &Path) -> Result<bool, RecordError> {
    Ok(recorded_plugins(file)?.iter().any(|(slot, _, digest)| *slot == plugin.slot && *digest == plugin.digest))
}

enum Seat {
    Playing(Box<PolicyInstance>),
    /// A fault took it, then or now.
    Lost,
    /// Another plugin's.
    Other,
}

struct Player<'a> {
    plugin: &'a Arc<Loaded>,
    budgets: &'a Budgets,
    only: Option<Digest>,
    instances: HashMap<Generation, Seat>,
    diff: DecisionDiff,
}

impl Player<'_> {
    fn entry(&mut self, entry: Entry) -> Result<(), ReplayError> {
        match entry {
            Entry::Step { slot, generation, step } if slot == self.plugin.slot => self.step(generation, step)?,
            Entry::NotMade { slot, .. } if slot == self.plugin.slot => self.diff.faults += 1,
            Entry::Late { slot, .. } if slot == self.plugin.slot => self.diff.late += 1,
            Entry::Full => self.diff.full = true,
            Entry::Step { .. } | Entry::NotMade { .. } | Entry::Late { .. } | Entry::Event(_) => {}
        }
        Ok(())
    }

    fn step(&mut self, generation: Generation, step: Step) -> Result<(), ReplayError> {
        match step {
            Step::Started { digest, at, .. } => {
                let seat = if self.only.is_some_and(|only| only != digest) {
                    Seat::Other
                } else {
                    let start = |fault| ReplayError::Start { generation: generation.0, at: at.0, fault };
                    Seat::Playing(Box::new(PolicyInstance::start(self.plugin, at, self.budgets).map_err(start)?))
                };
                self.instances.insert(generation, seat);
            }
            Step::Configured { at, config, result } => {
                self.compare(generation, None, at, "configure", result, |instance| instance.configure(at, &config));
            }
            Step::Restored { at, from_version, state, result } => {
                self.compare(generation, None, at, "restore", result, |instance| instance.restore(at, &from_version, &state));
            }
            Step::Called { call, at, request, result } => {
                self.compare(generation, Some(call), at, request.function(), result, |instance| instance.call(at, &request));
            }
            Step::Replayed { at, request, result } => {
                self.compare(generation, None, at, request.function(), result, |instance| instance.call(at, &request));
            }
            Step::Current { at, result } => self.compare(generation, None, at, "current", result, |instance| instance.current(at)),
            Step::Snapshotted { at, result } => self.compare(generation, None, at, "snapshot", result, |instance| instance.snapshot(at)),
        }
        Ok(())
    }

    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        generation: Generation,
        call: Option<CallId>,
        at: Micros,
        function: &str,
        recorded: Result<T, Fault>,
        run: impl FnOnce(&mut PolicyInstance) -> Result<T, Fault>,
    ) {
        let Some(seat) = self.instances.get_mut(&generation) else {
            self.diff.others += 1;
            return;
        };
        let replayed = match (seat, &recorded) {
            (Seat::Other, _) => {
                self.diff.others += 1;
                return;
            }
            (seat, Err(fault)) => {
                if fault.costs_the_instance() {
                    *seat = Seat::Lost;
                }
                self.diff.faults += 1;
                return;
            }
            (Seat::Lost, Ok(_)) => Err(Fault::Restarting),
            (Seat::Playing(instance), Ok(_)) => run(instance),
        };
        self.diff.steps += 1;
        if replayed == recorded {
            self.diff.same += 1;
            return;
        }
        self.diff.differing += 1;
        if self.diff.differences.len() < DIFFERENCES_MAX {
            let (recorded, replayed) = (outcome(&recorded), outcome(&replayed));
            self.diff.differences.push(Difference { generation, call, at, function: function.to_owned(), recorded, replayed });
        }
    }
}

fn outcome<T: std::fmt::Debug>(result: &Result<T, Fault>) -> String {
    const CHARS_MAX: usize = 400;
    let text = match result {
        Ok(answer) => format!("{answer:?}"),
        Err(fault) => fault.to_string(),
    };
    if text.chars().count() > CHARS_MAX { text.chars().take(CHARS_MAX).chain(['…']).collect() } else { text }
}
