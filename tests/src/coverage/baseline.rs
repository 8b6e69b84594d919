//! Simple ways to cover, for comparison: the prototype's sampling with no hold, with the last boxes held until the next look, and
//! with these grown by a quarter on each side.

use scrim_host::geometry::Rect;
use scrim_host::vision::sampler::{Sampler, SamplerRule, Scene};

/// What happens between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    Nothing,
    Held,
    HeldGrown,
}

impl Between {
    pub const ALL: [Between; 3] = [Between::Nothing, Between::Held, Between::HeldGrown];

    pub fn name(self) -> &'static str {
        match self {
            Between::Nothing => "prototype, no hold",
            Between::Held => "prototype, hold",
            Between::HeldGrown => "prototype, hold grown 1/4",
        }
    }
}

/// What is covered on each frame, and on how many was looked. `boxes` is what a look at each frame would give.
pub fn run(between: Between, boxes: &[Vec<Rect>]) -> (Vec<Vec<Rect>>, usize) {
    let mut sampler = Sampler::default();
    let (mut since, mut looks, mut last) = (u32::MAX, 0, Vec::new());
    let covers = boxes.iter().map(|now| {
        since = since.saturating_add(1);
        if sampler.samples(SamplerRule::Prototype, &Scene { frames: since, ..Scene::default() }) {
            (since, looks) = (0, looks + 1);
            sampler.looked(!now.is_empty());
            last = now.clone();
            return match between {
                Between::HeldGrown => grown(&last),
                _ => last.clone(),
            };
        }
        match between {
            Between::Nothing => Vec::new(),
            Between::Held => last.clone(),
            Between::HeldGrown => grown(&last),
        }
    });
    (covers.collect(), looks)
}

fn grown(boxes: &[Rect]) -> Vec<Rect> {
    boxes.iter().map(|b| b.grown(b.width / 4.0, b.height / 4.0).clamped()).collect()
}
