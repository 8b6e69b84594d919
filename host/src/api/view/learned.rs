//! What reports changed in a room.

use serde::Serialize;
use utoipa::ToSchema;

use crate::plugin::hindsight;
use crate::serve::learned::{self, Learned};

/// One label of a detector: what was reported, and what that changed. Findings in words have the detectors `text` and `speech`, and their
/// category as the label.
#[derive(Debug, Serialize, ToSchema)]
pub struct LearnedView {
    pub detector: String,
    pub label: String,
    /// Reports that the detection was right.
    pub right: i64,
    /// Reports that it was wrong.
    pub wrong: i64,
    /// The threshold now; null where the policy could not be asked.
    pub threshold: Option<f32>,
    /// The threshold by the policy's configuration alone, as it was before the first report.
    pub threshold_default: Option<f32>,
    /// Detections in the last hour.
    pub detections: u64,
    /// Of these, how many count with the threshold now.
    pub counted: u64,
    /// How many would have counted without reports, and do not.
    pub no_longer: u64,
    /// How many count, and would not have without reports.
    pub newly: u64,
}

/// What of the last hour was judged once more, as of now. It is kept in memory, so that a restart begins it anew.
#[derive(Debug, Serialize, ToSchema)]
pub struct HourView {
    /// `name@version` of the threshold policy that was asked; null where there is none.
    pub policy: Option<String>,
    /// Questions that it was asked: a look's detections, or an utterance's findings, each.
    pub inputs: u64,
    /// When the first of them was asked, Unix microseconds: at most an hour ago, later where there was no room for more or the host began.
    pub since: Option<i64>,
    /// Questions that could not be kept, since the host began: of too many labels or sources.
    pub left_out: u64,
    /// Why not all of it, or nothing, was judged once more.
    pub why_not: Option<String>,
}

impl HourView {
    pub fn of(learned: Learned) -> (Vec<LearnedView>, Self) {
        let label = |learned::Label { detector, label, right, wrong, hindsight }| {
            let (threshold, threshold_default) = hindsight.as_ref().map(|of| (of.threshold, of.untaught)).unzip();
            let hindsight::Label { detections, counted, no_longer, newly, .. } = hindsight.unwrap_or_default();
            LearnedView { detector, label, right, wrong, threshold, threshold_default, detections, counted, no_longer, newly }
        };
        let since = learned.since.map(|at| i64::try_from(at.0).unwrap_or(i64::MAX));
        let Learned { labels, policy, inputs, left_out, why_not, .. } = learned;
        (labels.into_iter().map(label).collect(), Self { policy, inputs, since, left_out, why_not })
    }
}
