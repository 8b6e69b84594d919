//! What one detector knows of one source: the looks that were asked for, what they saw, and so which frames are judged.
//!
//! Here is what happens to a look that is there (`look` has its states); [`ask`] says which are asked for, [`judge`] what they say of a
//! frame. Looks judge only frames of their own *shot*: the run of frames between two cuts, gaps or changes of size.

mod ask;
mod judge;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mutant::{Mutant, mutant};
use super::strain::{Outcomes, Strain};
use crate::media::frame::{FrameSeq, Micros};
use crate::vision::change::Signature;
use crate::vision::detection::{Detection, Verdict};

pub use super::line::{DelayLine, Entry, entry};
use super::look::{Look, State};
pub use super::look::{Wanted, Why};
use judge::Memo;
pub use judge::Unjudged;

/// Share of blocks, unlike both looked-at neighbours, from which a frame needs a look of its own.
/// One percent is four blocks of a 16:9 picture: a face of a tenth of the picture's height.
const UNLIKE_MAX: f32 = 0.02;
/// Looks are kept this long after they can no longer be the earlier of a pair, for trails to be followed through.
const MEMORY: Micros = Micros::from_millis(1000);
/// No look that is still to be weighed is of a frame older than this.
const MEMORY_MAX: Micros = Micros::from_millis(60_000);

pub struct Channel {
    /// The detector's.
    name: Arc<str>,
    looks: BTreeMap<FrameSeq, Look>,
    /// The frame that the clock wants looked at, while it waits for a cut that might follow.
    candidate: Option<FrameSeq>,
    wanted: Vec<Wanted>,
    /// Dropped when a look changes.
    memo: Option<Memo>,
    /// Generations of the threshold policy and when each came into force.
    commits: BTreeMap<u64, Micros>,
    outcomes: Outcomes,
    mutant: Option<Mutant>,
}

impl Channel {
    pub fn new(name: Arc<str>, mutant: Option<Mutant>) -> Self {
        Self {
            name,
            looks: BTreeMap::new(),
            candidate: None,
            wanted: Vec::new(),
            memo: None,
            commits: BTreeMap::new(),
            outcomes: Outcomes::default(),
            mutant,
        }
    }

    /// Looks that have been decided on since the last call.
    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        std::mem::take(&mut self.wanted)
    }

    pub fn strain(&self) -> Strain {
        self.outcomes.strain()
    }

    /// From `at` on, frames are weighed by a new generation of the threshold policy.
    pub fn committed(&mut self, generation: u64, at: Micros) {
        self.commits.insert(generation, at);
    }

    /// The generation whose word ends what an older one holds at a look: one that came into force after the look was captured
    /// adds its masks and ends none.
    fn in_force(&self, generation: u64, at: Micros) -> u64 {
        match self.commits.get(&generation) {
            Some(&committed) if at < committed => {
                self.commits.range(..generation).rev().find(|(_, c)| **c <= at).map_or(generation.saturating_sub(1), |(g, _)| *g)
            }
            _ => generation,
        }
    }

    /// A look found something, or nothing; it is not done before it is weighed. Returns whether this was its first answer.
    pub fn looked(&mut self, seq: FrameSeq, detections: Vec<Detection>) -> bool {
        let mut seq = seq;
        if mutant!(self.mutant, Mutant::VerdictsOutOfOrder) {
            // Taken for the answer to the oldest request.
            seq = self.looks.iter().find(|(_, l)| matches!(l.state, State::Out) && !l.given_up).map_or(seq, |(oldest, _)| *oldest);
        }
        let Some(look) = self.looks.get_mut(&seq).filter(|l| matches!(l.state, State::Out | State::Lost)) else { return false };
        if look.overdue.take().is_some() {
            self.outcomes.note(false);
        }
        look.state = State::Weighing(detections);
        if mutant!(self.mutant, Mutant::EarlyCommit) {
            // Done before the policy has spoken; its verdicts are added when they come.
            let State::Weighing(detections) = std::mem::replace(&mut look.state, State::Lost) else { return false };
            look.state = State::Done { generation: 0, detections, verdicts: Vec::new() };
            self.memo = None;
        }
        true
    }

    /// The verdicts on what a look found.
    pub fn weighed(&mut self, seq: FrameSeq, generation: u64, verdicts: Vec<Verdict>) {
        let Some(at) = self.looks.get(&seq).map(|l| l.at) else { return };
        let generation = self.in_force(generation, at);
        let early = mutant!(self.mutant, Mutant::EarlyCommit);
        let Some(look) = self.looks.get_mut(&seq) else { return };
        match &mut look.state {
            State::Weighing(detections) => {
                look.state = State::Done { generation, detections: std::mem::take(detections), verdicts };
                self.memo = None;
            }
            State::Done { generation: by, verdicts: old, .. } if early => {
                (*by, *old) = (generation, verdicts);
                self.memo = None;
            }
            _ => {}
        }
    }

    /// A look failed: it is asked for once more, or lost.
    pub fn failed(&mut self, line: &DelayLine, seq: FrameSeq) {
        let Some(look) = self.looks.get_mut(&seq).filter(|l| matches!(l.state, State::Out) && !l.given_up) else { return };
        if look.overdue.take().is_some() {
            self.outcomes.note(true);
            if self.ask_again(line, seq) {
                return;
            }
        }
        self.lose(seq);
    }

    fn lose(&mut self, seq: FrameSeq) {
        let open = mutant!(self.mutant, Mutant::OpenOnTrap);
        let Some(look) = self.looks.get_mut(&seq) else { return };
        look.given_up = true;
        if open {
            look.state = State::Done { generation: 0, detections: Vec::new(), verdicts: Vec::new() };
            self.memo = None;
        } else if matches!(look.state, State::Out) {
            look.state = State::Lost;
        }
    }

    /// The look at `seq` was handed over; it is overdue from `overdue` on.
    pub fn asked(&mut self, seq: FrameSeq, overdue: Micros) {
        if let Some(look) = self.looks.get_mut(&seq) {
            look.overdue = Some(overdue);
        }
    }

    /// Asks again for looks that are overdue, and gives up those whose deadline has passed; returns how many.
    pub fn expire(&mut self, line: &DelayLine, now: Micros) -> usize {
        let mut slow = Vec::new();
        for (seq, look) in self.looks.iter_mut().filter(|(_, l)| matches!(l.state, State::Out | State::Lost)) {
            if look.overdue.is_some_and(|at| at <= now) {
                look.overdue = None;
                slow.push(*seq);
            }
        }
        for seq in slow {
            self.outcomes.note(true);
            self.ask_again(line, seq);
        }
        let late: Vec<FrameSeq> = self.looks.iter().filter(|(_, l)| l.is_out() && l.deadline <= now).map(|(seq, _)| *seq).collect();
        late.iter().for_each(|seq| self.lose(*seq));
        late.len()
    }

    /// When a look that is out is next overdue or lost.
    pub fn next_deadline(&self) -> Option<Micros> {
        let next = |l: &Look| match (&l.state, l.overdue) {
            // A look that is given up may still become overdue, which tells how far behind its detector is.
            (State::Out | State::Lost, Some(overdue)) => Some(if l.is_out() { overdue.min(l.deadline) } else { overdue }),
            _ => l.is_out().then_some(l.deadline),
        };
        self.looks.values().filter_map(next).min()
    }

    pub fn is_out(&self, seq: FrameSeq) -> bool {
        self.looks.get(&seq).is_some_and(Look::is_out)
    }

    pub fn any_out(&self) -> bool {
        self.looks.values().any(Look::is_out)
    }

    pub fn has(&self, seq: FrameSeq) -> bool {
        self.looks.contains_key(&seq)
    }

    /// The newest frame that was looked at or is to be, in one shot.
    pub fn latest(&self, shot: u32) -> Option<(FrameSeq, Micros, Arc<Signature>)> {
        self.latest_in(shot).map(|(seq, look)| (seq, look.at, look.signature.clone()))
    }

    fn latest_in(&self, shot: u32) -> Option<(FrameSeq, &Look)> {
        self.looks.iter().rev().find(|(_, l)| l.shot == shot && l.stands()).map(|(seq, l)| (*seq, l))
    }

    /// What a done look saw: detections and verdicts, in one order.
    pub fn seen(&self, seq: FrameSeq) -> Option<(&[Detection], &[Verdict])> {
        match &self.looks.get(&seq)?.state {
            State::Done { detections, verdicts, .. } => Some((detections, verdicts)),
            _ => None,
        }
    }

    pub fn why(&self, seq: FrameSeq) -> Option<Why> {
        self.looks.get(&seq).map(|l| l.why)
    }

    /// Forgets what no frame from `front` on can need.
    pub fn forget(&mut self, front: &Entry) {
        let keep = self.looks.range(..=front.frame.seq).rev().find(|(_, l)| l.is_done()).map(|(seq, _)| *seq);
        while self.commits.len() > 1 && self.commits.values().nth(1).is_some_and(|&at| at.0 + MEMORY_MAX.0 < front.frame.at.0) {
            self.commits.pop_first();
        }
        let memory = front.settings.hold.0.max(front.settings.look_max.0) + MEMORY.0;
        let before = self.looks.len();
        self.looks
            .retain(|seq, l| Some(*seq) == keep || l.is_out() || (l.shot >= front.shot && front.frame.at.saturating_sub(l.at).0 <= memory));
        if self.looks.len() != before {
            self.memo = None;
        }
    }
}
