//! What a [`Source`](super::source::Source) wants done and what it is answered. Times are of the stream's clock.

use std::sync::Arc;

use super::channel::Why;
use super::reading::JudgeId;
use crate::geometry::Rect;
use crate::infer::ocr::{Block, ReadWord};
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::vision::detection::{Detection, Verdict};

/// A look's name: the frame and the detector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookId {
    pub seq: FrameSeq,
    pub detector: Arc<str>,
}

/// What the host measured on the frames before a sampled one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SceneHints {
    pub scene_cut: bool,
    pub change: f32,
    pub since_look: Option<Micros>,
    pub trails: Vec<Rect>,
}

/// What the source wants done. Times are of the stream's clock.
#[derive(Clone, Debug)]
pub enum Request {
    /// Ask the cascade; answer with [`Source::screened`].
    Screen { frame: Frame, detectors: Vec<Arc<str>>, hints: SceneHints },
    /// Run a detector; answer with [`Source::looked`] or [`Source::failed`]. One that is late may be asked for a second time under
    /// the same name; the first answer counts.
    Look { id: LookId, frame: Frame, why: Why, deadline: Micros },
    /// Ask the threshold policy; answer with [`Source::weighed`]. Detections carry the trail they were matched with.
    Weigh { id: LookId, at: Micros, detections: Vec<Detection> },
    /// Read the text in these areas; answer with [`Answer::Read`] or [`Answer::ReadFailed`].
    Read { frame: Frame, within: Vec<Rect>, deadline: Micros },
    /// Ask the text policy, and the threshold policy about what it finds; answer with [`Answer::Judged`].
    Judge { id: JudgeId, at: Micros, is_final: bool, words: Vec<ReadWord> },
}

/// What was answered to a [`Request`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// The detectors that shall look; all of them where the cascade failed.
    Screened {
        seq: FrameSeq,
        look: Vec<Arc<str>>,
    },
    Looked {
        id: LookId,
        detections: Vec<Detection>,
    },
    Failed {
        id: LookId,
    },
    /// Verdicts in the order of the detections, by one generation of the threshold policy (0: the host's default).
    Weighed {
        id: LookId,
        generation: u64,
        verdicts: Vec<Verdict>,
    },
    Read {
        seq: FrameSeq,
        blocks: Vec<Block>,
    },
    ReadFailed {
        seq: FrameSeq,
    },
    /// One for each word that was asked about: whether it is to be covered. None where the policy failed.
    Judged {
        id: JudgeId,
        flagged: Option<Vec<bool>>,
    },
}
