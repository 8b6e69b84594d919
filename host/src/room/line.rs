//! The delay line: frames that were captured and have not left yet, in order, each with what is known of it by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use super::settings::Settings;
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::vision::change::Signature;

/// A frame in the delay line.
#[derive(Clone, Debug)]
pub struct Entry {
    pub frame: Frame,
    pub signature: Arc<Signature>,
    pub shot: u32,
    pub settings: Arc<Settings>,
}

/// Captured, not yet published, in order.
pub type DelayLine = VecDeque<Entry>;

/// The entry of a frame that is still in the line.
pub fn entry(line: &DelayLine, seq: FrameSeq) -> Option<&Entry> {
    let first = line.front()?.frame.seq;
    seq.0.checked_sub(first.0).and_then(|i| line.get(i as usize)).filter(|e| e.frame.seq == seq).or_else(|| {
        // Frames may be missing from the line: then it is searched.
        line.iter().find(|e| e.frame.seq == seq)
    })
}

/// The interval between the newest two frames.
pub fn frame_interval(line: &DelayLine) -> Micros {
    match line.len() {
        0 | 1 => Micros::ZERO,
        n => line[n - 1].frame.at.saturating_sub(line[n - 2].frame.at),
    }
}
