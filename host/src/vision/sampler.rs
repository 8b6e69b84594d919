//! Which frames, beyond those that the clock and the cuts require, are put before the cascade.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How the sampler chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SamplerRule {
    /// By how soon a followed thing may leave its mask, and by what changed where nothing is followed.
    Adaptive,
    /// The prototype's: every 1st, 2nd, 3rd or 5th frame by the share of the last 100 looks that found something.
    Prototype,
    /// Every n-th frame.
    Fixed(u32),
}

impl std::str::FromStr for SamplerRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "adaptive" => Ok(Self::Adaptive),
            "prototype" => Ok(Self::Prototype),
            _ => match text.strip_prefix("fixed:").and_then(|n| n.parse::<u32>().ok()).filter(|&n| n > 0) {
                Some(n) => Ok(Self::Fixed(n)),
                None => Err(format!("`{text}` is not a sampler rule: use `adaptive`, `prototype` or `fixed:N` with N ≥ 1")),
            },
        }
    }
}

impl std::fmt::Display for SamplerRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Adaptive => f.write_str("adaptive"),
            Self::Prototype => f.write_str("prototype"),
            Self::Fixed(n) => write!(f, "fixed:{n}"),
        }
    }
}

/// What the sampler is told of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scene {
    /// Movement of the fastest followed thing, in its own sizes per second; none when nothing is followed.
    pub speed: Option<f32>,
    /// Share of blocks unlike the last looked-at frame, 0..=1.
    pub unlike: f32,
    /// Frames since the last look or sample.
    pub frames: u32,
    /// Seconds between frames.
    pub frame_s: f32,
}

/// A thing may move this share of its size between samples before the interval shortens.
const SLACK: f32 = 0.45;
/// Where nothing is followed, a share of unlike blocks from which a frame is worth a question to the cascade; half a percent is two
/// blocks of a 16:9 picture.
const NEWS: f32 = 0.005;
/// The detection rate is taken over this many looks.
const RATE_WINDOW: usize = 100;

/// The sampler of one source.
#[derive(Clone, Debug, Default)]
pub struct Sampler {
    found: VecDeque<bool>,
}

impl Sampler {
    /// Tells the outcome of a look.
    pub fn looked(&mut self, found: bool) {
        if self.found.len() == RATE_WINDOW {
            self.found.pop_front();
        }
        self.found.push_back(found);
    }

    /// Whether this frame is put before the cascade.
    pub fn samples(&self, rule: SamplerRule, scene: &Scene) -> bool {
        match rule {
            SamplerRule::Fixed(n) => scene.frames >= n,
            SamplerRule::Prototype => scene.frames >= self.prototype_interval(),
            SamplerRule::Adaptive => match scene.speed {
                Some(speed) => scene.frames >= 2 && speed * scene.frame_s * scene.frames as f32 >= SLACK,
                None => scene.frames >= 2 && scene.unlike >= NEWS,
            },
        }
    }

    /// The prototype's rule: above 30 % every frame, above 10 % every 2nd, above 2 % every 3rd, else every 5th; looks that were not
    /// made yet count as empty.
    fn prototype_interval(&self) -> u32 {
        let rate = self.found.iter().filter(|f| **f).count() as f32 / RATE_WINDOW as f32;
        match rate {
            r if r > 0.30 => 1,
            r if r > 0.10 => 2,
            r if r > 0.02 => 3,
            _ => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_samples_fast_things_and_news() {
        let sampler = Sampler::default();
        let scene = |speed, unlike, frames| Scene { speed, unlike, frames, frame_s: 1.0 / 30.0 };
        let asks = |s: Scene| sampler.samples(SamplerRule::Adaptive, &s);
        assert!(!asks(scene(Some(0.1), 0.0, 4)), "a face that hardly moves waits for the clock");
        assert!(asks(scene(Some(8.0), 0.0, 2)));
        assert!(!asks(scene(None, 0.0, 4)));
        assert!(asks(scene(None, 0.02, 2)));
    }

    #[test]
    fn the_prototype_follows_its_detection_rate() {
        let mut sampler = Sampler::default();
        let asks = |s: &Sampler, frames| s.samples(SamplerRule::Prototype, &Scene { frames, ..Scene::default() });
        assert!(!asks(&sampler, 4) && asks(&sampler, 5));
        (0..100).for_each(|i| sampler.looked(i % 20 == 0));
        assert!(!asks(&sampler, 2) && asks(&sampler, 3));
        (0..100).for_each(|_| sampler.looked(true));
        assert!(asks(&sampler, 1));
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for rule in [SamplerRule::Adaptive, SamplerRule::Prototype, SamplerRule::Fixed(3)] {
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        assert!("fixed:0".parse::<SamplerRule>().is_err());
    }
}
