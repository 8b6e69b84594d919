//! What leaves a [`Source`](super::source::Source): covered frames, and what it counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::channel::{Unjudged, Why};
use super::reading::TextCounts;
use super::settings::Settings;
use crate::geometry::Rect;
use crate::media::frame::Frame;

/// What a viewer sees of a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Cover {
    /// These areas are covered; none when the frame is clear.
    Masks(Vec<Rect>),
    /// All of it, since the room fails closed.
    Full { detector: Arc<str>, reason: Unjudged },
}

/// A frame that leaves the delay line.
#[derive(Clone, Debug)]
pub struct Published {
    pub frame: Frame,
    pub cover: Cover,
    /// Those of the masks that cover what is not read yet, or not judged.
    pub pending: Vec<Rect>,
    /// Set where an open room let an unjudged frame pass.
    pub passed_unjudged: Option<Unjudged>,
    pub shot: u32,
    /// What it was captured under: whether it is covered and how.
    pub settings: Arc<Settings>,
}

/// Counters of one source; all only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub captured: u64,
    pub published: u64,
    /// Left out because the delay became shorter.
    pub dropped: u64,
    pub cuts: u64,
    pub screened: u64,
    pub skipped: u64,
    pub looks: BTreeMap<Why, u64>,
    pub looks_failed: u64,
    pub looks_late: u64,
    pub full_covers: BTreeMap<Unjudged, u64>,
    pub passed_unjudged: u64,
    pub masked: u64,
    /// Frames whose masks were wider since looks were late.
    pub widened: u64,
    /// Of reading; all nought where no text is read.
    pub text: TextCounts,
}
