//! Who answers the source's requests in a run: a detector that errs and is late by plan, a cascade that tosses a coin, a threshold
//! policy that counts by generation; and the log of what they said, which the rules judge by.

use std::collections::BTreeMap;

use scrim_host::geometry::Rect;
use scrim_host::media::frame::Micros;
use scrim_host::room::look::Why;
use scrim_host::room::request::{LookId, Request};
use scrim_host::room::strain::Strain;
use scrim_host::vision::detection::{Detection, Verdict};

use super::{Checked, Event, Sim, ensure};
use crate::sim::Breach;
use crate::sim::plan::{self, Health, LOOK_BUDGET};
use crate::sim::world::LABELS;

/// Share of things that a detector misses, each time anew.
const MISS: f32 = 0.05;
/// Share of looks with a box where there is nothing.
const FALSE_ALARM: f32 = 0.01;
/// Share of a thing inside the picture from which it may be found.
const FOUND_MIN: f32 = 0.35;
/// Edges of a box are off by up to this share of its size.
const JITTER: f32 = 0.02;
/// The driver answers for a cascade that has not answered by then: look.
const CASCADE_DEADLINE: Micros = Micros::from_millis(20);

impl Sim {
    pub(super) fn request(&mut self, request: Request) -> Checked {
        match request {
            Request::Screen { frame, .. } => {
                self.screening = Some(frame.seq);
                let answer = self.rng.bool();
                // A trap, a missed deadline: the host looks with everything.
                let (latency, look) = if self.faulty(0.1) { (CASCADE_DEADLINE, true) } else { (self.millis(1..8), answer) };
                self.after(latency, Event::Screened { seq: frame.seq, look });
                let strain = self.source.strain();
                return ensure(strain == Strain::None, Breach::Overload, || format!("frame {} was put before the cascade", frame.seq.0));
            }
            Request::Look { id, deadline, why, .. } => {
                let now = self.now;
                let look = self.log(&id.detector).looks.entry(id.seq).or_default();
                look.why.push(why);
                look.asked.push(now);
                look.deadline = deadline;
                look.requests += 1;
                self.summary.looks += 1;
                let strain = self.source.strain_of(&id.detector);
                let may = strain == Strain::None || !matches!(why, Why::Cascade | Why::Bisect);
                let detail = format!("frame {} was looked at by {}: {why:?}, under {strain:?}", id.seq.0, id.detector);
                self.look(id);
                return ensure(may, Breach::Overload, || detail);
            }
            Request::Weigh { id, detections, .. } => {
                let trap = self.faulty(0.05);
                let latency = if self.faulty(0.15) { self.millis(5..60) } else { self.millis(1..6) };
                self.after(latency, Event::Weighed { id, detections, trap });
            }
            Request::Read { .. } | Request::Judge { .. } => unreachable!("no plan reads text"),
        }
        Ok(())
    }

    fn look(&mut self, id: LookId) {
        let found = self.detect(&id);
        let (health, until) = self.health.get(&id.detector).copied().unwrap_or((Health::Fast, Micros::ZERO));
        let health = if self.now >= until {
            let (health, lasts) = Health::draw(&mut self.rng, self.plan);
            self.health.insert(id.detector.clone(), (health, self.now + lasts));
            health
        } else {
            health
        };
        let fast = self.millis(5..50);
        let latency = match health {
            Health::Fast => fast,
            Health::Slow => self.millis(20..240),
            Health::Dead => return,
            Health::Failing => {
                if self.rng.u32(..3) == 0 {
                    return self.after(fast, Event::Failed(id));
                }
                fast
            }
            Health::OneLate if self.now >= self.late_from && self.rng.bool() => {
                self.late_from = self.now + self.settings.look_max;
                if self.rng.u32(..3) == 0 {
                    return;
                }
                self.millis(LOOK_BUDGET.0 / 1000 + 1..500)
            }
            Health::OneLate => fast,
        };
        self.after(latency, Event::Looked { id, found });
    }

    /// What the detector finds: the oracle's things with its own errors.
    fn detect(&mut self, id: &LookId) -> Vec<(u32, Detection)> {
        let Some(snapshot) = self.frames.get(&id.seq).cloned() else { return Vec::new() };
        let detection = |label: &str, area: Rect| Detection {
            detector: id.detector.clone(),
            label: label.into(),
            confidence: 0.8,
            area: Some(area),
            trail: None,
        };
        let mut found = Vec::new();
        for seen in &snapshot.seen {
            let (detector, label) = LABELS[seen.label];
            if detector != &*id.detector || seen.visible < FOUND_MIN || self.rng.f32() < MISS {
                continue;
            }
            let mut off = |side: f32| (self.rng.f32() * 2.0 - 1.0) * JITTER * side;
            let a = seen.area;
            let (left, top) = (a.x + off(a.width), a.y + off(a.height));
            let (right, bottom) = (a.right() + off(a.width), a.bottom() + off(a.height));
            found.push((seen.id, detection(label, Rect::from_edges(left, top, right, bottom))));
        }
        if self.rng.f32() < FALSE_ALARM {
            let area = Rect::new(0.7 * self.rng.f32(), 0.6 * self.rng.f32(), 0.2, 0.3);
            let own = LABELS.iter().find(|(detector, _)| *detector == &*id.detector);
            found.extend(own.map(|(_, label)| (0, detection(label, area))));
        }
        found
    }

    pub(super) fn looked(&mut self, id: LookId, found: Vec<(u32, Detection)>) -> Checked {
        let first = !self.found.contains_key(&id);
        let detections = found.iter().map(|(_, d)| d.clone()).collect();
        self.source.looked(id.clone(), detections, self.now);
        if first {
            self.found.insert(id.clone(), found);
        }
        let now = self.now;
        let in_time = self.log(&id.detector).looks.get(&id.seq).is_some_and(|l| now < l.deadline);
        let mut weighs = false;
        while let Some(request) = self.source.next_request() {
            weighs |= matches!(&request, Request::Weigh { id: weighed, .. } if *weighed == id);
            self.request(request)?;
        }
        ensure(weighs || !first || !in_time || !self.waits_for(&id), Breach::LookLost, || {
            format!("frame {}'s look by {} came in time and was not used", id.seq.0, id.detector)
        })
    }

    /// Whether the frame is still in the line and its settings ask for the detector.
    fn waits_for(&self, id: &LookId) -> bool {
        self.last_out.is_none_or(|last| id.seq > last) && self.settings_of.get(&id.seq).is_some_and(|s| s.detector(&id.detector).is_some())
    }

    pub(super) fn weighed(&mut self, id: &LookId, detections: &[Detection], trap: bool) -> Checked {
        // After a trap the host's default stands in: everything counts.
        let counts = if trap { [true; 3] } else { plan::counted(self.generation) };
        let label_counts = |d: &Detection| LABELS.iter().position(|(_, label)| *label == &*d.label).is_some_and(|i| counts[i]);
        let verdicts: Vec<Verdict> = detections.iter().map(|d| Verdict { counts: label_counts(d), threshold: 0.5 }).collect();
        self.source.weighed(id, self.generation, verdicts.clone(), self.now);
        let (now, generation) = (self.now, self.generation);
        let things: BTreeMap<u32, bool> = self.found.get(id).into_iter().flatten().map(|(thing, d)| (*thing, label_counts(d))).collect();
        let Some(look) = self.log(&id.detector).looks.get_mut(&id.seq) else { return Ok(()) };
        let in_time = now < look.deadline;
        if look.completed.is_none() {
            look.completed = Some(now);
            look.generation = generation;
            look.found = things;
        }
        let as_it_was = self.source.seen(id).is_some_and(|(d, v)| d == detections && v == verdicts);
        ensure(as_it_was || !in_time || !self.waits_for(id), Breach::LookLost, || {
            format!("frame {}'s look by {} is not on the timeline as it was", id.seq.0, id.detector)
        })
    }
}
