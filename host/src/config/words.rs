//! Words that are shown and said: what a room does about them.

use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Millis, nz};
use crate::room::settings::{MaskUnit, TextSettings};

/// Text in the picture: what is read goes to the text policy, and what that finds is covered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Text {
    /// `true`: text is read, and what changed and is not read yet is covered where `fail_mode` is `closed`. `false`: it passes.
    pub read: bool,
    /// How far viewers of a room that reads are behind, ms; `room.delay_ms` where that is more. Less leaves more new text covered until it is read.
    #[schemars(range(min = 67, max = 10_000))]
    pub delay_ms: Millis,
    /// The shortest time between two reads of a picture that goes on changing, ms. Less finds more of what moves fast, and costs more.
    #[schemars(range(min = 100, max = 10_000))]
    pub every_ms: Millis,
    /// How long one read may take, waiting included, ms.
    #[schemars(range(min = 50, max = 10_000))]
    pub budget_ms: Millis,
    /// What is covered where something is found: the `word`, its `line`, or the `block` of lines that it is in.
    pub mask: MaskUnit,
    /// Readers of the whole host, each a thread.
    #[schemars(range(max = 64))]
    pub readers: NonZeroU32,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            // Two networks' memory and half a core a source is not taken without being asked for.
            read: false,
            // Two intervals and a whole frame's read.
            delay_ms: Millis(1200),
            // With a read of 250 ms and a delay of a second, what scrolls in is read before it leaves.
            every_ms: Millis(400),
            // Three times what a frame full of new text takes here.
            budget_ms: Millis(600),
            // What stands beside it is worth reading.
            mask: MaskUnit::Word,
            readers: nz(1),
        }
    }
}

impl Text {
    pub(super) fn settings(&self) -> Option<TextSettings> {
        let rule = TextSettings { every: self.every_ms.micros(), budget: self.budget_ms.micros(), mask: self.mask };
        self.read.then_some(rule)
    }
}

/// What is said: what is recognised goes to the text policy, and what that finds is muted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Speech {
    /// `true`: speech is listened to, and sound leaves only as far as it has been heard and judged; what is beyond goes by `fail_mode`. `false`: it goes by `room.sound`.
    pub listen: bool,
    /// How far viewers of a room that listens are behind, sound and picture alike, ms; `room.delay_ms` where that is more. Less lets more words out before they are known.
    #[schemars(range(min = 67, max = 10_000))]
    pub delay_ms: Millis,
    /// Recognisers of the whole host, each a thread.
    #[schemars(range(max = 64))]
    pub recognisers: NonZeroU32,
    /// Folder of a Whisper of your own, as Hugging Face's Optimum exports it. Absent: tiny.en, which set-up fetches.
    pub model: Option<PathBuf>,
    /// Words that are listened for, those that matter most first: what is like the first nine is likelier to be heard. Absent: strong English ones. An empty list: none.
    #[schemars(length(max = 256))]
    pub favour: Option<Vec<String>>,
}

impl Default for Speech {
    fn default() -> Self {
        Self {
            // A recogniser's memory and a third of a core a speaker are not taken without being asked for.
            listen: false,
            // The curve in docs/measured.md: with less, words are known only after they have left.
            delay_ms: Millis(3000),
            recognisers: nz(1),
            model: None,
            favour: None,
        }
    }
}
