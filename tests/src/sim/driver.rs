//! Virtual time: a queue of events drives the source as a live driver would, with a simulated detector, cascade and threshold policy,
//! and asserts the rules after each published frame.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use fastrand::Rng;
use scrim_host::geometry::Rect;
use scrim_host::media::frame::{FrameSeq, Micros};
use scrim_host::room::channel::Why;
use scrim_host::room::mutant::Mutant;
use scrim_host::room::settings::{FailMode, Settings};
use scrim_host::room::source::{Cover, LookId, Published, Request, Source};
use scrim_host::room::strain::Strain;
use scrim_host::vision::detection::{Detection, Verdict};

use super::plan::{self, Health, LOOK_BUDGET, Plan};
use super::rules::{self, Case, Duty, Log};
use super::world::{LABELS, Snapshot, World};
use super::{Breach, Failure};

/// Share of things that a detector misses, each time anew.
const MISS: f32 = 0.05;
/// Share of looks with a box where there is nothing.
const FALSE_ALARM: f32 = 0.01;
/// Share of a thing inside the picture from which it may be found.
const FOUND_MIN: f32 = 0.35;
/// Edges of a box are off by up to this share of its size.
const JITTER: f32 = 0.02;
/// Share of a thing that must be covered.
const COVERED_MIN: f32 = 0.95;
/// The driver answers for a cascade that has not answered by then: look.
const CASCADE_DEADLINE: Micros = Micros::from_millis(20);
/// Frames and looks are remembered this long, more than any hold, delay and memory of the source together.
const REMEMBERED: Micros = Micros::from_millis(8000);
/// Of the frames that things are in, those that may have one uncovered since the detector missed it.
const UNLUCKY_MAX: f64 = 0.03;
/// Covered area against the things' own, where nothing fails. What is held after things have left is in it.
const AREA_MAX: f64 = 4.0;

/// Figures of one run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub published: u64,
    pub dropped: u64,
    pub full: u64,
    pub passed: u64,
    pub looks: u64,
    /// Frames × things that had to be covered.
    pub due: u64,
    /// … that the detector missed, and of these those that were not covered.
    pub missed: u64,
    pub unlucky: u64,
    pub covered_area: f64,
    pub due_area: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |n: u64, of: u64| 100.0 * n as f64 / of.max(1) as f64;
        write!(
            f,
            "{} frames out, {} left out by shorter delays, {:.1} % whole",
            self.published,
            self.dropped,
            share(self.full, self.published)
        )?;
        write!(
            f,
            ", {:.1} % let pass unjudged, {:.2} looks a frame",
            share(self.passed, self.published),
            self.looks as f64 / self.published.max(1) as f64
        )?;
        write!(f, "; {} due and covered, {} missed, of which {} uncovered", self.due, self.missed, self.unlucky)?;
        write!(f, "; area {:.2} x", self.covered_area / self.due_area.max(1e-9))
    }
}

enum Event {
    Frame,
    Finish,
    Screened { seq: FrameSeq, look: bool },
    Looked { id: LookId, found: Vec<(u32, Detection)> },
    Failed(LookId),
    Weighed { id: LookId, detections: Vec<Detection>, trap: bool },
    Configure,
    Swap,
}

struct Sim {
    plan: Plan,
    rng: Rng,
    world: World,
    source: Source,
    now: Micros,
    queue: BTreeMap<(Micros, u64), Event>,
    order: u64,
    frames_left: u64,
    seq: FrameSeq,
    pushed: u64,
    pace: (f32, Micros),
    health: BTreeMap<Arc<str>, (Health, Micros)>,
    late_from: Micros,
    settings: Arc<Settings>,
    settings_of: BTreeMap<FrameSeq, Arc<Settings>>,
    frames: BTreeMap<FrameSeq, Snapshot>,
    logs: BTreeMap<Arc<str>, Log>,
    /// Which thing each found area belongs to, by look; the first answer of a look wins.
    found: BTreeMap<LookId, Vec<(u32, Detection)>>,
    screening: Option<FrameSeq>,
    generation: u64,
    commits: BTreeMap<u64, Micros>,
    delay: Micros,
    shorter: Option<(Micros, Micros)>,
    last_out: Option<FrameSeq>,
    dropped: u64,
    summary: Summary,
}

/// One run of `frames` frames.
///
/// # Errors
/// The first assertion that does not hold.
pub fn run(seed: u64, plan: Plan, frames: u64, mutant: Option<Mutant>) -> Result<Summary, Failure> {
    let mut rng = Rng::with_seed(seed);
    let settings = plan::settings(&mut rng, true);
    let mut sim = Sim {
        plan,
        world: World::new(rng.u64(..)),
        source: Source::mutated(settings.clone(), mutant),
        now: Micros::ZERO,
        queue: BTreeMap::new(),
        order: 0,
        frames_left: frames,
        seq: FrameSeq(0),
        pushed: 0,
        pace: (1.0 / 30.0, Micros::from_millis(3000)),
        health: BTreeMap::new(),
        late_from: Micros::ZERO,
        delay: settings.delay,
        settings,
        settings_of: BTreeMap::new(),
        frames: BTreeMap::new(),
        logs: BTreeMap::new(),
        found: BTreeMap::new(),
        screening: None,
        generation: 1,
        commits: BTreeMap::new(),
        shorter: None,
        last_out: None,
        dropped: 0,
        summary: Summary::default(),
        rng,
    };
    sim.run().map_err(|(breach, detail)| Failure { seed, plan, mutant, breach, detail: format!("{detail}{}", sim.around()) })?;
    Ok(sim.summary)
}

type Checked = Result<(), (Breach, String)>;

fn ensure(holds: bool, breach: Breach, detail: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err((breach, detail())) }
}

impl Sim {
    fn after(&mut self, delay: Micros, event: Event) {
        self.order += 1;
        self.queue.insert((self.now + delay, self.order), event);
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Micros {
        Micros(self.rng.u64(range.start * 1000..range.end * 1000))
    }

    fn run(&mut self) -> Checked {
        self.after(Micros::ZERO, Event::Frame);
        if self.plan.changes() {
            self.after(Micros::from_millis(2500), Event::Configure);
            self.after(Micros::from_millis(1500), Event::Swap);
        }
        while !self.queue.is_empty() || self.source.depth() > 0 {
            let event = self.queue.first_key_value().map(|((at, _), _)| *at);
            let wake = self.source.next_wake();
            let Some(next) = [event, wake].into_iter().flatten().min() else { break };
            self.now = next;
            if event == Some(next)
                && let Some((_, event)) = self.queue.pop_first()
            {
                self.handle(event)?;
            }
            self.settle()?;
            self.shorten();
            let wake = self.source.next_wake().unwrap_or(Micros::MAX);
            ensure(wake > self.now, Breach::Busy, || format!("at {} us the next wake is {} us", self.now.0, wake.0))?;
        }
        self.conclude()
    }

    /// Hands out requests and takes published frames until there are none.
    fn settle(&mut self) -> Checked {
        loop {
            while let Some(published) = self.source.publish(self.now) {
                self.check(&published)?;
            }
            // Even where nothing was published, there may be something to ask for now.
            let Some(request) = self.source.next_request() else { return Ok(()) };
            self.request(request)?;
        }
    }

    fn handle(&mut self, event: Event) -> Checked {
        match event {
            Event::Frame => self.capture(),
            Event::Finish => {
                self.source.finish(self.now);
                Ok(())
            }
            Event::Screened { seq, look } => {
                if self.screening == Some(seq) {
                    self.screening = None;
                    if !look {
                        let max = self.settings_of.get(&seq).map_or(Micros::ZERO, |s| s.skip_max);
                        for log in self.logs.values_mut().filter(|_| max > Micros::ZERO) {
                            log.skips.insert(seq, max);
                        }
                    }
                    self.source.screened(seq, |_| look, self.now);
                }
                Ok(())
            }
            Event::Looked { id, found } => self.looked(id, found),
            Event::Failed(id) => {
                if let Some(look) = self.log(&id.detector).looks.get_mut(&id.seq) {
                    look.failed += 1;
                }
                self.source.failed(&id, self.now);
                Ok(())
            }
            Event::Weighed { id, detections, trap } => self.weighed(&id, &detections, trap),
            Event::Configure => {
                self.configure();
                Ok(())
            }
            Event::Swap => {
                self.generation += 1;
                self.commits.insert(self.generation, self.now);
                self.source.committed(self.generation, self.now);
                let next = self.millis(600..3000);
                if self.frames_left > 0 {
                    self.after(next, Event::Swap);
                }
                Ok(())
            }
        }
    }

    /// The delay in force, by the rule of invariant 6; returns whether it has just become shorter.
    fn shorten(&mut self) -> bool {
        let Some((delay, _)) = self.shorter.filter(|(_, at)| *at <= self.now) else { return false };
        self.delay = delay;
        self.shorter = None;
        true
    }

    fn configure(&mut self) {
        let settings = plan::settings(&mut self.rng, false);
        if settings.delay < self.delay {
            self.shorter = Some((settings.delay, self.now + self.delay));
        } else {
            self.shorter = None;
            self.delay = settings.delay;
        }
        self.settings = settings.clone();
        self.source.configure(settings, self.now);
        let next = self.millis(300..6000);
        if self.frames_left > 0 {
            self.after(next, Event::Configure);
        }
    }

    fn capture(&mut self) -> Checked {
        if self.now >= self.pace.1 {
            let (interval, lasts) = plan::pace(&mut self.rng);
            self.pace = (interval, self.now + lasts);
        }
        let mut seconds = self.pace.0 * (0.92 + 0.16 * self.rng.f32());
        let (frame, snapshot) = self.world.frame(self.seq, self.now, seconds);
        self.frames.insert(self.seq, snapshot);
        self.settings_of.insert(self.seq, self.settings.clone());
        let seq = self.seq;
        self.pushed += 1;
        let before = self.settings_of.range(..seq).next_back().map(|(_, s)| s.clone());
        for detector in &self.settings.detectors {
            let log = self.logs.entry(detector.name.clone()).or_default();
            if before.as_ref().is_none_or(|s| s.detector(&detector.name).is_none()) {
                log.since = self.now;
            }
        }
        self.source.push(frame, self.now).map_err(|e| (Breach::Order, e.to_string()))?;
        self.seq = FrameSeq(seq.0 + 1);
        if self.rng.f32() < 0.02 {
            // Lost on the way here, with its number or before it had one.
            let lost = seconds;
            self.world.frame(self.seq, self.now, lost);
            seconds += lost;
            self.seq = FrameSeq(self.seq.0 + self.rng.u64(0..2));
        }
        if self.rng.f32() < 0.003 {
            // A pause; what moves goes on moving.
            let pause = 0.3 + 1.7 * self.rng.f32();
            self.world.frame(self.seq, self.now, pause);
            seconds += pause;
        }
        self.frames_left -= 1;
        let wait = Micros((seconds * 1e6) as u64);
        self.after(wait, if self.frames_left > 0 { Event::Frame } else { Event::Finish });
        let horizon = self.now.saturating_sub(REMEMBERED);
        let keep = self.frames.iter().find(|(_, f)| f.at >= horizon).map_or(seq, |(seq, _)| *seq);
        self.frames = self.frames.split_off(&keep);
        self.settings_of = self.settings_of.split_off(&keep);
        self.found.retain(|id, _| id.seq >= keep);
        for log in self.logs.values_mut() {
            log.looks = log.looks.split_off(&keep);
            log.skips = log.skips.split_off(&keep);
        }
        Ok(())
    }

    fn log(&mut self, detector: &Arc<str>) -> &mut Log {
        self.logs.entry(detector.clone()).or_default()
    }

    fn faulty(&mut self, share: f32) -> bool {
        self.plan == Plan::Faults && self.rng.f32() < share
    }

    fn request(&mut self, request: Request) -> Checked {
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

    fn looked(&mut self, id: LookId, found: Vec<(u32, Detection)>) -> Checked {
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

    fn weighed(&mut self, id: &LookId, detections: &[Detection], trap: bool) -> Checked {
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

    /// The frames and looks about the last published frame, for the one who looks into a failure.
    fn around(&self) -> String {
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

    fn check(&mut self, p: &Published) -> Checked {
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

    fn conclude(&mut self) -> Checked {
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
