//! What one detector knows of one source: the looks that were asked for, what they saw, and so which frames are judged.
//!
//! A look is *out* from its request until its verdicts are in (*done*) or its deadline passes (*lost*; should it come late it still
//! counts, for the frames that are left). Looks judge only frames of their own *shot*: the run of frames between two cuts, gaps or
//! changes of size.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mutant::{Mutant, mutant};
use super::settings::{DetectorSettings, Settings};
use super::strain::{Outcomes, Strain};
use crate::geometry::Rect;
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::vision::change::Signature;
use crate::vision::detection::{Detection, Verdict};
use crate::vision::timeline::{self, Looked, MaskRule, Sighting, Trail};

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

/// Why a frame is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unjudged {
    /// No look of its shot is done that is as early.
    NoEarlierLook,
    /// No look of its shot is done that is as late, and it is not the picture of the earlier one.
    NoLaterLook,
    /// A look between the two is still out.
    LookOut,
    /// The two looks are more than `look_max_ms` apart.
    TooFarApart,
    /// It is unlike both.
    Unlike,
}

#[derive(Clone, Debug)]
enum State {
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
struct Look {
    at: Micros,
    shot: u32,
    why: Why,
    deadline: Micros,
    /// When it has taken longer than its budget; none before it is asked for and once that is known.
    overdue: Option<Micros>,
    /// Asked for a second time.
    again: bool,
    /// Its deadline has passed, or it failed: nothing waits for it any more.
    given_up: bool,
    state: State,
    signature: Arc<Signature>,
}

impl Look {
    fn new(e: &Entry, why: Why, deadline: Micros, state: State) -> Self {
        let (at, shot, signature) = (e.frame.at, e.shot, e.signature.clone());
        Self { at, shot, why, deadline, overdue: None, again: false, given_up: false, state, signature }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    fn is_out(&self) -> bool {
        matches!(self.state, State::Out | State::Weighing(_)) && !self.given_up
    }

    /// It is done or will be, or need not be.
    fn stands(&self) -> bool {
        match self.state {
            State::Lost => false,
            State::Out | State::Weighing(_) => !self.given_up,
            State::Done { .. } | State::Skipped { .. } => true,
        }
    }

    /// A look by a detector, which will be done or is.
    fn is_real(&self) -> bool {
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

/// Share of blocks, unlike both looked-at neighbours, from which a frame needs a look of its own.
/// One percent is four blocks of a 16:9 picture: a face of a tenth of the picture's height.
const UNLIKE_MAX: f32 = 0.02;
/// Looks are kept this long after they can no longer be the earlier of a pair, for trails to be followed through.
const MEMORY: Micros = Micros::from_millis(1000);
/// No look that is still to be weighed is of a frame older than this.
const MEMORY_MAX: Micros = Micros::from_millis(60_000);
/// What masks gain on each side, as a share of their size, when looks are far behind.
const WIDER: f32 = 0.15;

pub struct Channel {
    /// The detector's.
    name: Arc<str>,
    looks: BTreeMap<FrameSeq, Look>,
    /// The frame that the clock wants looked at, while it waits for a cut that might follow.
    candidate: Option<FrameSeq>,
    wanted: Vec<Wanted>,
    /// Looks of one shot and the trails through them, for one settings; dropped when a look changes.
    memo: Option<Memo>,
    /// Generations of the threshold policy and when each came into force.
    commits: BTreeMap<u64, Micros>,
    outcomes: Outcomes,
    mutant: Option<Mutant>,
}

struct Memo {
    shot: u32,
    settings: Arc<Settings>,
    seqs: Vec<FrameSeq>,
    looked: Vec<Looked>,
    trails: Vec<Trail>,
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

    /// Whether the detector was enabled when the frame was captured.
    fn owes(&self, e: &Entry) -> bool {
        e.settings.detector(&self.name).is_some()
    }

    /// A frame was captured (the newest of the line). `before` is the frame before it, where it is the last of its shot.
    pub fn captured(&mut self, line: &DelayLine, closes: Option<FrameSeq>) {
        let Some(newest) = line.back() else { return };
        if let Some(last) = closes {
            self.close(line, last);
        }
        let seq = newest.frame.seq;
        let Some((looked, previous)) = self.latest_in(newest.shot) else {
            self.want(line, seq, Why::First);
            return;
        };
        // Frames that were captured under other settings keep theirs.
        let clock = line
            .iter()
            .rev()
            .take_while(|e| e.frame.seq > looked)
            .filter(|e| self.owes(e))
            .map(|e| e.settings.clock())
            .min()
            .unwrap_or_default();
        let mut previous = previous.at;
        if let Some(candidate) = self.candidate {
            let asked_for = entry(line, candidate).map_or(Micros::ZERO, |e| e.frame.at);
            if newest.frame.at.saturating_sub(asked_for) < newest.settings.patience {
                return;
            }
            self.candidate = None;
            self.want(line, candidate, Why::Clock);
            previous = asked_for;
        }
        if newest.frame.at.saturating_sub(previous).0 + frame_interval(line).0 / 2 >= clock.0 {
            if newest.settings.patience == Micros::ZERO {
                self.want(line, seq, Why::Clock);
            } else {
                self.candidate = Some(seq);
            }
        }
    }

    /// The first frame of the newest shot that comes after its last look.
    pub fn waiting<'a>(&self, line: &'a DelayLine) -> Option<&'a Entry> {
        let newest = line.back()?;
        let looked = self.latest_in(newest.shot).map(|(seq, _)| seq);
        line.iter().find(|e| self.owes(e) && e.shot == newest.shot && looked.is_none_or(|looked| e.frame.seq > looked))
    }

    /// No frame has followed the newest: what waits for one waits no longer.
    pub fn starved(&mut self, line: &DelayLine) {
        if let Some(newest) = line.back() {
            self.finish_at(line, newest.frame.seq, Why::Newest);
        }
    }

    /// The cascade said something of a frame. Returns whether a skip was accepted as a look.
    pub fn screened(&mut self, line: &DelayLine, seq: FrameSeq, look: bool) {
        let Some(e) = entry(line, seq) else { return };
        if self.looks.contains_key(&seq) {
            return;
        }
        if look {
            if self.strain() == Strain::None {
                self.want(line, seq, Why::Cascade);
            }
            return;
        }
        let last_real = self.looks.range(..seq).rev().find(|(_, l)| l.shot == e.shot && l.is_real());
        let within = last_real.is_some_and(|(_, l)| e.frame.at.saturating_sub(l.at) <= e.settings.skip_max);
        if within || mutant!(self.mutant, Mutant::SkipCountedAsLook) {
            self.looks.insert(seq, Look::new(e, Why::Cascade, Micros::MAX, State::Skipped { max: e.settings.skip_max }));
            self.entered(line, e);
        }
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

    /// Asks a second time for a look that failed or is overdue, unless the detector is far behind anyhow. Optional ones too: what was
    /// asked for since counts on them.
    fn ask_again(&mut self, line: &DelayLine, seq: FrameSeq) -> bool {
        let spare = self.strain() < Strain::Wide && entry(line, seq).is_some();
        let Some(look) = self.looks.get_mut(&seq).filter(|l| spare && !l.again) else { return false };
        look.again = true;
        self.wanted.push(Wanted { seq, why: Why::Again, deadline: look.deadline });
        true
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

    /// Looks between neighbours that disagree, halving.
    pub fn bisect(&mut self, line: &DelayLine, now: Micros) {
        if self.strain() > Strain::None {
            return;
        }
        let Some(shot) = line.back().map(|e| e.shot) else { return };
        let Some(first) = line.front().map(|e| e.shot) else { return };
        for shot in first..=shot {
            let Some(settings) = line.iter().rev().find(|e| e.shot == shot).map(|e| e.settings.clone()) else { continue };
            let budget = settings.detectors.iter().map(|d| d.look_budget).max().unwrap_or_default();
            self.refresh(shot, &settings);
            let Some(memo) = &self.memo else { continue };
            let mut middles = Vec::new();
            for (i, pair) in memo.seqs.windows(2).enumerate() {
                let (a, b) = (pair[0], pair[1]);
                if b.0 - a.0 < 2 || self.looks.range(a..b).any(|(_, l)| l.is_out()) || timeline::agree(&memo.trails, i, i + 1) {
                    continue;
                }
                let middle = FrameSeq(a.0 + (b.0 - a.0) / 2);
                // The nearest one, where numbers are missing; none where it has been published.
                let here = line.front().is_some_and(|front| front.frame.seq <= middle);
                let found = line.iter().find(|e| here && e.frame.seq >= middle && e.frame.seq < b);
                if let Some(e) = found.filter(|e| !self.looks.contains_key(&e.frame.seq))
                    && now + budget <= e.frame.at + e.settings.delay
                {
                    middles.push(e.frame.seq);
                }
            }
            middles.into_iter().for_each(|seq| self.want(line, seq, Why::Bisect));
        }
    }

    /// Invariant 1, for one frame and this detector.
    pub fn judge(&self, e: &Entry) -> Result<(), Unjudged> {
        let seq = e.frame.seq;
        let across_cuts = mutant!(self.mutant, Mutant::LookAcrossCut);
        let in_shot = |l: &Look| l.shot == e.shot || across_cuts;
        let (a, earlier) =
            self.looks.range(..=seq).rev().find(|(s, l)| in_shot(l) && self.counts(**s, l)).ok_or(Unjudged::NoEarlierLook)?;
        if *a == seq {
            return Ok(());
        }
        if mutant!(self.mutant, Mutant::NoFreshnessCheck) {
            return Ok(());
        }
        let Err(reason) = self.judge_pair(e, *a, earlier) else { return Ok(()) };
        // Where no block changed since the earlier look, that one serves as the later one too.
        let fresh = e.frame.at.saturating_sub(earlier.at) <= e.settings.look_max;
        let out = self.looks.range(*a..=seq).any(|(_, l)| l.is_out());
        let still = fresh && !out && e.signature.compare(&earlier.signature).changed == 0.0;
        if still { Ok(()) } else { Err(reason) }
    }

    fn judge_pair(&self, e: &Entry, a: FrameSeq, earlier: &Look) -> Result<(), Unjudged> {
        let in_shot = |l: &Look| l.shot == e.shot || mutant!(self.mutant, Mutant::LookAcrossCut);
        let later = self.looks.range(e.frame.seq..).find(|(s, l)| in_shot(l) && self.counts(**s, l));
        let (b, later) = later.ok_or(Unjudged::NoLaterLook)?;
        if *b == e.frame.seq {
            return Ok(());
        }
        if !mutant!(self.mutant, Mutant::VerdictsOutOfOrder) && self.looks.range(a..*b).any(|(_, l)| in_shot(l) && l.is_out()) {
            return Err(Unjudged::LookOut);
        }
        if later.at.saturating_sub(earlier.at) > e.settings.look_max {
            return Err(Unjudged::TooFarApart);
        }
        if e.signature.compare_all(&[&earlier.signature, &later.signature]).unlike > UNLIKE_MAX {
            return Err(Unjudged::Unlike);
        }
        Ok(())
    }

    /// Whether a look serves invariant 1: it is done, or a skip not too long after one that is.
    fn counts(&self, seq: FrameSeq, look: &Look) -> bool {
        let State::Skipped { max } = look.state else { return look.is_done() };
        let last_real = self.looks.range(..seq).rev().find(|(_, l)| l.shot == look.shot && l.is_real());
        last_real.is_some_and(|(_, l)| l.is_done() && look.at.saturating_sub(l.at) <= max)
            || mutant!(self.mutant, Mutant::SkipCountedAsLook)
    }

    /// What this detector's timeline covers of a frame, clamped to it.
    pub fn masks(&mut self, e: &Entry) -> Vec<Rect> {
        self.refresh(e.shot, &e.settings);
        let Some(memo) = &self.memo else { return Vec::new() };
        let mut rule = MaskRule { hold: e.settings.hold, lead: LEAD };
        let mut at = e.frame.at;
        if mutant!(self.mutant, Mutant::NoHold) {
            rule.hold = Micros::ZERO;
        }
        if mutant!(self.mutant, Mutant::StaleMask) {
            at = at.saturating_sub(Micros::from_millis(200));
        }
        let masks = timeline::masks_at(at, &memo.looked, &memo.trails, &rule);
        let wider = if self.strain() == Strain::Wide { WIDER } else { 0.0 };
        masks.iter().map(|m| m.grown(m.width * wider, m.height * wider).clamped()).filter(|m| !m.is_empty()).collect()
    }

    /// Where the followed things are at a time, and the fastest one's speed in its own sizes per second.
    pub fn followed(&mut self, e: &Entry) -> (Vec<Rect>, Option<f32>) {
        let masks = self.masks(e);
        let Some(memo) = &self.memo else { return (masks, None) };
        let speeds = memo.trails.iter().filter_map(|trail| {
            let [.., p, n] = &trail.points[..] else { return None };
            let recent = n.counts && e.frame.at.saturating_sub(n.at) <= e.settings.look_max;
            let seconds = n.at.saturating_sub(p.at).as_secs_f32();
            let ((px, py), (nx, ny)) = (p.area.center(), n.area.center());
            let relative = ((nx - px).abs() / n.area.width.max(1e-3)).max((ny - py).abs() / n.area.height.max(1e-3));
            (recent && seconds > 0.0).then(|| relative / seconds)
        });
        let speed = speeds.fold(None, |most: Option<f32>, s| Some(most.map_or(s, |m| m.max(s))));
        let speed = if masks.is_empty() { None } else { Some(speed.unwrap_or(0.0)) };
        (masks, speed)
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

    /// The shot ends with `last`: the frames after its newest look need one as late.
    pub fn close(&mut self, line: &DelayLine, last: FrameSeq) {
        self.finish_at(line, last, Why::Last);
    }

    fn finish_at(&mut self, line: &DelayLine, last: FrameSeq, why: Why) {
        let candidate = self.candidate.take();
        let Some(e) = entry(line, last) else { return };
        if self.looks.contains_key(&last) {
            return;
        }
        let Some((previous, look)) = self.latest_in(e.shot) else {
            self.want(line, last, why);
            return;
        };
        let (previous_at, signature) = (look.at, look.signature.clone());
        if let Some(candidate) = candidate {
            // The candidate may have been captured under a shorter limit.
            let look_max = entry(line, candidate).map_or(Micros::MAX, |c| c.settings.look_max).min(e.settings.look_max);
            if e.frame.at.saturating_sub(previous_at) > look_max {
                self.want(line, candidate, Why::Clock);
            }
            self.want(line, last, why);
            return;
        }
        let tail = line.iter().filter(|f| f.frame.seq > previous && f.frame.seq <= last);
        let mut still = true;
        for f in tail {
            still &= f.signature.compare(&signature).changed == 0.0;
        }
        if !still {
            self.want(line, last, why);
        }
    }

    /// Asks for a look, and for those that the frames between it and the look before need because they are unlike both.
    fn want(&mut self, line: &DelayLine, seq: FrameSeq, why: Why) {
        let Some(e) = entry(line, seq).filter(|e| self.owes(e)) else { return };
        if self.looks.contains_key(&seq) {
            return;
        }
        if mutant!(self.mutant, Mutant::RequiredLookReplaced) {
            self.looks.retain(|_, l| l.shot != e.shot || !l.is_out());
        }
        let previous = self.looks.range(..seq).rev().find(|(_, l)| l.shot == e.shot && l.stands()).map(|(seq, _)| *seq);
        let first_waiting = line.iter().find(|f| self.owes(f) && f.shot == e.shot && previous.is_none_or(|p| f.frame.seq > p)).unwrap_or(e);
        let deadline = first_waiting.frame.at + first_waiting.settings.delay;
        self.looks.insert(seq, Look::new(e, why, deadline, State::Out));
        self.wanted.push(Wanted { seq, why, deadline });
        self.entered(line, e);
    }

    /// A look, or a skip that stands for one, was added: what lies between it and its neighbours may need looks of its own.
    fn entered(&mut self, line: &DelayLine, e: &Entry) {
        let seq = e.frame.seq;
        let earlier = self.looks.range(..seq).rev().find(|(_, l)| l.shot == e.shot && l.stands()).map(|(_, l)| l.at);
        if let Some(candidate) = self.candidate.take_if(|c| *c <= seq) {
            let span = earlier.map_or(Micros::ZERO, |at| e.frame.at.saturating_sub(at));
            let look_max = entry(line, candidate).map_or(Micros::MAX, |c| c.settings.look_max);
            if candidate < seq && span > look_max.min(e.settings.look_max) {
                self.want(line, candidate, Why::Clock);
            }
        }
        let neighbour = |(seq, l): (&FrameSeq, &Look)| (l.shot == e.shot && l.stands()).then(|| (*seq, l.signature.clone()));
        let previous = self.looks.range(..seq).rev().find_map(neighbour);
        let next = self.looks.range(FrameSeq(seq.0 + 1)..).find_map(neighbour);
        if let Some((a, before)) = previous {
            self.fill(line, (a, &before), (seq, &e.signature));
        }
        if let Some((b, after)) = next {
            self.fill(line, (seq, &e.signature), (b, &after));
        }
    }

    /// Asks for a look at the frame between two looks that is most unlike both, and so on for the halves that it makes.
    fn fill(&mut self, line: &DelayLine, a: (FrameSeq, &Signature), b: (FrameSeq, &Signature)) {
        let between = line.iter().filter(|f| self.owes(f) && f.frame.seq > a.0 && f.frame.seq < b.0);
        let unlike = between.map(|f| (f.signature.compare_all(&[a.1, b.1]).unlike, f.frame.seq));
        let worst = unlike.filter(|(u, _)| *u > UNLIKE_MAX).max_by(|x, y| x.0.total_cmp(&y.0));
        if let Some((_, middle)) = worst {
            self.want(line, middle, Why::Unlike);
        }
    }

    fn refresh(&mut self, shot: u32, settings: &Arc<Settings>) {
        if self.memo.as_ref().is_some_and(|m| m.shot == shot && Arc::ptr_eq(&m.settings, settings)) {
            return;
        }
        let (mut seqs, mut looked) = (Vec::new(), Vec::new());
        for (seq, look) in &self.looks {
            if let (State::Done { generation, detections, verdicts }, true) = (&look.state, look.shot == shot) {
                seqs.push(*seq);
                looked.push(Looked { at: look.at, generation: *generation, sightings: sightings(detections, verdicts, settings) });
            }
        }
        let trails = timeline::follow(&looked, settings.hold);
        self.memo = Some(Memo { shot, settings: settings.clone(), seqs, looked, trails });
    }
}

/// How long before its first sighting a thing is covered: what a detector sees now it may have missed a moment ago.
const LEAD: Micros = Micros::from_millis(70);

fn sightings(detections: &[Detection], verdicts: &[Verdict], settings: &Settings) -> Vec<Sighting> {
    let covered = |d: &Detection| settings.detector(&d.detector).is_some_and(|s: &DetectorSettings| s.cover.contains(&d.label));
    let both = detections.iter().zip(verdicts).filter(|(d, _)| covered(d));
    both.map(|(d, v)| Sighting { area: d.area.unwrap_or(Rect::FULL), confidence: d.confidence, counts: v.counts }).collect()
}

/// The entry of a frame that is still in the line.
pub fn entry(line: &DelayLine, seq: FrameSeq) -> Option<&Entry> {
    let first = line.front()?.frame.seq;
    seq.0.checked_sub(first.0).and_then(|i| line.get(i as usize)).filter(|e| e.frame.seq == seq).or_else(|| {
        // Frames may be missing from the line: then it is searched.
        line.iter().find(|e| e.frame.seq == seq)
    })
}

/// The interval between the newest two frames.
fn frame_interval(line: &DelayLine) -> Micros {
    match line.len() {
        0 | 1 => Micros::ZERO,
        n => line[n - 1].frame.at.saturating_sub(line[n - 2].frame.at),
    }
}
