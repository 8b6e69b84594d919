//! The seam between the batcher and whatever looks at pictures.

use std::sync::Arc;
use std::time::Duration;

use super::InferError;
use crate::media::frame::Frame;
use crate::vision::detection::Detection;

/// Looks at frames. One instance belongs to one thread; the batcher makes as many as it has workers.
pub trait Detector: Send {
    /// The name its detections carry, such as `nudenet-320n`.
    fn name(&self) -> &Arc<str>;

    /// Every label it can answer with.
    fn labels(&self) -> &[Arc<str>];

    /// The longest a look may take, waiting included. Invariant 1's arithmetic is done with it.
    fn look_budget(&self) -> Duration;

    /// One list per frame, in their order, strongest first: everything at or above the model's floor. Areas lie inside the frame.
    ///
    /// # Errors
    /// When the model could not run; none of these frames has then been looked at.
    fn detect(&mut self, frames: &[&Frame]) -> Result<Vec<Vec<Detection>>, InferError>;
}
