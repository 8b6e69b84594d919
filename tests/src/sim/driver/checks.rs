//! What is asserted of each published frame and of a whole run.

use scrim_host::geometry::Rect;
use scrim_host::media::frame::FrameSeq;
use scrim_host::room::published::{Cover, Published};
use scrim_host::room::settings::{FailMode, Settings};

use super::{Checked, Sim, ensure};
use crate::sim::Breach;
use crate::sim::rules::{self, Case, Duty};
use crate::sim::world::LABELS;

/// Share of a thing that must be covered.
const COVERED_MIN: f32 = 0.95;
/// Of the frames that things are in, those that may have one uncovered since the detector missed it.
const UNLUCKY_MAX: f64 = 0.03;
/// Covered area against the things' own, where nothing fails. What is held after things have left is in it.
const AREA_MAX: f64 = 4.0;

impl Sim {
    /// The frames and looks about the last published frame, for the one who looks into a failure.
    pub(super) fn around(&self) -> String {
        let mut out = String::new();
        let Some(seq) = self.last_out else { return out };
        for (seq, frame) in self.frames.range(FrameSeq(seq.0.saturating_sub(14))..FrameSeq(seq.0 + 16)) {
            let delay = self.settings_of.get(seq).map_or(0, |s| s.delay.0);
            let things: Vec<String> = frame.seen.iter().map(|s| format!("{}:{:.1}", s.id, s.visible)).collect();
            out += &format!("\n    frame {} shot {} at {} us of delay {delay} us, things {things:?}", seq.0, frame.shot, frame.at.0);
            for (detector, log) in &self.logs {
                let looks = log.looks.get(seq).map(|l| {
                    let done = l.completed.map(|at| at.saturating_sub(frame.at).0);
                    format!(
                        ", {detector} {:?} asked {:?} done +{done:?} due +{} saw {:?} by {}",
                        l.why,
                        l.asked,
                        l.deadline.0 - frame.at.0,
                        l.found,
                        l.generation
                    )
                });
                let skip = log.skips.get(seq).map(|_| format!(", {detector} skipped"));
                out.extend(looks.into_iter().chain(skip));
            }
        }
        format!("\n  now {} us{out}", self.now.0)
    }

    pub(super) fn check(&mut self, p: &Published) -> Checked {
        let seq = p.frame.seq;
        ensure(self.last_out.is_none_or(|last| last < seq), Breach::Order, || format!("frame {} after {:?}", seq.0, self.last_out))?;
        self.last_out = Some(seq);
        self.summary.published += 1;
        self.check_time(p)?;
        let counts = self.source.counts();
        let accounted = counts.published + counts.dropped + self.source.depth() as u64;
        let own = (self.pushed, self.summary.published);
        ensure((counts.captured, counts.published) == own && counts.captured == accounted, Breach::Account, || {
            format!("{} captured, {} published, {accounted} accounted for of {own:?}", counts.captured, counts.published)
        })?;
        let settings = self.settings_of[&seq].clone();
        match &p.cover {
            Cover::Full { detector, reason } => {
                self.summary.full += 1;
                ensure(settings.fail_mode == FailMode::Closed, Breach::FailMode, || format!("frame {} of an open room", seq.0))?;
                let why = || format!("frame {} at {} us, {detector}: {reason:?}", seq.0, p.frame.at.0);
                ensure(self.plan.may_fail(), Breach::FullCover, why)
            }
            Cover::Masks(masks) => {
                if let Some(reason) = p.passed_unjudged {
                    self.summary.passed += 1;
                    ensure(settings.fail_mode == FailMode::Open, Breach::FailMode, || format!("frame {} passed: {reason:?}", seq.0))?;
                    return ensure(self.plan.may_fail(), Breach::FullCover, || format!("frame {} passed: {reason:?}", seq.0));
                }
                self.check_masks(seq, &settings, masks)
            }
        }
    }

    fn check_time(&mut self, p: &Published) -> Checked {
        let just_now = self.shorten();
        let due = p.frame.at + self.delay;
        let dropped = self.source.counts().dropped;
        let on_time = self.now >= due && (just_now || (self.now == due && dropped == self.dropped));
        self.dropped = dropped;
        ensure(on_time, Breach::Time, || {
            format!("frame {} is due at {} us and left at {} us, {dropped} left out", p.frame.seq.0, due.0, self.now.0)
        })
    }

    fn check_masks(&mut self, seq: FrameSeq, settings: &Settings, masks: &[Rect]) -> Checked {
        let snapshot = &self.frames[&seq];
        let (mut due_area, mut unlucky) = (0.0, false);
        for detector in &settings.detectors {
            let Some(log) = self.logs.get(&detector.name) else { continue };
            let case = Case { now: self.now, seq, settings, frames: &self.frames, log, commits: &self.commits };
            if let Some(why) = case.unjudged() {
                return Err((Breach::Unjudged, format!("frame {} at {} us, {}: {why}", seq.0, snapshot.at.0, detector.name)));
            }
            for seen in snapshot.seen.iter().filter(|s| LABELS[s.label].0 == &*detector.name) {
                let covered = rules::covered(&seen.area, masks);
                match case.duty(seen.id) {
                    Duty::Due => {
                        self.summary.due += 1;
                        due_area += f64::from(seen.area.area());
                        ensure(covered >= COVERED_MIN, Breach::Exposed, || {
                            format!(
                                "frame {} at {} us: {:.0} % of thing {} at {:?} under {masks:?}",
                                seq.0,
                                snapshot.at.0,
                                covered * 100.0,
                                seen.id,
                                seen.area
                            )
                        })?;
                    }
                    Duty::Missed => {
                        self.summary.missed += 1;
                        due_area += f64::from(seen.area.area());
                        unlucky |= covered < COVERED_MIN;
                    }
                    Duty::Free => {}
                }
            }
        }
        self.summary.unlucky += u64::from(unlucky);
        self.summary.due_area += due_area;
        let union = rules::covered(&Rect::FULL, masks);
        self.summary.covered_area += f64::from(union);
        Ok(())
    }

    pub(super) fn conclude(&mut self) -> Checked {
        self.summary.dropped = self.source.counts().dropped;
        let (s, counts) = (&self.summary, self.source.counts());
        let clear = s.published - s.full - s.passed;
        ensure(s.published + counts.dropped == self.pushed, Breach::Account, || {
            format!("{} pushed, {} published", self.pushed, s.published)
        })?;
        ensure(2 * clear >= s.published, Breach::TooDark, || format!("{clear} of {} frames were judged", s.published))?;
        let unlucky = s.unlucky as f64 / s.published as f64;
        ensure(unlucky <= UNLUCKY_MAX, Breach::Misses, || format!("{:.2} % of the frames", unlucky * 100.0))?;
        let area = s.covered_area / s.due_area;
        ensure(self.plan.may_fail() || area <= AREA_MAX, Breach::OverCover, || format!("{area:.2} times the things' area"))
    }
}
