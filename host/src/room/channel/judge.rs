//! What a channel's looks say of a frame: whether it is judged (invariant 1), and what of it is covered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Channel, UNLIKE_MAX};
use crate::geometry::Rect;
use crate::media::frame::{FrameSeq, Micros};
use crate::room::line::Entry;
use crate::room::look::{Look, State};
use crate::room::mutant::{Mutant, mutant};
use crate::room::settings::{DetectorSettings, Settings};
use crate::room::strain::Strain;
use crate::vision::detection::{Detection, Verdict};
use crate::vision::timeline::{self, Looked, MaskRule, Sighting, Trail};

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

/// What masks gain on each side, as a share of their size, when looks are far behind.
const WIDER: f32 = 0.15;

/// How long before its first sighting a thing is covered: what a detector sees now it may have missed a moment ago.
const LEAD: Micros = Micros::from_millis(70);

/// Looks of one shot and the trails through them, for one settings.
pub(super) struct Memo {
    shot: u32,
    settings: Arc<Settings>,
    pub seqs: Vec<FrameSeq>,
    looked: Vec<Looked>,
    pub trails: Vec<Trail>,
}

impl Channel {
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

    /// Makes the memo one of this shot and these settings.
    pub(super) fn refresh(&mut self, shot: u32, settings: &Arc<Settings>) {
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

fn sightings(detections: &[Detection], verdicts: &[Verdict], settings: &Settings) -> Vec<Sighting> {
    let covered = |d: &Detection| settings.detector(&d.detector).is_some_and(|s: &DetectorSettings| s.cover.contains(&d.label));
    let both = detections.iter().zip(verdicts).filter(|(d, _)| covered(d));
    both.map(|(d, v)| Sighting { area: d.area.unwrap_or(Rect::FULL), confidence: d.confidence, counts: v.counts }).collect()
}
