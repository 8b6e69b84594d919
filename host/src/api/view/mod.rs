//! What the service says and hears, as JSON. Times are microseconds since the Unix epoch; areas are fractions of the frame.

mod content;
mod learned;
mod livekit;
mod policy;
mod rooms;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use self::content::{
    AFTER_MAX, CascadeChoice, DetectionView, EventPage, EventQuery, EventView, FailedView, FeedbackView, FindingView, MessageVerdict,
    NewFeedback, NewMessage, PictureQuery, PictureVerdict, RecordingView,
};
pub use self::learned::HourView;
pub use self::livekit::{
    AudienceView, HeardView, MUTES_MAX, NewJudged, NewMute, NewPost, NewToken, PostedView, RoomsQuery, TokenRole, TokenView,
};
pub use self::policy::{NewPolicy, PLUGIN, PluginView, PolicyView};
pub use self::rooms::{NewRoom, ReportView, RoomChanges, RoomView, SessionView, ThresholdView};
use crate::geometry::Rect;
use crate::plugin::types::Slot;

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

/// Bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "for the document alone")]
pub struct Binary(Vec<u8>);

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
