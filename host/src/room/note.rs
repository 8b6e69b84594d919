//! What happened in a room, told to whoever shows, counts or keeps it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::look::Why;
use super::request::LookId;
use super::transcript::Transcript;
use crate::media::frame::{FrameSeq, Micros};
use crate::plugin::events::PolicyEvent;
use crate::plugin::types::{self, Generation, Slot, Utterance};
use crate::vision::detection::{Detection, Verdict};

/// What a policy, or the host in its place, decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Decision {
    pub slot: Slot,
    pub seq: FrameSeq,
    /// Capture time of the frame.
    pub at: Micros,
    /// None: the host's default.
    pub generation: Option<Generation>,
    pub plugin: Option<String>,
    /// What was decided and by which rule, for people.
    pub summary: String,
    /// Why the default stood in.
    pub fault: Option<String>,
    pub cpu_us: u64,
}

/// One look's outcome.
#[derive(Clone, Debug)]
pub struct Looking {
    pub id: LookId,
    pub why: Why,
    pub found: Result<Vec<Detection>, String>,
    pub waited: Duration,
    pub ran: Duration,
}

/// What counts of a look's detections, one verdict each.
#[derive(Clone, Debug)]
pub struct Weighing {
    pub id: LookId,
    pub detections: Vec<Detection>,
    pub verdicts: Vec<Verdict>,
}

/// Where words come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    Screen,
    Speech,
}

/// Something that a text policy found, and what the threshold policy made of it.
#[derive(Clone, Debug)]
pub struct Finding {
    pub finding: types::Finding,
    /// The same as a detection: the label is the category.
    pub detection: Detection,
    pub verdict: Verdict,
}

/// One judgement of an utterance.
#[derive(Clone, Debug)]
pub struct Judging {
    pub medium: Medium,
    /// Capture time of what was judged.
    pub at: Micros,
    /// What was said or shown. Whoever hears of it tells, logs and keeps no word, unless somebody asked for that.
    pub utterance: Arc<Utterance>,
    pub findings: Vec<Finding>,
    /// Why it was not judged.
    pub fault: Option<String>,
    /// Where whoever runs the source wants one. Then the findings' reasons are masked too.
    pub transcript: Option<Transcript>,
}

/// What happened, in order.
#[derive(Clone, Debug)]
pub enum Note {
    Decision(Decision),
    Look(Looking),
    /// The cascade said that this detector need not look.
    Skipped {
        seq: FrameSeq,
        detector: Arc<str>,
    },
    Weighed(Weighing),
    Judged(Judging),
    Event(PolicyEvent),
}

/// Told of everything that happens, from any thread; must not block.
pub type Observer = Arc<dyn Fn(Note) + Send + Sync>;
