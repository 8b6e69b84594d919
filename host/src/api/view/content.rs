//! What is judged in a room, and what comes of it: pictures, messages, reports, events, recordings.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Area, ThresholdView};
use crate::store::EventRow;

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

/// Something that happened in a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    pub id: Uuid,
    /// Grows, with gaps after a restart.
    pub seq: i64,
    pub at: i64,
    /// `policy`, `detection`, `stream_started`, `stream_ended`, `exposed`, `message`, `feedback`, `recording`, `room`, `livekit`, `mute`, `sound`.
    pub kind: String,
    #[schema(value_type = Object)]
    pub body: Value,
    /// What was said, typed or shown, where the room keeps it (`keep_text_h`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_until: Option<i64>,
}

impl EventView {
    /// As it may be shown at `now`, microseconds since the Unix epoch: the store forgets what is kept for a time some time after it.
    pub fn of(row: &EventRow, now: i64) -> Self {
        let kept = row.text.as_ref().filter(|kept| kept.until > now);
        Self {
            id: row.id,
            seq: row.seq,
            at: row.at,
            kind: row.kind.clone(),
            body: row.body.clone(),
            text: kept.map(|kept| kept.text.clone()),
            text_until: kept.map(|kept| kept.until),
        }
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
