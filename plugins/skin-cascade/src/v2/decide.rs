//! The rules over time, pure: what was measured on a thumbnail, what is remembered of its source and what the host hints go in; look or skip
//! and a reason for people come out. Owns the state that snapshots carry.

use std::collections::BTreeMap;

use scrim_sdk::Hints;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::heads::{ALL, Head, TURNS};
use super::skin::Region;

/// Log-odds that a remembered head loses a second: a plain one (4) is held for a second through a turned or covered face.
const FADE: f32 = 4.0;
/// The same where looks found nothing to follow.
const FADE_IN_DOUBT: f32 = 12.0;
/// A remembered head counts no more than this, so it is held no longer than 1.5 s.
const HEAD_MOST: f32 = 6.0;
/// Grey levels by which an eighth-size pixel has to differ to count as new: above camera noise, which is averaged over 8×8 pixels.
const STEP: u8 = 12;
/// A skin region is the one of the last look if its share differs by less than this factor and its centre by less than `SAME_PLACE`.
const SAME_SHARE: f32 = 1.4;
const SAME_PLACE: f32 = 0.12;

/// What is remembered of all sources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    sources: BTreeMap<String, Memory>,
}

/// What is remembered of one source. Times are microseconds of its stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    seen_us: u64,
    /// Start of the scene; none before the first frame.
    scene_us: Option<u64>,
    asked_us: Option<u64>,
    followed_us: Option<u64>,
    /// Log-odds of the best head, faded since.
    head: f32,
    /// Which third of the sizes was searched last, and the best log-odds that each third had at its last turn.
    turn: u8,
    turns: [f32; TURNS.len()],
    /// Looks in a row after which the host followed nothing.
    empty: u32,
    skin: Option<(f32, f32, f32)>,
    read_us: Option<u64>,
    /// The picture at an eighth of the thumbnail, at the last look for people and for text.
    pub looked_at: Vec<u8>,
    pub read: Vec<u8>,
}

/// What one thumbnail shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// None: the sizes searched in this frame hold no window.
    pub head: Option<Head>,
    pub skin: Option<Region>,
    /// Share of the picture that differs from the last look, 0..=1.
    pub novelty: f32,
}

impl State {
    /// The memory of a source, made if there is none; then the source seen longest ago is forgotten if there are more than `most`.
    pub fn of(&mut self, id: &str, at_us: u64, most: usize) -> &mut Memory {
        if !self.sources.contains_key(id) {
            while self.sources.len() >= most.max(1) {
                let Some(oldest) = self.sources.iter().min_by_key(|(_, m)| m.seen_us).map(|(id, _)| id.clone()) else { break };
                self.sources.remove(&oldest);
            }
        }
        let memory = self.sources.entry(id.to_owned()).or_default();
        if memory.scene_us.is_none() {
            memory.seen_us = at_us;
        }
        memory
    }

    pub fn forget(&mut self, id: &str) {
        self.sources.remove(id);
    }

    pub fn len(&self) -> usize {
        self.sources.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

impl Memory {
    /// The sizes to search in this frame: all of them where the scene is new, else a third of them in turn.
    pub fn turn(&mut self, cut: bool) -> &'static [usize] {
        if cut || self.scene_us.is_none() {
            return ALL;
        }
        self.turn = (self.turn + 1) % TURNS.len() as u8;
        TURNS[usize::from(self.turn)]
    }

    /// Whether detectors of people look, and why.
    pub fn people(&mut self, config: &Config, at_us: u64, measured: &Measured, hints: &Hints) -> (bool, String) {
        let passed = at_us.saturating_sub(self.seen_us);
        self.seen_us = at_us;
        if hints.scene_cut || self.scene_us.is_none() {
            let (looked_at, read) = (std::mem::take(&mut self.looked_at), std::mem::take(&mut self.read));
            *self = Self { seen_us: at_us, scene_us: Some(at_us), turn: self.turn, read_us: self.read_us, ..Self::default() };
            self.turns = [f32::MIN; TURNS.len()];
            (self.looked_at, self.read) = (looked_at, read);
        }
        if !hints.trails.is_empty() {
            self.followed_us = Some(at_us);
            self.empty = 0;
        }
        let in_doubt = self.empty >= config.empty_looks;
        let (bar, fade) = if in_doubt { (config.head_in_doubt, FADE_IN_DOUBT) } else { (config.head, FADE) };
        let faded = self.head - fade * seconds(passed);
        self.turns[usize::from(self.turn) % TURNS.len()] = measured.head.map_or(f32::MIN, |h| h.score);
        // A head of another size was there at that size's turn; it is taken to be there until the next.
        let now = self.turns.iter().copied().fold(f32::MIN, f32::max);
        self.head = faded.max(now).min(HEAD_MOST);

        let answer = self.why(config, at_us, measured, hints, bar);
        if answer.is_some() {
            self.asked_us = Some(at_us);
            self.empty = if hints.trails.is_empty() { self.empty.saturating_add(1) } else { 0 };
            self.skin = measured.skin.map(|r| (r.share, r.center.0, r.center.1));
        }
        match answer {
            Some(reason) => (true, reason),
            None => (false, format!("nothing new since a look {:.1} s ago", seconds(self.since_look(at_us, hints).unwrap_or(0)))),
        }
    }

    fn why(&self, config: &Config, at_us: u64, measured: &Measured, hints: &Hints, bar: f32) -> Option<String> {
        let since = |then: Option<u64>| then.map(|then| at_us.saturating_sub(then));
        let within = |span: Option<u64>, ms: u32| span.is_some_and(|us| us < u64::from(ms) * 1000);
        if !hints.trails.is_empty() {
            return Some(format!("followed by the host: {}", hints.trails.len()));
        }
        let followed = since(self.followed_us);
        if within(followed, config.hold_ms) {
            return Some(format!("followed by the host {:.1} s ago", seconds(followed.unwrap_or(0))));
        }
        if let Some(head) = measured.head
            && head.score >= bar
        {
            return Some(format!("head-like shape at {}, score {:.1}", place(head.center), head.score));
        }
        if self.head >= bar {
            return Some(format!("head-like shape a moment ago, score faded to {:.1}", self.head));
        }
        if self.asked_us.is_none() || within(since(self.scene_us), config.settle_ms) {
            return Some("the scene is new".into());
        }
        let looked = self.since_look(at_us, hints);
        if !within(looked, config.look_every_ms) {
            return Some(format!("no look for {:.1} s", seconds(looked.unwrap_or(0))));
        }
        if within(looked, config.novelty_every_ms) {
            return None;
        }
        if let Some(region) = measured.skin
            && region.share >= config.skin_region
            && !self.knows(region)
        {
            return Some(format!("skin region {:.1} % at {}", region.share * 100.0, place(region.center)));
        }
        (measured.novelty > 0.0 && measured.novelty >= config.novelty)
            .then(|| format!("{:.0} % of the picture differ from the last look", measured.novelty * 100.0))
    }

    /// Whether the last look saw this region.
    fn knows(&self, region: Region) -> bool {
        self.skin.is_some_and(|(share, x, y)| {
            let ratio = region.share.max(share) / region.share.min(share);
            ratio < SAME_SHARE && (region.center.0 - x).abs() < SAME_PLACE && (region.center.1 - y).abs() < SAME_PLACE
        })
    }

    /// Microseconds since a look that this policy asked for or the host made by itself; none before the first.
    fn since_look(&self, at_us: u64, hints: &Hints) -> Option<u64> {
        let asked = self.asked_us.map(|then| at_us.saturating_sub(then));
        match (asked, hints.since_look_us) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether detectors of text look, and why.
    pub fn text(&mut self, config: &Config, at_us: u64, edges: f32, novelty: f32, cut: bool) -> (bool, String) {
        if edges < config.edges_least {
            return (false, format!("edges {:.1} % of the picture: nothing to read", edges * 100.0));
        }
        let age = self.read_us.map(|then| at_us.saturating_sub(then));
        let reason = match age {
            None => "nothing was read yet".into(),
            _ if cut => "the scene is new".into(),
            Some(age) if age >= u64::from(config.look_every_ms) * 1000 => format!("nothing was read for {:.1} s", seconds(age)),
            Some(age) if novelty > 0.0 && novelty >= config.text_novelty && age >= u64::from(config.novelty_every_ms) * 1000 => {
                format!("{:.0} % of the picture differ from what was read", novelty * 100.0)
            }
            Some(age) => return (false, format!("nothing new since it was read {:.1} s ago", seconds(age))),
        };
        self.read_us = Some(at_us);
        (true, reason)
    }
}

fn seconds(us: u64) -> f32 {
    us as f32 / 1e6
}

/// Share of pixels that differ by more than [`STEP`]; all of them where the sizes differ.
pub fn novelty(small: &[u8], before: &[u8]) -> f32 {
    if small.len() != before.len() || small.is_empty() {
        return 1.0;
    }
    let differ: usize = small.iter().zip(before).filter(|(a, b)| a.abs_diff(**b) > STEP).count();
    differ as f32 / small.len() as f32
}

/// A ninth of the picture, in words.
pub fn place((x, y): (f32, f32)) -> &'static str {
    const NAMES: [[&str; 3]; 3] =
        [["top left", "top", "top right"], ["left", "the middle", "right"], ["bottom left", "bottom", "bottom right"]];
    let third = |v: f32| ((v * 3.0) as usize).min(2);
    NAMES[third(y)][third(x)]
}
