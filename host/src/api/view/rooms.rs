//! Rooms, their streams and their sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::learned::{HourView, LearnedView};
use crate::api::document::ROOM;
use crate::config::RoomSettings;
use crate::plugin::types::LabelThreshold;
use crate::serve::room::Room;
use crate::serve::stream::Stream;
use crate::store::{SessionCounts, SessionRow};

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

/// A live stream.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveView {
    pub session: Uuid,
    pub source: String,
    /// Whose it is.
    pub owner: String,
    /// `camera` or `screen`.
    pub kind: String,
    /// How its frames come: `socket`, `clip` or `livekit`.
    pub way: String,
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
    /// Its live streams, the oldest first; none while it is not live.
    pub live: Vec<LiveView>,
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
    /// Text in the picture is read and judged.
    pub read: bool,
    /// What is covered where text is found: `word`, `line` or `block`.
    pub text_mask: String,
    /// Speech is listened to and judged.
    pub listen: bool,
    pub chat: String,
    pub sound: String,
    pub mute_with: String,
    pub keep_text_h: u32,
    pub style: String,
    pub color: String,
    /// Labels that are covered, by detector; where it is empty every frame passes, because the room says so.
    pub detectors: BTreeMap<String, Vec<String>>,
}

impl RoomView {
    pub fn of(room: &Room) -> Self {
        let settled = room.settled();
        let config = &settled.config;
        let live = |live: &Arc<Stream>| {
            let tally = live.tally();
            let (width, height) = tally.size.unwrap_or_default();
            LiveView {
                session: live.session,
                source: live.source_id().to_owned(),
                owner: live.origin.source.owner.clone(),
                kind: crate::serve::word(&live.origin.source.kind),
                way: crate::serve::word(&live.origin.way),
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
        };
        let effective = EffectiveView {
            fail_mode: crate::serve::word(&config.room.fail_mode),
            delay_ms: config.delay().0,
            hold_ms: config.room.hold_ms.0,
            look_max_ms: room.look_max_ms(),
            skip_max_ms: config.room.skip_max_ms.0,
            sampler: config.room.sampler.to_string(),
            read: config.text.read,
            text_mask: crate::serve::word(&config.text.mask),
            listen: config.speech.listen,
            chat: crate::serve::word(&config.room.chat),
            sound: crate::serve::word(&config.room.sound),
            mute_with: crate::serve::word(&config.room.mute_with),
            keep_text_h: config.room.keep_text_h,
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
            live: room.streams().iter().map(live).collect(),
        }
    }
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
    /// As the policy names them now.
    pub thresholds: Vec<ThresholdView>,
    /// Every label of a detector that was reported, or seen in the last hour.
    pub labels: Vec<LearnedView>,
    /// What of the last hour was judged once more.
    pub hour: HourView,
    pub sessions: Vec<SessionView>,
}

/// One live stretch of a source.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    pub id: Uuid,
    pub source: String,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    /// Until now while it is live.
    pub duration_us: i64,
    pub frames: i64,
    pub covered: i64,
    /// Found by the auditor.
    pub exposed: i64,
    /// Who watch it over LiveKit now.
    pub viewers: u64,
    /// The most that watched it over LiveKit at once.
    pub peak: i64,
    /// All that were there or came over LiveKit, each time that they came.
    pub total: i64,
    pub end: Option<String>,
}

impl SessionView {
    /// As the store has it; `now` in Unix microseconds.
    fn stored(row: SessionRow, now: i64) -> Self {
        let SessionRow { id, source, started_at, ended_at, frames, covered, exposed, viewers_peak, viewers_total, end, .. } = row;
        let duration_us = ended_at.unwrap_or(now).saturating_sub(started_at);
        Self {
            id,
            source,
            started_at,
            ended_at,
            duration_us,
            frames,
            covered,
            exposed,
            viewers: 0,
            peak: viewers_peak,
            total: viewers_total,
            end,
        }
    }

    /// Those of a room; what is live is told as it is now, not as it was written down last.
    pub fn of(room: &Room, rows: Vec<SessionRow>) -> Vec<Self> {
        let (streams, now) = (room.streams(), room.shared.clock.unix_us());
        let view = |mut row: SessionRow| {
            let live = streams.iter().find(|stream| stream.session == row.id && row.ended_at.is_none());
            if let Some(stream) = live {
                let SessionCounts { frames, covered, exposed, viewers_peak, viewers_total } = stream.session_counts();
                row = SessionRow { frames, covered, exposed, viewers_peak, viewers_total, ..row };
            }
            let viewers = live.map_or(0, |stream| stream.tally().watched.now);
            Self { viewers, ..Self::stored(row, now) }
        };
        rows.into_iter().map(view).collect()
    }
}
