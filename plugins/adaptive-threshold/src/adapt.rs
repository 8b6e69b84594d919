//! Owns what people's reports did to the thresholds. Reports and detections flow in, thresholds and verdicts out.
//!
//! What always holds, whatever the reports and their order:
//! - base ≤ threshold ≤ min(base + [`RAISE_MAX`], [`THRESHOLD_MAX`]), and a base is never raised by anything but the configuration.
//! - One event counts once; one reporter counts a bounded number of times an hour, one label rises a bounded number of times an hour.
//! - What reports added halves in each half-life. Time comes from the calls alone; time going backwards never raises a threshold.
//! - The state is bounded: see the constants. What is forgotten first is what could matter least.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Config, THRESHOLD_MAX};
use crate::decay::remaining;

/// A false positive raises the label's threshold by this much.
pub const RAISE_STEP: f64 = 0.02;
/// A confirmed detection lowers it by this much, down to the base.
pub const LOWER_STEP: f64 = 0.01;
/// Reports can't lift a threshold further above its base.
pub const RAISE_MAX: f64 = 0.2;
/// Raises below this are dropped: they are under what an `f32` threshold near 0.25 can show in six digits.
const RAISE_MIN: f64 = 1e-6;

/// Labels remembered with a raise or because they were seen.
pub const LABELS_MAX: usize = 512;
/// Events remembered so that none counts twice.
pub const EVENTS_MAX: usize = 4096;
/// Reporters whose budget is remembered.
pub const REPORTERS_MAX: usize = 1024;
/// Trails remembered as counting.
pub const TRAILS_MAX: usize = 4096;
/// Longest detector or label name that is remembered, in bytes; a longer one is weighed at its base.
pub const NAME_BYTES_MAX: usize = 128;

const HOUR_US: u64 = 3_600_000_000;
/// Calls come late or out of order by milliseconds, never by this much.
const CLOCK_BEGAN_ANEW_US: u64 = HOUR_US;

/// One detection, as far as weighing it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen<'a> {
    pub detector: &'a str,
    pub label: &'a str,
    /// 0..=1; anything else is tolerated.
    pub confidence: f32,
    pub trail: Option<u32>,
}

/// Whether a detection counts, and the threshold that decided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighed {
    pub counts: bool,
    pub threshold: f32,
}

/// The threshold of one label now.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelThreshold {
    pub detector: String,
    pub label: String,
    pub threshold: f32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Label {
    /// Above the base, as of `at_us`; 0..=RAISE_MAX.
    raise: f64,
    at_us: u64,
    /// Which hour of the stream's clock `raises` counts.
    hour: u64,
    raises: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Reporter {
    hour: u64,
    reports: u32,
}

/// What survives a swap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The latest time any call named.
    now_us: u64,
    labels: BTreeMap<(String, String), Label>,
    /// Hash of an event's id, to when it came.
    events: BTreeMap<u64, u64>,
    /// Hash of a reporter's name.
    reporters: BTreeMap<u64, Reporter>,
    /// (hash of the source's id, trail), to when it last counted.
    trails: BTreeMap<(u64, u32), u64>,
}

impl State {
    /// One verdict per detection, in the same order. A confidence that is not a number counts: a broken detector must not uncover.
    pub fn weigh(&mut self, config: &Config, at_us: u64, source_id: &str, found: &[Seen<'_>]) -> Vec<Weighed> {
        self.advance(at_us);
        let source = hash(source_id);
        found.iter().map(|seen| self.weigh_one(config, source, seen)).collect()
    }

    /// Takes what a person said of one detection; returns the thresholds that it changed, none or one.
    pub fn feedback(
        &mut self,
        config: &Config,
        at_us: u64,
        event_id: &str,
        reporter: &str,
        found: &Seen<'_>,
        correct: bool,
    ) -> Vec<LabelThreshold> {
        self.advance(at_us);
        if !self.first_time(event_id) || !self.remember(found.detector, found.label) || !self.reporter_may(config, reporter) {
            return Vec::new();
        }
        let before = self.threshold(config, found.detector, found.label);
        let (now_us, hour) = (self.now_us, self.now_us / HOUR_US);
        let Some(label) = self.labels.get_mut(&key(found.detector, found.label)) else { return Vec::new() };
        label.settle(now_us, config.half_life_us());
        if correct {
            label.raise = (label.raise - LOWER_STEP).max(0.0);
        } else {
            if label.hour != hour {
                (label.hour, label.raises) = (hour, 0);
            }
            if label.raises < config.raises_per_hour {
                label.raises += 1;
                label.raise = (label.raise + RAISE_STEP).min(RAISE_MAX);
            }
        }
        let threshold = self.threshold(config, found.detector, found.label);
        if threshold == before {
            return Vec::new();
        }
        vec![LabelThreshold { detector: found.detector.to_owned(), label: found.label.to_owned(), threshold }]
    }

    /// Every label that was seen or reported, and its threshold now.
    pub fn current(&mut self, config: &Config, at_us: u64) -> Vec<LabelThreshold> {
        self.advance(at_us);
        let list = |(detector, label): &(String, String)| LabelThreshold {
            detector: detector.clone(),
            label: label.clone(),
            threshold: self.threshold(config, detector, label),
        };
        self.labels.keys().map(list).collect()
    }

    /// Forgets the trails of a source: their numbers may be given again.
    pub fn source_ended(&mut self, at_us: u64, source_id: &str) {
        self.advance(at_us);
        let source = hash(source_id);
        self.trails.retain(|&(of, _), _| of != source);
    }

    fn weigh_one(&mut self, config: &Config, source: u64, seen: &Seen<'_>) -> Weighed {
        self.remember(seen.detector, seen.label);
        let full = self.threshold(config, seen.detector, seen.label);
        let trail = seen.trail.map(|trail| (source, trail));
        let counted = trail.is_some_and(|trail| self.trails.contains_key(&trail));
        let threshold = if counted { (full - config.trail_margin.clamp(0.0, 0.2)).max(0.0) } else { full };
        let counts = seen.confidence.is_nan() || seen.confidence >= threshold;
        if let Some(trail) = trail {
            if counts {
                drop_oldest(&mut self.trails, TRAILS_MAX - 1, |at| *at);
                self.trails.insert(trail, self.now_us);
            } else {
                self.trails.remove(&trail);
            }
        }
        Weighed { counts, threshold }
    }

    /// Without the margin for trails.
    fn threshold(&self, config: &Config, detector: &str, label: &str) -> f32 {
        let base = config.base(detector, label);
        let raise = self.labels.get(&key(detector, label)).map_or(0.0, |label| label.raise_at(self.now_us, config.half_life_us()));
        ((f64::from(base) + raise) as f32).clamp(base, THRESHOLD_MAX)
    }

    /// A little way back is the same instant. A long way back is a clock that began anew (a new stream, a restart): the state's times
    /// move with it, so that what was raised goes on halving and budgets that were spent stay spent.
    fn advance(&mut self, at_us: u64) {
        if self.now_us.saturating_sub(at_us) < CLOCK_BEGAN_ANEW_US {
            self.now_us = self.now_us.max(at_us);
            return;
        }
        let back = self.now_us - at_us;
        let hours_back = back.div_ceil(HOUR_US);
        self.now_us = at_us;
        for label in self.labels.values_mut() {
            label.at_us = label.at_us.saturating_sub(back);
            label.hour = label.hour.saturating_sub(hours_back);
        }
        self.reporters.values_mut().for_each(|reporter| reporter.hour = reporter.hour.saturating_sub(hours_back));
        self.events.values_mut().chain(self.trails.values_mut()).for_each(|at| *at = at.saturating_sub(back));
    }

    /// Whether the label is (now) remembered. A full table gives up a label that nobody raised in favour of the new one.
    fn remember(&mut self, detector: &str, label: &str) -> bool {
        if detector.len() > NAME_BYTES_MAX || label.len() > NAME_BYTES_MAX {
            return false;
        }
        let new = key(detector, label);
        if self.labels.contains_key(&new) {
            return true;
        }
        if self.labels.len() >= LABELS_MAX {
            let idle = self.labels.iter().find(|(_, label)| label.raise == 0.0).map(|(key, _)| key.clone());
            let Some(idle) = idle else { return false };
            self.labels.remove(&idle);
        }
        self.labels.insert(new, Label { at_us: self.now_us, ..Label::default() });
        true
    }

    fn first_time(&mut self, event_id: &str) -> bool {
        let event = hash(event_id);
        if self.events.contains_key(&event) {
            return false;
        }
        drop_oldest(&mut self.events, EVENTS_MAX - 1, |at| *at);
        self.events.insert(event, self.now_us);
        true
    }

    fn reporter_may(&mut self, config: &Config, reporter: &str) -> bool {
        let (name, hour) = (hash(reporter), self.now_us / HOUR_US);
        if !self.reporters.contains_key(&name) {
            if self.reporters.len() >= REPORTERS_MAX {
                self.reporters.retain(|_, reporter| reporter.hour >= hour);
            }
            // All of the table reported within this hour: a new voice waits for the next rather than push out a spent budget.
            if self.reporters.len() >= REPORTERS_MAX {
                return false;
            }
        }
        let entry = self.reporters.entry(name).or_insert(Reporter { hour, reports: 0 });
        if entry.hour != hour {
            *entry = Reporter { hour, reports: 0 };
        }
        if entry.reports >= config.reports_per_reporter_and_hour {
            return false;
        }
        entry.reports += 1;
        true
    }
}

impl Label {
    fn raise_at(&self, now_us: u64, half_life_us: u64) -> f64 {
        let raise = self.raise * remaining(now_us.saturating_sub(self.at_us), half_life_us);
        // A state that was restored may hold anything; not a number is no raise.
        if raise >= RAISE_MIN { raise.min(RAISE_MAX) } else { 0.0 }
    }

    fn settle(&mut self, now_us: u64, half_life_us: u64) {
        self.raise = self.raise_at(now_us, half_life_us);
        self.at_us = self.at_us.max(now_us);
    }
}

fn key(detector: &str, label: &str) -> (String, String) {
    (detector.to_owned(), label.to_owned())
}

/// Keeps at most `len_max` entries, the youngest. Drops an eighth at a time, so that the search is paid seldom.
fn drop_oldest<K: Ord + Copy, V>(map: &mut BTreeMap<K, V>, len_max: usize, age: impl Fn(&V) -> u64) {
    if map.len() <= len_max {
        return;
    }
    let mut ages: Vec<(u64, K)> = map.iter().map(|(key, value)| (age(value), *key)).collect();
    ages.sort_unstable();
    let surplus = map.len() - len_max + len_max / 8;
    for (_, key) in ages.into_iter().take(surplus) {
        map.remove(&key);
    }
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
