//! Which looks a channel asks for: by the clock, at both ends of a shot, at frames unlike both looked-at neighbours, between looks that
//! disagree, where the cascade wants one, and once more where one is late.

use super::{Channel, UNLIKE_MAX};
use crate::media::frame::{FrameSeq, Micros};
use crate::room::line::{DelayLine, Entry, entry, frame_interval};
use crate::room::look::{Look, State, Wanted, Why};
use crate::room::mutant::{Mutant, mutant};
use crate::room::strain::Strain;
use crate::vision::change::Signature;
use crate::vision::timeline;

impl Channel {
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

    /// Asks a second time for a look that failed or is overdue, unless the detector is far behind anyhow. Optional ones too: what was
    /// asked for since counts on them.
    pub(super) fn ask_again(&mut self, line: &DelayLine, seq: FrameSeq) -> bool {
        let spare = self.strain() < Strain::Wide && entry(line, seq).is_some();
        let Some(look) = self.looks.get_mut(&seq).filter(|l| spare && !l.again) else { return false };
        look.again = true;
        self.wanted.push(Wanted { seq, why: Why::Again, deadline: look.deadline });
        true
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
}
