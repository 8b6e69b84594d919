//! What goes into a policy and what comes out, in the host's own plain types. Nothing here knows of WebAssembly; `bindings` converts.
//!
//! They mirror the SDK's (`sdk/src/types.rs`) and stay apart: these carry the host's newtypes and are what recordings are written in, so
//! they outlive a version of the contract; the SDK's follow one, and are all that an author compiles to WebAssembly.
//!
//! Areas are fractions of the frame, times microseconds of the stream's clock, confidences, thresholds and severities 0..=1.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::geometry::Rect;
use crate::media::frame::Micros;
use crate::vision::detection::{Detection, Verdict};
pub use crate::vision::thumbnail::Thumbnail;

/// The three places of a room that a plugin can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    Cascade,
    Text,
    Threshold,
}

impl Slot {
    pub const ALL: [Slot; 3] = [Slot::Cascade, Slot::Text, Slot::Threshold];

    /// The word used in commands, configuration and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Slot::Cascade => "cascade",
            Slot::Text => "text",
            Slot::Threshold => "threshold",
        }
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Slot {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Slot::ALL
            .into_iter()
            .find(|slot| slot.as_str() == word)
            .ok_or_else(|| format!("`{word}` is no slot: use cascade, text or threshold"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    Camera,
    Screen,
    Microphone,
    Chat,
    Picture,
}

/// Where something came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub id: String,
    pub kind: SourceKind,
    /// Whoever is seen, heard or read there.
    pub owner: String,
}

/// What the host measured on every frame since the last look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hints {
    /// A hard cut lies between the last screened frame and this one.
    pub scene_cut: bool,
    /// Share of the picture's blocks that changed since the last looked-at frame, 0..=1.
    pub change: f32,
    /// Time since the last look with any detector; none before the stream's first.
    pub since_look: Option<Micros>,
    /// Where the things are now that the host follows because a verdict counted.
    pub trails: Vec<Rect>,
}

/// A cascade's answer for one detector. A detector that no screening names looks at the whole frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Screening {
    pub detector: String,
    pub look: bool,
    /// Where to look; empty means everywhere. Inside the frame.
    pub areas: Vec<Rect>,
    /// For people: which rule decided.
    pub reason: String,
}

/// Where a word is: on the screen, in the sound, or (typed text) nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Place {
    Nowhere,
    Area(Rect),
    Time { start: Micros, end: Micros },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    /// 0..=1.
    pub confidence: f32,
    pub place: Place,
}

/// Words said, shown or typed. A later `revision` of the same `id` replaces the earlier one; after `is_final` none follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Utterance {
    pub id: String,
    pub revision: u32,
    pub is_final: bool,
    pub source: Source,
    pub speaker: String,
    pub addressees: Vec<String>,
    pub reply_to: Option<String>,
    /// BCP 47.
    pub language: Option<String>,
    pub words: Vec<Word>,
}

impl Utterance {
    /// A final chat message of one speaker, split at white space: what `scrim judge` asks about.
    pub fn typed(id: impl Into<String>, text: &str) -> Self {
        let id = id.into();
        let word = |text: &str| Word { text: text.to_owned(), confidence: 1.0, place: Place::Nowhere };
        Self {
            source: Source { id: id.clone(), kind: SourceKind::Chat, owner: String::new() },
            id,
            revision: 0,
            is_final: true,
            speaker: String::new(),
            addressees: Vec::new(),
            reply_to: None,
            language: None,
            words: text.split_whitespace().map(word).collect(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    Profanity,
    Slur,
    Sexual,
    Threat,
    Harassment,
    SelfHarm,
    Other(String),
}

impl Category {
    /// The word of the contract, or the plugin's own.
    pub fn as_str(&self) -> &str {
        match self {
            Category::Profanity => "profanity",
            Category::Slur => "slur",
            Category::Sexual => "sexual",
            Category::Threat => "threat",
            Category::Harassment => "harassment",
            Category::SelfHarm => "self-harm",
            Category::Other(own) => own,
        }
    }
}

/// A text policy's answer: words `first .. first + count` of the utterance, always inside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub first: u32,
    pub count: u32,
    pub category: Category,
    pub severity: f32,
    pub confidence: f32,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelThreshold {
    pub detector: String,
    pub label: String,
    pub threshold: f32,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// JSON Schema (draft 2020-12) of what `configure` takes.
    pub config_schema: String,
}

/// Number of a call, chosen by the caller and given back with the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// Number of a slot's policy: 0 is the first, each commit and each rollback adds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u32);

/// One question to a slot's policy. Clones are cheap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    Screen { source: Arc<Source>, thumbnail: Arc<Thumbnail>, detectors: Vec<Arc<str>>, hints: Hints },
    Judge { utterance: Arc<Utterance> },
    Weigh { source: Arc<Source>, found: Vec<Detection> },
    Feedback { event_id: String, reporter: String, found: Detection, correct: bool },
    SourceEnded { source_id: String },
}

impl Request {
    /// The slot whose policy can answer; none for what every slot understands.
    pub fn slot(&self) -> Option<Slot> {
        match self {
            Request::Screen { .. } => Some(Slot::Cascade),
            Request::Judge { .. } => Some(Slot::Text),
            Request::Weigh { .. } | Request::Feedback { .. } => Some(Slot::Threshold),
            Request::SourceEnded { .. } => None,
        }
    }

    /// Whether the answer belongs to a captured moment, so that the generation in force then must give it.
    pub fn is_judgement(&self) -> bool {
        matches!(self, Request::Screen { .. } | Request::Judge { .. } | Request::Weigh { .. })
    }

    /// The function's name in the contract.
    pub fn function(&self) -> &'static str {
        match self {
            Request::Screen { .. } => "screen",
            Request::Judge { .. } => "judge",
            Request::Weigh { .. } => "weigh",
            Request::Feedback { .. } => "feedback",
            Request::SourceEnded { .. } => "source-ended",
        }
    }
}

/// A policy's answer, already checked: numbers are finite and in range, lists have the length they must have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Screen`].
    Screenings(Vec<Screening>),
    /// To [`Request::Judge`].
    Findings(Vec<Finding>),
    /// To [`Request::Weigh`]; one per detection, in the same order.
    Verdicts(Vec<Verdict>),
    /// To [`Request::Feedback`]: the thresholds that changed.
    Thresholds(Vec<LabelThreshold>),
    /// To [`Request::SourceEnded`].
    Done,
}

/// Why a call has no answer. The host's default stands in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    #[error("the plugin trapped: {0}")]
    Trap(String),
    #[error("the plugin used up its CPU time")]
    OutOfTime,
    #[error("the plugin asked for more memory than it may have")]
    OutOfMemory,
    #[error("the plugin's answer cannot be used: {0}")]
    BadAnswer(String),
    #[error("the plugin is being started again after a fault")]
    Restarting,
    #[error("the call waited past its deadline and was not made")]
    Expired,
    #[error("the generation that was in force at the call's time is gone")]
    Retired,
    #[error("this slot has no plugin")]
    NoPlugin,
    #[error("a `{0}` call was sent to another world's plugin")]
    WrongSlot(String),
    #[error("the host cannot run plugins now: {0}")]
    Host(String),
}

impl Fault {
    /// A word out of a fixed set, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Trap(_) => "trap",
            Fault::OutOfTime => "out_of_time",
            Fault::OutOfMemory => "out_of_memory",
            Fault::BadAnswer(_) => "bad_answer",
            Fault::Restarting => "restarting",
            Fault::Expired => "expired",
            Fault::Retired => "retired",
            Fault::NoPlugin => "no_plugin",
            Fault::WrongSlot(_) => "wrong_slot",
            Fault::Host(_) => "host",
        }
    }

    /// Whether the plugin is to blame, so that its instance must go.
    pub fn costs_the_instance(&self) -> bool {
        matches!(self, Fault::Trap(_) | Fault::OutOfTime | Fault::OutOfMemory | Fault::BadAnswer(_))
    }
}
