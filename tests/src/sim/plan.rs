//! What goes wrong in a run, and when: drawn from the seed.

use std::sync::Arc;

use fastrand::Rng;
use scrim_host::media::frame::Micros;
use scrim_host::room::settings::{DetectorSettings, FailMode, LabelSet, Settings};
use scrim_host::vision::sampler::SamplerRule;

/// A kind of run. Detectors miss one thing in twenty in all of them, and frames come at 5 to 60 a second with pauses and losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing fails and nothing is changed.
    Calm,
    /// Nothing fails; settings and the generation of the threshold policy change every few seconds.
    Changes,
    /// One look in each `look_max` takes longer than its budget, up to for ever.
    OneLate,
    /// Everything.
    Faults,
}

impl Plan {
    pub const ALL: [Plan; 4] = [Plan::Calm, Plan::Changes, Plan::OneLate, Plan::Faults];

    pub fn changes(self) -> bool {
        matches!(self, Plan::Changes | Plan::Faults)
    }

    /// Whether a frame may be covered whole.
    pub fn may_fail(self) -> bool {
        self == Plan::Faults
    }
}

/// How a detector is, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Fast,
    /// Up to four times the budget.
    Slow,
    /// No answer at all.
    Dead,
    /// One look in three fails at once.
    Failing,
    /// Late, at most once in `look_max`.
    OneLate,
}

impl Health {
    pub fn draw(rng: &mut Rng, plan: Plan) -> (Health, Micros) {
        let health = match plan {
            Plan::Calm | Plan::Changes => Health::Fast,
            Plan::OneLate => Health::OneLate,
            Plan::Faults => match rng.u32(..20) {
                0..=9 => Health::Fast,
                10..=12 => Health::OneLate,
                13..=15 => Health::Slow,
                16 => Health::Dead,
                _ => Health::Failing,
            },
        };
        (health, Micros::from_millis(rng.u64(500..3000)))
    }
}

pub const LOOK_BUDGET: Micros = Micros::from_millis(60);
const FRAME: Micros = Micros::from_millis(33);

/// Settings of a room; the first of a run are the defaults.
pub fn settings(rng: &mut Rng, first: bool) -> Arc<Settings> {
    let pick = |rng: &mut Rng, of: &[u64]| if first { of[0] } else { of[rng.usize(..of.len())] };
    let delay = Micros::from_millis(pick(rng, &[400, 400, 300, 200, 600]));
    let faces: &[&str] = [&["FACE_*"][..], &["FACE_A"], &["FACE_B"]][pick(rng, &[0, 0, 1, 2]) as usize];
    let detector = |name: &str, cover: &[&str]| DetectorSettings {
        name: Arc::from(name),
        look_budget: LOOK_BUDGET,
        cover: LabelSet::new(cover.iter().copied()),
    };
    let mut detectors = vec![detector("nudity", faces)];
    if pick(rng, &[1, 1, 0]) == 1 {
        detectors.push(detector("logo", &["LOGO_*"]));
    }
    Arc::new(Settings {
        delay,
        look_max: Settings::look_max_for(delay, LOOK_BUDGET, FRAME).unwrap_or(FRAME),
        hold: Micros::from_millis(pick(rng, &[800, 400, 800])),
        skip_max: Micros::from_millis(pick(rng, &[0, 0, 200, 300])),
        fail_mode: if pick(rng, &[0, 0, 0, 1]) == 0 { FailMode::Closed } else { FailMode::Open },
        sampler: [SamplerRule::Adaptive, SamplerRule::Prototype, SamplerRule::Fixed(3)][pick(rng, &[0, 0, 1, 2]) as usize],
        detectors,
        text: None,
        patience: Micros::from_millis(pick(rng, &[70, 0, 40])),
        style: scrim_host::vision::cover::Style::default(),
    })
}

/// The pace of the frames for a while: seconds between them, and until when.
pub fn pace(rng: &mut Rng) -> (f32, Micros) {
    let rates = [5.0, 8.0, 12.0, 15.0, 24.0, 25.0, 30.0, 30.0, 30.0, 50.0, 60.0];
    (1.0 / rates[rng.usize(..rates.len())], Micros::from_millis(rng.u64(1000..5000)))
}

/// Which labels a generation of the threshold policy counts.
pub fn counted(generation: u64) -> [bool; 3] {
    match generation % 4 {
        1 => [true, true, true],
        2 => [true, false, true],
        3 => [false, true, true],
        _ => [true, true, false],
    }
}
