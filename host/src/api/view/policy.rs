//! Plugins, and the policies that rooms have of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::SlotName;
use crate::plugin::types::Slot;
use crate::room::note::Decision;
use crate::room::policies::Policies;
use crate::serve::room::{Chosen, Origin, Room};

/// Where a choice was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OriginName {
    Room,
    Global,
    File,
    Default,
}

/// Who decides in a slot.
#[derive(Debug, Serialize, ToSchema)]
pub struct PolicyView {
    pub slot: SlotName,
    /// `name@version`; null is the host's own default.
    pub plugin: Option<String>,
    #[schema(value_type = Object)]
    pub config: Value,
    /// The room, the global policy, `scrim.toml`, or nobody.
    pub origin: OriginName,
    /// Of the choice made here; 0 if none was. Also the `ETag`.
    pub revision: i64,
    /// What runs now; null while the room is idle.
    pub in_force: Option<InForceView>,
}

/// A slot's policy at work.
#[derive(Debug, Serialize, ToSchema)]
pub struct InForceView {
    pub plugin: Option<String>,
    pub generation: Option<u32>,
    /// Whether a warm instance stands ready; without one the host's default stands in.
    pub serving: bool,
    /// What a rollback would return to.
    pub previous: Option<String>,
    pub calls: u64,
    pub faults: u64,
    pub restarts: u64,
    /// Processor time of all calls and of the last, microseconds.
    pub cpu_us: u64,
    pub cpu_last_us: u64,
    /// Linear memory, bytes.
    pub memory: usize,
    pub shadow: Option<ShadowView>,
    pub last: Option<DecisionView>,
}

/// A candidate that sees what the plugin in force sees.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShadowView {
    pub plugin: String,
    pub agreed: u64,
    pub differed: u64,
    pub faulted: u64,
    pub shed: u64,
    pub cpu_us: u64,
}

/// What a policy, or the host in its place, last decided.
#[derive(Debug, Serialize, ToSchema)]
pub struct DecisionView {
    pub frame: u64,
    pub at: u64,
    pub plugin: Option<String>,
    pub generation: Option<u32>,
    /// What was decided and by which rule.
    pub summary: String,
    /// Why the host's default stood in.
    pub fault: Option<String>,
}

impl From<&Decision> for DecisionView {
    fn from(decision: &Decision) -> Self {
        Self {
            frame: decision.seq.0,
            at: decision.at.0,
            plugin: decision.plugin.clone(),
            generation: decision.generation.map(|generation| generation.0),
            summary: decision.summary.clone(),
            fault: decision.fault.clone(),
        }
    }
}

impl PolicyView {
    pub fn of(slot: Slot, chosen: Chosen, room: Option<&Room>) -> Self {
        let origin = match chosen.origin {
            Origin::Room => OriginName::Room,
            Origin::Global => OriginName::Global,
            Origin::File => OriginName::File,
            Origin::Default => OriginName::Default,
        };
        let in_force = room.and_then(|room| Some(in_force(slot, &room.policies_if_warm()?, room.latest().get(&slot))));
        Self { slot: slot.into(), plugin: chosen.plugin, config: chosen.config, origin, revision: chosen.revision, in_force }
    }
}

fn in_force(slot: Slot, policies: &Policies, last: Option<&Decision>) -> InForceView {
    let handle = policies.slot(slot);
    let status = handle.status();
    let shadow = handle.shadow_status().map(|(plugin, counts)| ShadowView {
        plugin: plugin.to_string(),
        agreed: counts.agreed,
        differed: counts.differed,
        faulted: counts.faulted,
        shed: counts.shed,
        cpu_us: counts.cpu_us,
    });
    InForceView {
        plugin: status.plugin.map(|plugin| plugin.to_string()),
        generation: status.generation.map(|generation| generation.0),
        serving: status.serving,
        previous: status.previous.map(|plugin| plugin.to_string()),
        calls: status.calls,
        faults: status.faults,
        restarts: status.restarts,
        cpu_us: status.cpu.as_micros() as u64,
        cpu_last_us: status.cpu_last.as_micros() as u64,
        memory: status.memory,
        shadow,
        last: last.map(DecisionView::from),
    }
}

/// How a plugin and its version are named.
pub const PLUGIN: &str = r"^[a-z0-9][a-z0-9-]{0,63}@[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}([-+][0-9A-Za-z.+-]{1,32})?$";

/// `NAME@VERSION`, for the document alone.
pub struct PluginId;

impl PartialSchema for PluginId {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(PLUGIN))
            .description(Some("NAME@VERSION, as `/v1/plugins` lists it."))
            .examples(["skin-cascade@2.0.0"]);
        Schema::Object(id.build()).into()
    }
}

impl ToSchema for PluginId {}

/// A plugin for a slot.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPolicy {
    #[schema(value_type = PluginId)]
    pub plugin: String,
    /// The plugin's own settings, checked against its schema.
    #[serde(default = "empty")]
    #[schema(value_type = Object)]
    pub config: serde_json::Map<String, Value>,
}

fn empty() -> serde_json::Map<String, Value> {
    serde_json::Map::new()
}

/// A plugin of the catalog.
#[derive(Debug, Serialize, ToSchema)]
pub struct PluginView {
    /// `name@version`.
    pub plugin: String,
    pub slot: SlotName,
    /// SHA-256 of the component.
    pub digest: String,
    pub size: usize,
    /// `sandbox`, or `wasi` for a component of another toolchain.
    pub class: String,
    /// JSON Schema of its settings.
    #[schema(value_type = Object)]
    pub config_schema: Value,
}
