//! What the service says and hears, as JSON. Times are microseconds since the Unix epoch; areas are fractions of the frame.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use uuid::Uuid;

use super::document::ROOM;
use crate::config::RoomSettings;
use crate::geometry::Rect;
use crate::plugin::types::{LabelThreshold, Slot};
use crate::room::note::Decision;
use crate::room::policies::Policies;
use crate::serve::room::{Chosen, Origin, Room};
use crate::store::{EventRow, SessionRow};

/// A slot of a room's policies.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SlotName {
    Cascade,
    Text,
    Threshold,
}

impl From<SlotName> for Slot {
    fn from(name: SlotName) -> Self {
        match name {
            SlotName::Cascade => Slot::Cascade,
            SlotName::Text => Slot::Text,
            SlotName::Threshold => Slot::Threshold,
        }
    }
}

impl From<Slot> for SlotName {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Cascade => SlotName::Cascade,
            Slot::Text => SlotName::Text,
            Slot::Threshold => SlotName::Threshold,
        }
    }
}

/// An area, in fractions of the frame; origin top left.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Area {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

impl From<Rect> for Area {
    fn from(rect: Rect) -> Self {
        let Rect { x, y, width, height } = rect;
        Self { x, y, width, height }
    }
}

/// A room to be made.
#[derive(Debug, Deserialize)]
pub struct NewRoom {
    pub name: String,
    #[serde(flatten)]
    pub settings: RoomSettings,
}

impl PartialSchema for NewRoom {
    /// A room's settings with its name beside them.
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(ROOM))
            .description(Some("Letters, digits, `-`, `_` and `.`, a letter or digit first."))
            .examples(["studio"]);
        let RefOr::T(Schema::Object(mut settings)) = RoomSettings::schema() else { return RoomSettings::schema() };
        settings.description = Some("A room to be made: its name and what it sets for itself.".to_owned());
        settings.properties.insert("name".to_owned(), name.into());
        settings.required.push("name".to_owned());
        Schema::Object(settings).into()
    }
}

impl ToSchema for NewRoom {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        RoomSettings::schemas(schemas);
    }
}

/// Changes of a room's settings: a JSON merge patch.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct RoomChanges(pub serde_json::Map<String, Value>);

impl PartialSchema for RoomChanges {
    fn schema() -> RefOr<Schema> {
        RoomSettings::schema()
    }
}

impl ToSchema for RoomChanges {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        RoomSettings::schemas(schemas);
    }
}

/// Bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "for the document alone")]
pub struct Binary(Vec<u8>);

/// A live stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveView {
    pub session: Uuid,
    pub source: String,
    pub started_at: i64,
    pub width: usize,
    pub height: usize,
    /// Frames that came.
    pub received: u64,
    /// Of these, lost before they were judged or shown.
    pub dropped: u64,
    pub shown: u64,
    /// Of these, with masks or covered whole.
    pub covered: u64,
    /// Frames shown more than a frame's length after they were due.
    pub late: u64,
    pub looks: u64,
    /// Detectors that the cascade told not to look.
    pub skipped: u64,
    pub full_covers: BTreeMap<String, u64>,
    pub passed_unjudged: u64,
    /// Frames that the auditor looked at, and of these exposed ones.
    pub audited: u64,
    pub exposed: u64,
}

/// A room.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomView {
    pub name: String,
    pub id: Uuid,
    /// Also the `ETag`.
    pub revision: i64,
    pub created_at: i64,
    pub updated_at: i64,
    /// What the room sets for itself.
    pub settings: RoomSettings,
    /// What is in force, the host's settings included.
    pub effective: EffectiveView,
    /// Whether plugin instances stand ready.
    pub warm: bool,
    pub live: Option<LiveView>,
}

/// A room's settings in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct EffectiveView {
    pub fail_mode: String,
    pub delay_ms: u32,
    pub hold_ms: u32,
    /// Absent where no detector is enabled.
    pub look_max_ms: Option<u32>,
    pub skip_max_ms: u32,
    pub sampler: String,
    pub style: String,
    pub color: String,
    /// Labels that are covered, by detector; where it is empty every frame passes, because the room says so.
    pub detectors: BTreeMap<String, Vec<String>>,
}

impl RoomView {
    pub fn of(room: &Room) -> Self {
        let settled = room.settled();
        let config = &settled.config;
        let live = room.live().map(|live| {
            let tally = live.tally();
            let (width, height) = tally.size.unwrap_or_default();
            LiveView {
                session: live.session,
                source: live.source_id.clone(),
                started_at: live.started_at,
                width,
                height,
                received: tally.received,
                dropped: tally.dropped,
                shown: tally.shown,
                covered: tally.covered,
                late: tally.late,
                looks: tally.path.looks.values().sum(),
                skipped: tally.path.skipped,
                full_covers: tally.path.full_covers.iter().map(|(reason, count)| (crate::serve::word(reason), *count)).collect(),
                passed_unjudged: tally.path.passed_unjudged,
                audited: tally.audited,
                exposed: tally.exposed,
            }
        });
        let effective = EffectiveView {
            fail_mode: crate::serve::word(&config.room.fail_mode),
            delay_ms: config.room.delay_ms.0,
            hold_ms: config.room.hold_ms.0,
            look_max_ms: room.look_max_ms(),
            skip_max_ms: config.room.skip_max_ms.0,
            sampler: config.room.sampler.to_string(),
            style: crate::serve::word(&config.cover.style),
            color: config.cover.color.to_string(),
            detectors: config
                .detectors
                .iter()
                .map(|(name, detector)| (name.to_string(), detector.cover.iter().map(ToString::to_string).collect()))
                .collect(),
        };
        Self {
            name: room.name.to_string(),
            id: room.id,
            revision: settled.revision,
            created_at: room.created_at,
            updated_at: settled.updated_at,
            settings: settled.settings,
            effective,
            warm: room.policies_if_warm().is_some(),
            live,
        }
    }
}

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

/// Whether the cascade is asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CascadeChoice {
    #[default]
    On,
    Off,
}

/// How a picture is to be judged.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PictureQuery {
    /// Answer with the covered picture (JPEG) instead of the verdict; the verdict is then in the header `x-scrim-verdict`.
    #[serde(default)]
    pub cover: bool,
    /// `off`: every detector looks, whatever the cascade would say.
    #[serde(default)]
    #[param(inline)]
    pub cascade: CascadeChoice,
}

/// What was found in a picture.
#[derive(Debug, Serialize, ToSchema)]
pub struct DetectionView {
    pub detector: String,
    pub label: String,
    pub confidence: f32,
    /// Null: the whole picture.
    pub area: Option<Area>,
    /// By the threshold policy.
    pub counts: bool,
    pub threshold: f32,
    pub covered: bool,
    /// To report it by, where it counts.
    pub event_id: Option<Uuid>,
}

/// A detector without a result.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedView {
    pub detector: String,
    pub reason: String,
}

/// What became of a picture.
#[derive(Debug, Serialize, ToSchema)]
pub struct PictureVerdict {
    pub id: String,
    pub width: usize,
    pub height: usize,
    /// False if a detector has no result; the cover then follows the room's fail mode.
    pub judged: bool,
    /// `clear`, `masked` or `full`.
    pub cover: String,
    pub masks: Vec<Area>,
    pub detections: Vec<DetectionView>,
    pub looked: Vec<String>,
    pub skipped: Vec<String>,
    pub failed: Vec<FailedView>,
    /// From the body's arrival to the verdict, ms.
    pub took_ms: f64,
}

/// Somebody's name.
#[derive(ToSchema)]
#[schema(value_type = String, max_length = 256)]
#[expect(dead_code, reason = "for the document alone")]
pub struct Name(String);

/// What somebody typed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    #[schema(max_length = 10000, example = "what a lovely show")]
    pub text: String,
    #[schema(min_length = 1, max_length = 256, example = "ann")]
    pub author: String,
    /// The message that this one answers.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub reply_to: Option<String>,
    #[serde(default)]
    #[schema(max_items = 64, value_type = Vec<Name>)]
    pub mentions: Vec<String>,
}

/// Something a text policy found.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingView {
    pub category: String,
    pub severity: f32,
    pub confidence: f32,
    pub reason: String,
    /// Bytes of the text, half open.
    pub start: usize,
    pub end: usize,
}

/// What became of a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageVerdict {
    pub id: String,
    pub flagged: bool,
    /// False if the policy did not answer; a closed room then masks every word.
    pub judged: bool,
    pub findings: Vec<FindingView>,
    /// The text as others may read it.
    pub masked: String,
    pub fault: Option<String>,
}

/// A report of an event.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFeedback {
    /// A detection event's.
    pub event_id: Uuid,
    /// Whether it was right.
    pub correct: bool,
}

/// What a report changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedbackView {
    /// False: the event was reported before, and counts once.
    pub counted: bool,
    pub changed: Vec<ThresholdView>,
    /// Why the policy has not heard of it yet; it hears when it starts again.
    pub pending: Option<String>,
}

/// From which confidence a label counts.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThresholdView {
    pub detector: String,
    pub label: String,
    pub threshold: f32,
}

impl From<&LabelThreshold> for ThresholdView {
    fn from(threshold: &LabelThreshold) -> Self {
        Self { detector: threshold.detector.clone(), label: threshold.label.clone(), threshold: threshold.threshold }
    }
}

/// What a room has learned.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportView {
    pub room: String,
    /// Reports in the journal.
    pub reports: i64,
    pub thresholds: Vec<ThresholdView>,
    pub sessions: Vec<SessionView>,
}

/// One live stretch of a source.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    pub id: Uuid,
    pub source: String,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub frames: i64,
    pub covered: i64,
    /// Found by the auditor.
    pub exposed: i64,
    pub end: Option<String>,
}

impl From<SessionRow> for SessionView {
    fn from(row: SessionRow) -> Self {
        let SessionRow { id, source, started_at, ended_at, frames, covered, exposed, end, .. } = row;
        Self { id, source, started_at, ended_at, frames, covered, exposed, end }
    }
}

/// Something that happened in a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    pub id: Uuid,
    /// Grows, with gaps after a restart.
    pub seq: i64,
    pub at: i64,
    /// `policy`, `detection`, `stream_started`, `stream_ended`, `exposed`, `message`, `feedback`, `recording`, `room`.
    pub kind: String,
    #[schema(value_type = Object)]
    pub body: Value,
}

impl From<&EventRow> for EventView {
    fn from(row: &EventRow) -> Self {
        Self { id: row.id, seq: row.seq, at: row.at, kind: row.kind.clone(), body: row.body.clone() }
    }
}

/// The largest number that every JSON parser keeps exact.
pub const AFTER_MAX: i64 = (1 << 53) - 1;

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Those after this number.
    #[serde(default)]
    #[param(minimum = 0, maximum = 9007199254740991_i64)]
    pub after: i64,
    /// So many at most.
    #[serde(default = "page")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: u32,
}

fn page() -> u32 {
    100
}

/// A page of events, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventPage {
    pub events: Vec<EventView>,
    /// `after` of the next page.
    pub next: i64,
}

/// A recording.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordingView {
    pub id: Uuid,
    pub running: bool,
    pub bytes: u64,
    /// Entries that found no place.
    pub dropped: u64,
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

/// What a WebSocket is opened for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// Watch the stream instead of publishing it.
    #[serde(default)]
    pub watch: bool,
    /// What covered frames come as: `jpeg`, `i420` or `none` (verdicts alone).
    #[serde(default)]
    #[param(inline)]
    pub want: WantName,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WantName {
    #[default]
    Jpeg,
    I420,
    None,
}

/// How the host is.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthView {
    /// `ok` or `degraded`.
    pub status: String,
    /// Each dependency: what it is, and what is wrong with it.
    pub parts: BTreeMap<String, PartView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PartView {
    pub ok: bool,
    pub detail: String,
}
