//! When a microphone heard what comes from it. Chunks carry no times: their samples are counted, the count is held against when they arrive, and a
//! chunk that is later than any way holds one up is kept back until it shows what it is. If those after it catch up, it was held up, and nothing is
//! missing; if they stay as late for [`LATE_FOR`], what came before it was lost, and silence takes its place.
//!
//! What always holds: every sample that is taken comes out once, in order, or waits.

use super::offset::Offset;

/// Nanoseconds.
const MS: i128 = 1_000_000;
/// A chunk may be held up by this much.
const LATE_MAX: i128 = 70 * MS;
/// For so long arrivals must be later than that, if nothing less is said.
const LATE_FOR: i128 = 300 * MS;

/// What has been made of what came.
#[derive(Debug)]
pub enum Came {
    /// So many frames were lost here.
    Missing(u64),
    /// Samples, and when the first of them was heard, by the count: nanoseconds, without the offset.
    Sound { heard: i128, samples: Vec<i16> },
}

/// See the module.
#[derive(Debug)]
pub struct Arrivals {
    rate: u32,
    channels: u32,
    offset: Offset,
    /// When what comes next was heard, by the count; none before the first arrival.
    next: Option<i128>,
    /// Chunks that are kept back: how many frames, since when they arrive, and by how much the least late of them is late.
    kept: Vec<Vec<i16>>,
    kept_frames: u64,
    since: i128,
    least: i128,
}

impl Arrivals {
    pub fn new(rate: u32, channels: u32) -> Self {
        Self { rate, channels, offset: Offset::default(), next: None, kept: Vec::new(), kept_frames: 0, since: 0, least: i128::MAX }
    }

    /// Takes a chunk of whole frames. `patience`: for how long one that is late may be kept back, at most; `most`: frames that may be.
    pub fn take(&mut self, arrived: i128, samples: Vec<i16>, patience: i128, most: u64) -> Vec<Came> {
        let frames = samples.len() as u64 / u64::from(self.channels);
        let next = *self.next.get_or_insert(arrived - self.span(frames));
        let end = next + self.span(self.kept_frames + frames);
        let late = arrived - end - self.offset.now().unwrap_or(0);
        if late <= LATE_MAX {
            self.offset.see(end, arrived);
            self.keep(samples);
            return self.settle();
        }
        if self.kept.is_empty() {
            (self.since, self.least) = (arrived, late);
        }
        self.least = self.least.min(late);
        self.keep(samples);
        if arrived - self.since >= LATE_FOR.min(patience) {
            let missing = self.frames_of(self.least);
            let mut came = self.lost(missing);
            came.extend(self.settle());
            return came;
        }
        if self.kept_frames > most { self.settle() } else { Vec::new() }
    }

    /// So many frames never come: they lie before those that do.
    pub fn lost(&mut self, frames: u64) -> Vec<Came> {
        let Some(next) = self.next.as_mut().filter(|_| frames > 0) else { return Vec::new() };
        *next += span(frames, self.rate);
        vec![Came::Missing(frames)]
    }

    /// What is kept back was only held up.
    pub fn settle(&mut self) -> Vec<Came> {
        let channels = u64::from(self.channels);
        let Some(next) = self.next.as_mut() else { return Vec::new() };
        self.kept_frames = 0;
        let mut came = Vec::with_capacity(self.kept.len());
        for samples in self.kept.drain(..) {
            let heard = *next;
            *next += span(samples.len() as u64 / channels, self.rate);
            came.push(Came::Sound { heard, samples });
        }
        came
    }

    fn keep(&mut self, samples: Vec<i16>) {
        self.kept_frames += samples.len() as u64 / u64::from(self.channels);
        self.kept.push(samples);
    }

    /// Frames that are kept back.
    pub fn kept(&self) -> u64 {
        self.kept_frames
    }

    /// What is to be added to a time by the count to have one of the host's clock.
    pub fn offset(&self) -> i128 {
        self.offset.now().unwrap_or(0)
    }

    /// When what comes next was heard, by the host's clock.
    pub fn coming(&self) -> Option<i128> {
        Some(self.next? + self.offset())
    }

    fn span(&self, frames: u64) -> i128 {
        span(frames, self.rate)
    }

    fn frames_of(&self, nanos: i128) -> u64 {
        (nanos.max(0) * i128::from(self.rate) / (1000 * MS)) as u64
    }
}

fn span(frames: u64, rate: u32) -> i128 {
    i128::from(frames) * 1000 * MS / i128::from(rate)
}
