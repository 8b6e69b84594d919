//! One look of one detector at one frame, and its life.
//!
//! A look is *out* from its request until its verdicts are in (*done*) or its deadline passes (*lost*; should it come late it still
//! counts, for the frames that are left).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::line::Entry;
use crate::media::frame::{FrameSeq, Micros};
use crate::vision::change::Signature;
use crate::vision::detection::{Detection, Verdict};

/// Why a frame is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The first of a stream, or after a gap, a cut or a change of size.
    First,
    /// The last before one of these.
    Last,
    Clock,
    /// Unlike both of its looked-at neighbours.
    Unlike,
    /// No frame followed in time.
    Newest,
    /// The same frame once more, since the first request failed or takes longer than its budget.
    Again,
    /// Between two looks that disagree.
    Bisect,
    /// The cascade asked for it.
    Cascade,
}

impl Why {
    /// Whether invariant 1 requires it: such a look is never replaced by a newer frame's, and the cascade is not asked about it.
    pub fn required(self) -> bool {
        !matches!(self, Why::Bisect | Why::Cascade)
    }
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Out,
    Weighing(Vec<Detection>),
    Done {
        generation: u64,
        detections: Vec<Detection>,
        verdicts: Vec<Verdict>,
    },
    /// A cascade's skip that stands for a look, so long after a real one.
    Skipped {
        max: Micros,
    },
    Lost,
}

#[derive(Clone, Debug)]
pub(super) struct Look {
    pub at: Micros,
    pub shot: u32,
    pub why: Why,
    pub deadline: Micros,
    /// When it has taken longer than its budget; none before it is asked for and once that is known.
    pub overdue: Option<Micros>,
    /// Asked for a second time.
    pub again: bool,
    /// Its deadline has passed, or it failed: nothing waits for it any more.
    pub given_up: bool,
    pub state: State,
    pub signature: Arc<Signature>,
}

impl Look {
    pub fn new(e: &Entry, why: Why, deadline: Micros, state: State) -> Self {
        let (at, shot, signature) = (e.frame.at, e.shot, e.signature.clone());
        Self { at, shot, why, deadline, overdue: None, again: false, given_up: false, state, signature }
    }

    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    pub fn is_out(&self) -> bool {
        matches!(self.state, State::Out | State::Weighing(_)) && !self.given_up
    }

    /// It is done or will be, or need not be.
    pub fn stands(&self) -> bool {
        match self.state {
            State::Lost => false,
            State::Out | State::Weighing(_) => !self.given_up,
            State::Done { .. } | State::Skipped { .. } => true,
        }
    }

    /// A look by a detector, which will be done or is.
    pub fn is_real(&self) -> bool {
        self.is_done() || self.is_out()
    }
}

/// A look that the source is to have made.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub seq: FrameSeq,
    pub why: Why,
    /// When its verdict must be in.
    pub deadline: Micros,
}
