//! What happens to a slot's policies, for the report, the store and the room's admins.

use serde::{Deserialize, Serialize};

use super::catalog::{Digest, PluginName};
use super::meter;
use super::types::{Fault, Generation, Slot};
use crate::media::frame::Micros;

/// Where a swap stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Found, read, checked, compiled, described.
    Load,
    /// It fills another slot.
    Slot,
    Instantiate,
    Configure,
    Smoke,
    Restore,
    /// Too many generations are still in use.
    Commit,
    /// No earlier version to go back to, or it does not start.
    Rollback,
    /// No candidate is in the shadow slot, or it is gone.
    Shadow,
}

impl Stage {
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Load => "load",
            Stage::Slot => "slot",
            Stage::Instantiate => "instantiate",
            Stage::Configure => "configure",
            Stage::Smoke => "smoke",
            Stage::Restore => "restore",
            Stage::Commit => "commit",
            Stage::Rollback => "rollback",
            Stage::Shadow => "shadow",
        }
    }
}

/// Where an instance's state came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateFrom {
    /// It is the slot's first, or there was nothing to restore.
    Nothing,
    /// The plugin before it has another name, so its state was not given on.
    OtherPlugin { before: PluginName },
    /// A snapshot taken in the same moment.
    Live,
    /// The last snapshot, and so many reports of the journal since.
    Journal { replayed: u32 },
}

/// Something that happened to one slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyEvent {
    /// A new generation is in force for everything captured after `commit_at`.
    Committed {
        slot: Slot,
        generation: Generation,
        plugin: PluginName,
        digest: Digest,
        commit_at: Micros,
        state: StateFrom,
        held_us: u64,
    },
    /// The same, to the version before.
    RolledBack {
        slot: Slot,
        generation: Generation,
        plugin: PluginName,
        commit_at: Micros,
        automatic: bool,
        state: StateFrom,
    },
    /// The generation in force stays.
    Refused {
        slot: Slot,
        plugin: Option<String>,
        stage: Stage,
        reason: String,
    },
    /// An instance was lost.
    Faulted {
        slot: Slot,
        generation: Generation,
        plugin: PluginName,
        at: Micros,
        fault: Fault,
    },
    Restarted {
        slot: Slot,
        generation: Generation,
        plugin: PluginName,
        at: Micros,
        state: StateFrom,
    },
    /// A generation that nothing can ask any more was dropped.
    Retired {
        slot: Slot,
        generation: Generation,
    },
    ShadowStarted {
        slot: Slot,
        plugin: PluginName,
    },
    ShadowEnded {
        slot: Slot,
        plugin: PluginName,
        why: String,
        agreed: u64,
        differed: u64,
        faulted: u64,
        shed: u64,
    },
}

impl PolicyEvent {
    pub fn slot(&self) -> Slot {
        match self {
            PolicyEvent::Committed { slot, .. }
            | PolicyEvent::RolledBack { slot, .. }
            | PolicyEvent::Refused { slot, .. }
            | PolicyEvent::Faulted { slot, .. }
            | PolicyEvent::Restarted { slot, .. }
            | PolicyEvent::Retired { slot, .. }
            | PolicyEvent::ShadowStarted { slot, .. }
            | PolicyEvent::ShadowEnded { slot, .. } => *slot,
        }
    }

    /// Counts it.
    pub(super) fn count(&self) {
        let slot = self.slot().as_str();
        let swap = |outcome: &'static str| metrics::counter!(meter::SWAPS, "slot" => slot, "outcome" => outcome).increment(1);
        match self {
            PolicyEvent::Committed { .. } => swap("committed"),
            PolicyEvent::RolledBack { automatic: true, .. } => swap("rolled_back_by_itself"),
            PolicyEvent::RolledBack { .. } => swap("rolled_back"),
            PolicyEvent::Refused { stage, .. } => {
                swap("refused");
                metrics::counter!(meter::REFUSED, "slot" => slot, "stage" => stage.as_str()).increment(1);
            }
            PolicyEvent::Faulted { fault, plugin, .. } => {
                let plugin = plugin.to_string();
                metrics::counter!(meter::FAULTS, "slot" => slot, "plugin" => plugin, "kind" => fault.kind()).increment(1);
            }
            PolicyEvent::Restarted { plugin, .. } => {
                metrics::counter!(meter::RESTARTS, "slot" => slot, "plugin" => plugin.to_string()).increment(1);
            }
            PolicyEvent::Retired { .. } => metrics::counter!(meter::RETIRED, "slot" => slot).increment(1),
            PolicyEvent::ShadowStarted { .. } | PolicyEvent::ShadowEnded { .. } => {}
        }
    }
}
