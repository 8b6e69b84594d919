//! What should be true of a published frame, written down a second time: from the log of looks, and from the oracle, never from the
//! source's own measurements.

use std::collections::BTreeMap;

use scrim_host::geometry::Rect;
use scrim_host::media::frame::{FrameSeq, Micros};
use scrim_host::room::look::Why;
use scrim_host::room::settings::Settings;

use super::world::{LABELS, NOTICED_MIN, Snapshot, VISIBLE_MIN};

/// A look of one detector.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Of each request.
    pub why: Vec<Why>,
    pub asked: Vec<Micros>,
    /// When the source must have it.
    pub deadline: Micros,
    /// Reported as failed so often, of so many requests.
    pub failed: u32,
    pub requests: u32,
    /// When its verdicts were handed over.
    pub completed: Option<Micros>,
    /// By this generation.
    pub generation: u64,
    /// Things that it saw and whether they count.
    pub found: BTreeMap<u32, bool>,
}

impl Look {
    fn is_out(&self, now: Micros) -> bool {
        self.completed.is_none() && self.failed < self.requests && now < self.deadline
    }
}

/// What one detector was asked and answered.
#[derive(Debug, Default)]
pub struct Log {
    pub looks: BTreeMap<FrameSeq, Look>,
    /// Since when the detector is enabled; what it saw before may be forgotten.
    pub since: Micros,
    /// Frames that the cascade let pass without one.
    pub skips: BTreeMap<FrameSeq, Micros>,
}

/// Everything a rule may go by.
pub struct Case<'a> {
    pub now: Micros,
    pub seq: FrameSeq,
    pub settings: &'a Settings,
    pub frames: &'a BTreeMap<FrameSeq, Snapshot>,
    pub log: &'a Log,
    /// When each generation of the threshold policy came into force.
    pub commits: &'a BTreeMap<u64, Micros>,
}

/// Whether a thing is covered as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It must be covered.
    Due,
    /// A look that should have seen it missed it or took it for another, or none saw it. Such are counted and bounded.
    Missed,
    /// No policy asks for it.
    Free,
}

/// How far a thing may have moved, in fractions of the picture, that a still picture shows.
const STILL: f32 = 0.03;
/// Frames further apart have a gap between them, after which nothing is held.
const GAP: Micros = Micros::from_millis(250);

impl<'a> Case<'a> {
    fn frame(&self) -> &'a Snapshot {
        &self.frames[&self.seq]
    }

    fn in_shot(&self, seq: &FrameSeq) -> bool {
        self.frames.get(seq).is_some_and(|f| f.shot == self.frame().shot)
    }

    /// Completed looks of the frame's shot.
    fn completed(&self) -> impl DoubleEndedIterator<Item = (FrameSeq, &'a Look)> + '_ {
        let done = |l: &Look| l.completed.is_some_and(|at| at <= self.now);
        self.log.looks.iter().filter(move |(seq, l)| done(l) && self.in_shot(seq)).map(|(seq, l)| (*seq, l))
    }

    /// Frames that serve as looked at: by a look, or by a skip not too long after one.
    fn serving(&self) -> Vec<FrameSeq> {
        let mut serving: Vec<FrameSeq> = self.completed().map(|(seq, _)| seq).collect();
        let skips = self.log.skips.iter().filter(|(seq, _)| self.in_shot(seq));
        let allowed = skips.filter(|(seq, max)| {
            let at = self.frames[seq].at;
            self.completed().any(|(look, _)| look < **seq && at.saturating_sub(self.frames[&look].at) <= **max)
        });
        serving.extend(allowed.map(|(seq, _)| *seq));
        serving.sort();
        serving
    }

    /// Invariant 1: why the frame may not leave in the clear, if it may not.
    pub fn unjudged(&self) -> Option<String> {
        let serving = self.serving();
        let at = |seq: &FrameSeq| self.frames[seq].at;
        let Some(a) = serving.iter().rev().find(|seq| **seq <= self.seq) else { return Some("no earlier look of its shot".into()) };
        if *a == self.seq {
            return None;
        }
        let later = serving.iter().find(|seq| **seq > self.seq);
        let noticed: Vec<_> = self.frame().seen.iter().filter(|s| s.on_top && s.visible > 0.99 && s.area.area() >= NOTICED_MIN).collect();
        let between = |until: FrameSeq| {
            let mut between = self.log.looks.iter().filter(|(seq, _)| *a < **seq && **seq < until && self.in_shot(seq));
            if let Some((out, _)) = between.find(|(_, l)| l.is_out(self.now)) {
                return Some(format!("the look at frame {} is still out", out.0));
            }
            let span = at(&until).saturating_sub(at(a));
            (span > self.settings.look_max).then(|| format!("looks are {} us apart, more than {}", span.0, self.settings.look_max.0))
        };
        let by_a_pair = match later {
            None => Some("no later look".to_owned()),
            Some(b) => between(*b).or_else(|| {
                let new = |id: u32| self.frames[a].thing(id).is_none() && self.frames[b].thing(id).is_none();
                let visitor = noticed.iter().find(|s| new(s.id));
                visitor.map(|s| format!("thing {} is in neither look, at frames {} and {}", s.id, a.0, b.0))
            }),
        };
        // Where nothing has changed since the earlier look, that one serves as the later one too.
        let by_stillness = || {
            between(self.seq).or_else(|| {
                let moved = noticed.iter().find(|s| {
                    self.frames[a].thing(s.id).is_none_or(|was| {
                        let ((x, y), (wx, wy)) = (s.area.center(), was.area.center());
                        (x - wx).abs().max((y - wy).abs()) > STILL
                    })
                });
                moved.map(|s| format!("thing {} came or moved since frame {}", s.id, a.0))
            })
        };
        by_a_pair.and_then(|why| by_stillness().map(|and| format!("{why}; {and}")))
    }

    /// Whether nothing ends what is held between two frames: no cut, no flash, no gap.
    fn unbroken(&self, from: FrameSeq, to: FrameSeq) -> bool {
        let frames: Vec<&Snapshot> = self.frames.range(from..=to).map(|(_, f)| f).collect();
        frames.windows(2).all(|pair| pair[0].shot == pair[1].shot && pair[1].at.saturating_sub(pair[0].at) <= GAP)
    }

    /// What is due to a thing in the frame.
    pub fn duty(&self, id: u32) -> Duty {
        let Some(seen) = self.frame().thing(id) else { return Duty::Free };
        let (detector, label) = LABELS[seen.label];
        let covered = self.settings.detector(detector).is_some_and(|d| d.cover.contains(label));
        if !covered || seen.visible < VISIBLE_MIN {
            return Duty::Free;
        }
        let earlier = self.completed().rfind(|(seq, _)| *seq <= self.seq).filter(|(seq, _)| self.unbroken(*seq, self.seq));
        let later = self.completed().find(|(seq, _)| *seq >= self.seq).filter(|(seq, _)| self.unbroken(self.seq, *seq));
        let visible = |seq: FrameSeq| self.frames[&seq].thing(id).is_some_and(|s| s.visible >= VISIBLE_MIN);
        let missed = |look: &Option<(FrameSeq, &Look)>| look.is_some_and(|(seq, l)| visible(seq) && !l.found.contains_key(&id));
        if missed(&earlier) || missed(&later) {
            return Duty::Missed;
        }
        // One that comes where another goes, or where there was a false alarm, between the same two looks is taken for it: its path is
        // then interpolated from a place where it never was.
        if let (Some((_, a)), Some((_, b))) = (earlier, later) {
            let alone = |here: &Look, there: &Look| {
                let goes = there.found.keys().any(|other| !here.found.contains_key(other));
                here.found.contains_key(&id) && !there.found.contains_key(&id) && goes
            };
            if alone(a, b) || alone(b, a) {
                return Duty::Missed;
            }
        }
        let counts = |look: &Option<(FrameSeq, &Look)>| look.and_then(|(_, l)| l.found.get(&id).copied());
        if (counts(&earlier), counts(&later)) != (Some(true), Some(true)) {
            // Where only the cascade has looked, what a thing does between two looks that do not both see it is the risk that
            // `skip_max` buys.
            let after = |seq: &FrameSeq| earlier.is_none_or(|(a, _)| *seq > a);
            let before = |seq: &FrameSeq| later.is_none_or(|(b, _)| *seq < b);
            if self.serving().iter().any(|seq| after(seq) && before(seq) && self.unbroken(self.seq.min(*seq), self.seq.max(*seq))) {
                return Duty::Free;
            }
        }
        let age = |seq: FrameSeq| self.frame().at.saturating_sub(self.frames[&seq].at);
        let recent = earlier.is_some_and(|(seq, _)| age(seq) <= self.settings.hold);
        match (counts(&earlier), counts(&later)) {
            (Some(true), _) if recent => Duty::Due,
            (_, Some(true)) => Duty::Due,
            (Some(false), _) if self.held_by_the_old(id, earlier) => Duty::Due,
            (None, None) => Duty::Missed,
            _ => Duty::Free,
        }
    }

    /// Whether the newest look's generation was not in force yet when that look was captured, and the one before it still counts the
    /// thing (invariant 6: old and new masks are united until the new generation has looked past the commit).
    fn held_by_the_old(&self, id: u32, newest: Option<(FrameSeq, &Look)>) -> bool {
        let Some((seq, look)) = newest else { return false };
        let before_commit = self.commits.get(&look.generation).is_some_and(|&commit| self.frames[&seq].at < commit);
        let before = self.completed().rfind(|(s, _)| *s < seq).filter(|(s, _)| self.unbroken(*s, seq));
        before_commit
            && before.is_some_and(|(s, old)| {
                let within = self.frame().at.saturating_sub(self.frames[&s].at) <= self.settings.hold;
                let in_force = self.commits.get(&old.generation).is_none_or(|&commit| self.frames[&s].at >= commit);
                within
                    && in_force
                    && self.frames[&s].at >= self.log.since
                    && old.generation + 1 == look.generation
                    && old.found.get(&id) == Some(&true)
            })
    }
}

/// Share of an area that masks cover, by a grid of 20 × 20 points.
pub fn covered(area: &Rect, masks: &[Rect]) -> f32 {
    const SIDE: usize = 20;
    let at = |i: usize| (i as f32 + 0.5) / SIDE as f32;
    let inside = |x: f32, y: f32| masks.iter().any(|m| m.x <= x && x <= m.right() && m.y <= y && y <= m.bottom());
    let points = (0..SIDE * SIDE).filter(|i| inside(area.x + area.width * at(i % SIDE), area.y + area.height * at(i / SIDE)));
    points.count() as f32 / (SIDE * SIDE) as f32
}
