//! What goes in and out of a policy: plain Rust types, the same natively and in WebAssembly, one for each record of `wit/policy.wit`.
//!
//! The host's own (`host/src/plugin/types.rs`) stay apart, so that a plugin compiles none of the host, and the host may run plugins of
//! several contracts.
//!
//! Areas are fractions of the frame (0..=1, origin top left), times are microseconds of the room's clock, confidences, thresholds
//! and severities are 0..=1.

use serde::{Deserialize, Serialize};

/// What kind of thing a [`Source`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

/// A small 4:2:0 picture, full range BT.601, rows without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    pub width: u32,
    pub height: u32,
    /// `width × height` bytes.
    pub y: Vec<u8>,
    /// `⌈width/2⌉ × ⌈height/2⌉` bytes.
    pub cb: Vec<u8>,
    /// `⌈width/2⌉ × ⌈height/2⌉` bytes.
    pub cr: Vec<u8>,
}

impl Thumbnail {
    /// Width and height of the two chroma planes in pixels.
    pub fn chroma_size(&self) -> (u32, u32) {
        (self.width.div_ceil(2), self.height.div_ceil(2))
    }

    /// One colour everywhere (full range BT.601), for tests.
    pub fn filled(width: u32, height: u32, y: u8, cb: u8, cr: u8) -> Self {
        let chroma = width.div_ceil(2) as usize * height.div_ceil(2) as usize;
        Self { width, height, y: vec![y; width as usize * height as usize], cb: vec![cb; chroma], cr: vec![cr; chroma] }
    }
}

/// An area as fractions of the frame, origin top left.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rect {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

impl Rect {
    /// The whole frame.
    pub const FULL: Self = Self { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
}

/// What the host measured on every frame since the last look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hints {
    /// A hard cut lies between the last screened frame and this one.
    pub scene_cut: bool,
    /// Share of the picture's blocks that changed since the last looked-at frame, 0..=1.
    pub change: f32,
    /// Time since the last look with any detector; none before the stream's first.
    pub since_look_us: Option<u64>,
    /// Where the things are now that the host follows because a verdict counted.
    pub trails: Vec<Rect>,
}

/// A cascade's answer for one detector. A detector that no answer names looks at the whole frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Screening {
    pub detector: String,
    pub look: bool,
    /// Where to look, as a hint to detectors that can use it; empty means everywhere.
    pub areas: Vec<Rect>,
    /// For people: which rule decided.
    pub reason: String,
}

impl Screening {
    /// Asks `detector` to look at the whole frame.
    pub fn look(detector: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { detector: detector.into(), look: true, areas: Vec::new(), reason: reason.into() }
    }

    /// Asks `detector` to look, above all at `areas`.
    pub fn look_at(detector: impl Into<String>, areas: Vec<Rect>, reason: impl Into<String>) -> Self {
        Self { detector: detector.into(), look: true, areas, reason: reason.into() }
    }

    /// Lets `detector` pass over this frame.
    pub fn skip(detector: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { detector: detector.into(), look: false, areas: Vec::new(), reason: reason.into() }
    }
}

/// Something that a detector found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    pub detector: String,
    pub label: String,
    pub confidence: f32,
    /// None for a detector that judges the whole frame (or sound).
    pub area: Option<Rect>,
    /// The host's number for one thing followed through frames, unique within a source.
    pub trail: Option<u32>,
}

/// Whether a detection counts, and the threshold that it was held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub counts: bool,
    pub threshold: f32,
}

/// The room's threshold for one label of one detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelThreshold {
    pub detector: String,
    pub label: String,
    pub threshold: f32,
}

/// A stretch of the room's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSpan {
    pub start_us: u64,
    pub end_us: u64,
}

/// Where a word is: on the screen, in the sound, or (typed text) nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    Nowhere,
    Area(Rect),
    Time(TimeSpan),
}

/// One word of an [`Utterance`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    pub confidence: f32,
    pub place: Place,
}

impl Word {
    /// A typed word: certain, and nowhere.
    pub fn typed(text: impl Into<String>) -> Self {
        Self { text: text.into(), confidence: 1.0, place: Place::Nowhere }
    }
}

/// Words said, shown or typed. A later `revision` of the same `id` replaces the earlier one and what was found in it; after
/// `is_final` none follows. One without words has been taken back. What a source shows is spoken by its owner; whoever is replied to is
/// among the addressees.
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
    /// A final chat line, its words split at white space, for tests and tools.
    pub fn typed(speaker: impl Into<String>, text: &str) -> Self {
        let speaker = speaker.into();
        Self {
            id: "line".into(),
            revision: 0,
            is_final: true,
            source: Source { id: "chat".into(), kind: SourceKind::Chat, owner: speaker.clone() },
            speaker,
            addressees: Vec::new(),
            reply_to: None,
            language: None,
            words: text.split_whitespace().map(Word::typed).collect(),
        }
    }

    /// The words with single spaces between them.
    pub fn text(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(|word| word.text.as_str()).collect();
        words.join(" ")
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// Words `first .. first + count` of the utterance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordRange {
    pub first: u32,
    pub count: u32,
}

/// A text policy's answer about some words of an utterance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub words: WordRange,
    pub category: Category,
    pub severity: f32,
    pub confidence: f32,
    pub reason: String,
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
