//! One source's frame path, without input or output: frames and answers go in with the time, requests and published frames come
//! out. The live driver, `scrim censor` and the simulation all run this one machine.
//!
//! ```text
//! push ─► change, cut ─► delay line ───────────────► publish: judged? masks : fail mode
//!              │                                        ▲
//!              ├─► clock, first, last, unlike ─► Look ──┤ looked → Weigh → weighed
//!              └─► sampler ─► Screen ─► screened ─► Look┘
//! ```
//! Always: frames leave in order of capture, each once; a frame leaves in the clear only when every enabled detector's
//! [`Channel`] judged it; a request is answered once or given up at its deadline.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::channel::{Channel, DelayLine, Entry, Wanted, entry};
use super::mutant::{Mutant, mutant};
use super::policies::Commit;
use super::published::{Counts, Cover, Published};
use super::reading::{Ask, Reading};
use super::request::{Answer, LookId, Request, SceneHints};
use super::settings::{FailMode, Settings};
use super::strain::Strain;
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::plugin::types::Slot;
use crate::vision::change::{Change, Signature};
use crate::vision::detection::{Detection, Verdict};
use crate::vision::sampler::{Sampler, Scene};

/// A gap between frames past this (and past `look_max`) starts a new shot.
const GAP_MIN: Micros = Micros::from_millis(250);
/// More generations than looks of any of them can be out.
const COMMITS_MAX: usize = 16;
/// A frame counts as not followed after twice the usual interval, but not before this.
const STARVED_MIN: Micros = Micros::from_millis(40);

struct Newest {
    seq: FrameSeq,
    at: Micros,
    size: (usize, usize),
    shot: u32,
    signature: Arc<Signature>,
    interval: Micros,
    /// From the frame before it.
    change: Change,
    /// When it counts as not followed; none once that has been said.
    starves: Option<Micros>,
}

pub struct Source {
    settings: Arc<Settings>,
    line: DelayLine,
    channels: BTreeMap<Arc<str>, Channel>,
    reading: Reading,
    sampler: Sampler,
    newest: Option<Newest>,
    /// Frames since the last look or sample, and whether a cut lies among them.
    since_sample: u32,
    cut_since_sample: bool,
    change: Change,
    screening: Option<FrameSeq>,
    /// A shorter delay, and when it begins to hold.
    shorter: Option<(Micros, Micros)>,
    delay: Micros,
    /// Generations of the threshold policy and when each came into force, the last few.
    commits: BTreeMap<u64, Micros>,
    requests: VecDeque<Request>,
    counts: Counts,
    mutant: Option<Mutant>,
}

impl Source {
    pub fn new(settings: Arc<Settings>) -> Self {
        Self::mutated(settings, None)
    }

    /// A source with a deliberate fault; without the feature `mutants` it has none.
    pub fn mutated(settings: Arc<Settings>, mutant: Option<Mutant>) -> Self {
        Self {
            delay: settings.delay,
            settings,
            line: DelayLine::new(),
            channels: BTreeMap::new(),
            reading: Reading::default(),
            sampler: Sampler::default(),
            newest: None,
            since_sample: 0,
            cut_since_sample: false,
            change: Change::default(),
            screening: None,
            shorter: None,
            commits: BTreeMap::new(),
            requests: VecDeque::new(),
            counts: Counts::default(),
            mutant,
        }
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Bytes of pictures in the delay line.
    pub fn bytes(&self) -> usize {
        self.line.iter().map(|e| e.frame.data().len()).sum()
    }

    pub fn depth(&self) -> usize {
        self.line.len()
    }

    /// The next thing to do, if any.
    pub fn next_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// New settings for the frames captured from now on. A shorter delay holds once the frames captured under the longer one are
    /// out; a longer one at once, so that nothing is published for the difference.
    pub fn configure(&mut self, settings: Arc<Settings>, now: Micros) {
        if settings.delay < self.delay {
            let at = if mutant!(self.mutant, Mutant::DelayShortenedAtOnce) { now } else { now + self.delay };
            self.shorter = Some((settings.delay, at));
        } else {
            self.shorter = None;
            self.delay = settings.delay;
        }
        self.settings = settings;
    }

    /// A frame was captured. Its number and time must be above the last one's; others are refused.
    pub fn push(&mut self, frame: Frame, now: Micros) -> Result<(), PushError> {
        if let Some(newest) = &self.newest
            && (frame.seq <= newest.seq || frame.at <= newest.at)
        {
            return Err(PushError::OutOfOrder { seq: frame.seq, newest: newest.seq });
        }
        let signature = Arc::new(Signature::of(&frame));
        let size = (frame.width, frame.height);
        let mut closes = None;
        let mut shot = 0;
        let mut interval = Micros::ZERO;
        let mut step = Change::default();
        if let Some(newest) = &self.newest {
            interval = frame.at.saturating_sub(newest.at);
            let gap = interval > self.settings.look_max.min(self.settings.delay).max(GAP_MIN);
            step = signature.compare(&newest.signature);
            let cut = gap || frame.resumed || size != newest.size || step.is_cut(&newest.change);
            shot = newest.shot + u32::from(cut);
            if cut {
                closes = Some(newest.seq);
                self.cut_since_sample = true;
                self.counts.cuts += 1;
            }
        }
        self.counts.captured += 1;
        self.since_sample += 1;
        let (seq, at) = (frame.seq, frame.at);
        self.line.push_back(Entry { frame, signature: signature.clone(), shot, settings: self.settings.clone() });
        self.newest = Some(Newest { seq, at, size, shot, signature, interval, change: step, starves: None });
        for detector in self.settings.detectors.iter().map(|d| d.name.clone()).collect::<Vec<_>>() {
            let (mutant, commits) = (self.mutant, &self.commits);
            let name = detector.clone();
            let new = || {
                commits.iter().fold(Channel::new(name, mutant), |mut channel, (generation, at)| {
                    channel.committed(*generation, *at);
                    channel
                })
            };
            self.channels.entry(detector).or_insert_with(new).captured(&self.line, closes);
        }
        if let Some(before) = self.line.len().checked_sub(2).map(|i| &self.line[i]) {
            // A detector that is enabled no more still owes the frames before this one a later look.
            for detector in before.settings.detectors.iter().filter(|d| self.settings.detector(&d.name).is_none()) {
                if let Some(channel) = self.channels.get_mut(&detector.name) {
                    channel.close(&self.line, before.frame.seq);
                }
            }
        }
        self.reading.captured(&self.line, now);
        self.collect(now);
        self.sample();
        let starves = self.starves();
        if let Some(newest) = &mut self.newest {
            newest.starves = starves;
        }
        Ok(())
    }

    /// No frame will come any more: what is in the line is judged and left to be published.
    pub fn finish(&mut self, now: Micros) {
        for channel in self.channels.values_mut() {
            channel.starved(&self.line);
        }
        self.reading.finish(&self.line, now);
        self.collect(now);
    }

    /// Takes an answer in.
    pub fn answer(&mut self, answer: Answer, now: Micros) {
        match answer {
            Answer::Screened { seq, look } => self.screened(seq, |detector| look.iter().any(|l| &**l == detector), now),
            Answer::Looked { id, detections } => self.looked(id, detections, now),
            Answer::Failed { id } => self.failed(&id, now),
            Answer::Weighed { id, generation, verdicts } => self.weighed(&id, generation, verdicts, now),
            Answer::Read { seq, blocks } => self.reading.read(&self.line, seq, blocks, now),
            Answer::ReadFailed { seq } => self.reading.failed(&self.line, seq, now),
            Answer::Judged { id, flagged } => self.reading.judged(&self.line, id, flagged),
        }
        self.collect(now);
    }

    /// The cascade's answer: which detectors shall look at the frame. A host whose cascade failed answers with all of them.
    pub fn screened(&mut self, seq: FrameSeq, look: impl Fn(&str) -> bool, now: Micros) {
        if self.screening == Some(seq) {
            self.screening = None;
        }
        for (detector, channel) in &mut self.channels {
            let look = look(detector);
            if !look {
                self.counts.skipped += 1;
            }
            channel.screened(&self.line, seq, look);
        }
        self.collect(now);
    }

    /// A detector's answer. One that comes after its deadline still counts for what is not published yet.
    pub fn looked(&mut self, id: LookId, mut detections: Vec<Detection>, now: Micros) {
        let Some(channel) = self.channels.get_mut(&id.detector) else { return };
        if !channel.has(id.seq) {
            self.counts.looks_late += 1;
            return;
        }
        if !channel.is_out(id.seq) {
            self.counts.looks_late += 1;
        }
        for detection in &mut detections {
            detection.trail = None;
        }
        if !channel.looked(id.seq, detections.clone()) {
            return;
        }
        self.sampler.looked(!detections.is_empty());
        let at = entry(&self.line, id.seq).map_or(now, |e| e.frame.at);
        self.requests.push_back(Request::Weigh { id, at, detections });
    }

    /// A detector failed, or took too long for its own health.
    pub fn failed(&mut self, id: &LookId, now: Micros) {
        if let Some(channel) = self.channels.get_mut(&id.detector) {
            self.counts.looks_failed += 1;
            channel.failed(&self.line, id.seq);
        }
        self.collect(now);
    }

    /// The threshold policy's verdicts (or the host's default), in the order of the detections.
    pub fn weighed(&mut self, id: &LookId, generation: u64, verdicts: Vec<Verdict>, now: Micros) {
        if let Some(channel) = self.channels.get_mut(&id.detector) {
            channel.weighed(id.seq, generation, verdicts);
            channel.bisect(&self.line, now);
        }
        self.collect(now);
    }

    /// Whether an answer is still awaited.
    pub fn is_waiting(&self) -> bool {
        self.screening.is_some() || self.channels.values().any(Channel::any_out) || self.reading.is_waiting()
    }

    /// When [`Source::publish`] has something to do next, if nothing else happens before.
    pub fn next_wake(&self) -> Option<Micros> {
        let due = self.line.front().map(|e| e.frame.at + self.delay);
        let deadline = self.channels.values().filter_map(Channel::next_deadline).min();
        let starved = self.newest.as_ref().filter(|_| !self.line.is_empty()).and_then(|n| n.starves);
        let read = self.reading.next_wake(&self.line);
        [due, deadline, starved, read, self.shorter.map(|(_, at)| at)].into_iter().flatten().min()
    }

    /// A new generation of the threshold policy came into force, for the frames captured from `from` on. Until it has weighed one of
    /// them, what it counts is added to what older ones hold.
    pub fn committed(&mut self, generation: u64, from: Micros) {
        self.commits.insert(generation, from);
        if self.commits.len() > COMMITS_MAX {
            self.commits.pop_first();
        }
        self.channels.values_mut().for_each(|channel| channel.committed(generation, from));
    }

    /// A new generation of one of the room's policies came into force. After one of the text policy, or of the one that weighs what it
    /// finds, what can be read now is judged anew.
    pub fn changed(&mut self, commit: Commit, now: Micros) {
        if commit.slot == Slot::Threshold {
            self.committed(commit.generation, commit.from);
        }
        if commit.slot != Slot::Cascade {
            self.reading.committed(&self.line);
            self.collect(now);
        }
    }

    /// What is given up since looks come late.
    pub fn strain(&self) -> Strain {
        self.channels.values().map(Channel::strain).max().unwrap_or_default()
    }

    /// The same, of one detector.
    pub fn strain_of(&self, detector: &str) -> Strain {
        self.channels.get(detector).map(Channel::strain).unwrap_or_default()
    }

    /// Advances the clock; returns the next frame that is due, with what covers it. To be called until it returns none.
    pub fn publish(&mut self, now: Micros) -> Option<Published> {
        self.watch(now);
        let due = |e: &Entry, delay: Micros| e.frame.at + delay <= now;
        if let Some((delay, _)) = self.shorter.filter(|(_, at)| *at <= now) {
            // The frames between the old delay and the new are left out, but for the newest that is due.
            self.shorter = None;
            self.delay = delay;
            while self.line.len() > 1 && due(&self.line[1], delay) {
                self.line.pop_front();
                self.counts.dropped += 1;
            }
        }
        if !self.line.front().is_some_and(|e| due(e, self.delay)) {
            return None;
        }
        let front = self.line.front()?.clone();
        let published = self.cover(&front);
        self.line.pop_front();
        let next = self.line.front().unwrap_or(&front);
        self.channels.values_mut().for_each(|channel| channel.forget(next));
        self.reading.forget(if self.line.is_empty() { FrameSeq(front.frame.seq.0 + 1) } else { next.frame.seq });
        let line = &self.line;
        let newest = &self.settings;
        self.channels.retain(|name, _| newest.detector(name).is_some() || line.iter().any(|e| e.settings.detector(name).is_some()));
        Some(published)
    }

    /// What a look saw, while it is remembered.
    pub fn seen(&self, id: &LookId) -> Option<(&[Detection], &[Verdict])> {
        self.channels.get(&id.detector)?.seen(id.seq)
    }

    fn watch(&mut self, now: Micros) {
        if let Some(newest) = self.newest.as_mut().filter(|n| n.starves.is_some_and(|at| now >= at)) {
            newest.starves = None;
            self.channels.values_mut().for_each(|channel| channel.starved(&self.line));
            self.collect(now);
        }
        let mut late = 0;
        for channel in self.channels.values_mut() {
            late += channel.expire(&self.line, now);
        }
        if self.reading.next_wake(&self.line).is_some_and(|at| at <= now) {
            self.reading.tick(&self.line, now);
        }
        if late > 0 {
            self.counts.looks_failed += late as u64;
            for channel in self.channels.values_mut() {
                channel.bisect(&self.line, now);
            }
        }
        self.collect(now);
    }

    fn cover(&mut self, e: &Entry) -> Published {
        let mut masks = Vec::new();
        let mut unjudged = None;
        for detector in &e.settings.detectors {
            let Some(channel) = self.channels.get_mut(&detector.name) else { continue };
            if let Err(reason) = channel.judge(e) {
                unjudged = unjudged.or(Some((detector.name.clone(), reason)));
            }
            let masked = if mutant!(self.mutant, Mutant::OffByOneFrame) { self.line.get(1).unwrap_or(e) } else { e };
            masks.extend(channel.masks(masked));
        }
        let text = self.reading.cover(e);
        masks.extend(text.masks);
        let closed = e.settings.fail_mode == FailMode::Closed;
        let pending = if closed { text.pending } else { Vec::new() };
        masks.extend(&pending);
        self.counts.text = self.reading.counts();
        self.counts.widened += u64::from(!masks.is_empty() && self.strain() == Strain::Wide);
        self.counts.published += 1;
        let mut passed_unjudged = None;
        let cover = match unjudged {
            Some((detector, reason)) if closed => {
                *self.counts.full_covers.entry(reason).or_default() += 1;
                Cover::Full { detector, reason }
            }
            other => {
                passed_unjudged = other.map(|(_, reason)| reason);
                self.counts.passed_unjudged += u64::from(passed_unjudged.is_some());
                self.counts.masked += u64::from(!masks.is_empty());
                Cover::Masks(masks)
            }
        };
        Published { frame: e.frame.clone(), cover, pending, passed_unjudged, shot: e.shot, settings: e.settings.clone() }
    }

    /// Puts the newest frame before the cascade if the sampler wants it and no look of it is under way.
    fn sample(&mut self) {
        let (Some(e), Some(newest)) = (self.line.back().cloned(), &self.newest) else { return };
        let seq = e.frame.seq;
        if self.channels.values().all(|c| c.has(seq)) {
            (self.since_sample, self.cut_since_sample) = (0, false);
            return;
        }
        if self.screening.is_some() || e.settings.detectors.is_empty() || self.strain() > Strain::None {
            return;
        }
        let (interval, shot) = (newest.interval, newest.shot);
        let (mut trails, mut speed, mut last_look) = (Vec::new(), None::<f32>, None::<(Micros, Arc<Signature>)>);
        for channel in self.channels.values_mut() {
            let (areas, fastest) = channel.followed(&e);
            trails.extend(areas);
            speed = match (speed, fastest) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            };
            if let Some((_, at, signature)) = channel.latest(shot)
                && last_look.as_ref().is_none_or(|(last, _)| *last < at)
            {
                last_look = Some((at, signature));
            }
        }
        self.change = match &last_look {
            Some((_, signature)) => e.signature.compare(signature),
            None => Change { changed: 1.0, unlike: 1.0 },
        };
        let scene = Scene { speed, unlike: self.change.unlike, frames: self.since_sample, frame_s: interval.as_secs_f32() };
        // Where skips may stand for looks, the cascade is asked about the clock's frames too.
        let clock = e.settings.skip_max > Micros::ZERO
            && last_look.as_ref().is_some_and(|(at, _)| e.frame.at.saturating_sub(*at).0 + interval.0 * 2 >= e.settings.clock().0);
        if !clock && !self.sampler.samples(e.settings.sampler, &scene) {
            return;
        }
        let hints = SceneHints {
            scene_cut: self.cut_since_sample,
            change: self.change.changed,
            since_look: last_look.map(|(at, _)| e.frame.at.saturating_sub(at)),
            trails,
        };
        (self.since_sample, self.cut_since_sample) = (0, false);
        self.counts.screened += 1;
        self.screening = Some(seq);
        let detectors = e.settings.detectors.iter().map(|d| d.name.clone()).collect();
        self.requests.push_back(Request::Screen { frame: e.frame, detectors, hints });
    }

    /// When the newest frame counts as not followed: after twice the usual interval, or when a look must be asked for so that it can
    /// be asked for a second time before the first frame that waits for it is due.
    fn starves(&self) -> Option<Micros> {
        let (newest, e) = (self.newest.as_ref()?, self.line.back()?);
        let usual = newest.at + Micros((newest.interval.0 * 2).max(STARVED_MIN.0));
        let latest = self.channels.iter().filter_map(|(name, channel)| {
            let twice = Micros(e.settings.detector(name)?.look_budget.0 * 2);
            channel.waiting(&self.line).map(|first| (first.frame.at + first.settings.delay).saturating_sub(twice))
        });
        Some(latest.min().map_or(usual, |latest| usual.min(latest)).max(newest.at))
    }

    /// Turns what the channels and the reading want into requests.
    fn collect(&mut self, now: Micros) {
        for ask in self.reading.take_wanted() {
            match ask {
                Ask::Read { seq, within, deadline } => {
                    let Some(e) = entry(&self.line, seq) else { continue };
                    self.requests.push_back(Request::Read { frame: e.frame.clone(), within, deadline: deadline.max(now) });
                }
                Ask::Judge { id, at, is_final, words } => self.requests.push_back(Request::Judge { id, at, is_final, words }),
            }
        }
        for (detector, channel) in &mut self.channels {
            for Wanted { seq, why, deadline } in channel.take_wanted() {
                let Some(e) = entry(&self.line, seq) else { continue };
                *self.counts.looks.entry(why).or_default() += 1;
                let id = LookId { seq, detector: detector.clone() };
                channel.asked(seq, now + e.settings.detector(detector).map_or(Micros::ZERO, |d| d.look_budget));
                self.requests.push_back(Request::Look { id, frame: e.frame.clone(), why, deadline: deadline.max(now) });
            }
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PushError {
    #[error("frame {} is not newer than frame {} of the same stream: number and time must grow", seq.0, newest.0)]
    OutOfOrder { seq: FrameSeq, newest: FrameSeq },
}
