//! What a detector says of a frame, and what the threshold policy makes of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::geometry::Rect;

/// One thing a detector found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The detector's name in the room, such as `nudity`.
    pub detector: Arc<str>,
    /// The model's label, such as `FACE_FEMALE`.
    pub label: Arc<str>,
    /// 0..=1.
    pub confidence: f32,
    /// `None`: the whole frame.
    pub area: Option<Rect>,
    /// The trail it was matched with when it was weighed.
    pub trail: Option<u32>,
}

/// The threshold policy's answer for one detection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub counts: bool,
    /// 0..=1, the threshold it was held against.
    pub threshold: f32,
}
