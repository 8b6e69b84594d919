//! Virtual time: a queue of events drives the source as a live driver would. [`answers`] are the simulated detector, cascade and
//! threshold policy, [`checks`] the rules asserted after each published frame.

mod answers;
mod checks;

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use scrim_host::media::frame::{FrameSeq, Micros};
use scrim_host::room::mutant::Mutant;
use scrim_host::room::request::LookId;
use scrim_host::room::settings::Settings;
use scrim_host::room::source::Source;
use scrim_host::vision::detection::Detection;

use super::plan::{self, Health, Plan};
use super::rules::Log;
use super::summary::Summary;
use super::world::{Snapshot, World};
use super::{Breach, Failure};

/// Frames and looks are remembered this long, more than any hold, delay and memory of the source together.
const REMEMBERED: Micros = Micros::from_millis(8000);

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
}
