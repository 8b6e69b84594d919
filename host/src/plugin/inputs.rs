//! What a room's threshold policy was asked in the last hour, so that one can ask again how else it would have answered.
//!
//! Detections with their time go in, from any thread, and the same come out. Of one there is its detector, label, confidence, area and trail,
//! and a number for its source: no text, no picture, no name of anybody. Always: no older than [`SPAN`] and within [`BYTES_MAX`], the oldest
//! goes first; nothing here waits for more than another's entry.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::types::{Request, Source, SourceKind};
use crate::geometry::Rect;
use crate::media::frame::Micros;
use crate::vision::detection::Detection;

/// How long inputs are kept.
pub const SPAN: Micros = Micros::from_millis(3_600_000);
/// An input with one detection takes some 30 bytes: an hour of 15 looks a second fits.
pub const BYTES_MAX: usize = SEGMENT_BYTES * SEGMENTS_MAX;
const SEGMENT_BYTES: usize = 64 << 10;
const SEGMENTS_MAX: usize = 32;
/// Labels of detectors, and sources, that are told apart. What comes from more is left out and counted.
const NAMES_MAX: usize = 1024;
const SOURCES_MAX: usize = 1024;

/// A detection, its names by number.
#[derive(Serialize, Deserialize)]
struct Found {
    name: u16,
    confidence: f32,
    area: Option<Rect>,
    trail: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    at: Micros,
    source: u16,
    found: Vec<Found>,
}

/// Entries one behind the other.
#[derive(Clone, Default)]
struct Segment {
    bytes: Vec<u8>,
    last: Micros,
}

#[derive(Default)]
struct Ring {
    /// Full ones, the oldest first.
    full: VecDeque<Arc<Segment>>,
    open: Segment,
    names: Vec<(Arc<str>, Arc<str>)>,
    by_name: HashMap<(Arc<str>, Arc<str>), u16>,
    kinds: Vec<SourceKind>,
    by_source: HashMap<String, u16>,
    left_out: u64,
}

/// See the module.
#[derive(Default)]
pub struct Inputs(Mutex<Ring>);

/// What was kept at a moment.
pub struct Taken {
    segments: Vec<Arc<Segment>>,
    names: Vec<(Arc<str>, Arc<str>)>,
    sources: Vec<Arc<Source>>,
    since: Micros,
    /// Inputs, ever, that are not here since there was no room for their names.
    pub left_out: u64,
}

impl Inputs {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one input.
    pub fn push(&self, at: Micros, source: &Source, found: &[Detection]) {
        let mut ring = self.ring();
        let Some(entry) = ring.entry(at, source, found) else {
            ring.left_out += 1;
            return;
        };
        // Into memory nothing fails.
        let Ok(bytes) = postcard::to_stdvec(&entry) else { return };
        ring.open.bytes.extend(bytes);
        ring.open.last = ring.open.last.max(at);
        if ring.open.bytes.len() >= SEGMENT_BYTES {
            let full = std::mem::take(&mut ring.open);
            ring.full.push_back(Arc::new(full));
        }
        while ring.full.len() >= SEGMENTS_MAX || ring.full.front().is_some_and(|oldest| at.saturating_sub(oldest.last) > SPAN) {
            ring.full.pop_front();
        }
    }

    /// What was asked in the hour before `now`.
    pub fn take(&self, now: Micros) -> Taken {
        let ring = self.ring();
        let segments = ring.full.iter().cloned().chain([Arc::new(ring.open.clone())]).collect();
        let source =
            |(number, kind): (usize, &SourceKind)| Arc::new(Source { id: format!("source-{number}"), kind: *kind, owner: String::new() });
        Taken {
            segments,
            names: ring.names.clone(),
            sources: ring.kinds.iter().enumerate().map(source).collect(),
            since: now.saturating_sub(SPAN),
            left_out: ring.left_out,
        }
    }
}

impl Ring {
    /// None where there is no room for a name.
    fn entry(&mut self, at: Micros, source: &Source, found: &[Detection]) -> Option<Entry> {
        let source = match self.by_source.get(&source.id) {
            Some(number) => *number,
            None if self.kinds.len() == SOURCES_MAX => return None,
            None => {
                self.kinds.push(source.kind);
                let number = u16::try_from(self.kinds.len() - 1).ok()?;
                self.by_source.insert(source.id.clone(), number);
                number
            }
        };
        let found = found.iter().map(|detection| {
            let Detection { confidence, area, trail, .. } = *detection;
            Some(Found { name: self.name(detection)?, confidence, area, trail })
        });
        Some(Entry { at, source, found: found.collect::<Option<_>>()? })
    }

    fn name(&mut self, detection: &Detection) -> Option<u16> {
        let key = (detection.detector.clone(), detection.label.clone());
        if let Some(number) = self.by_name.get(&key) {
            return Some(*number);
        }
        if self.names.len() == NAMES_MAX {
            return None;
        }
        let number = u16::try_from(self.names.len()).ok()?;
        self.names.push(key.clone());
        self.by_name.insert(key, number);
        Some(number)
    }
}

impl Taken {
    /// Each with when it was asked, the oldest first.
    pub fn requests(&self) -> impl Iterator<Item = (Micros, Request)> {
        self.segments.iter().flat_map(|segment| Entries(&segment.bytes)).filter(|entry| entry.at >= self.since).filter_map(|entry| {
            let source = self.sources.get(usize::from(entry.source))?.clone();
            let detection = |found: Found| {
                let (detector, label) = self.names.get(usize::from(found.name))?.clone();
                Some(Detection { detector, label, confidence: found.confidence, area: found.area, trail: found.trail })
            };
            let found = entry.found.into_iter().map(detection).collect::<Option<_>>()?;
            Some((entry.at, Request::Weigh { source, found }))
        })
    }

    /// Those that anything may be of.
    pub fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }
}

/// The entries of a segment's bytes.
struct Entries<'a>(&'a [u8]);

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (entry, rest) = postcard::take_from_bytes(self.0).ok()?;
        self.0 = rest;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn source(id: &str) -> Source {
        Source { id: id.into(), kind: SourceKind::Screen, owner: "Olga".into() }
    }

    fn detection(label: &str, confidence: f32) -> Detection {
        let area = Some(Rect::new(0.1, 0.2, 0.3, 0.4));
        Detection { detector: "nudity".into(), label: label.into(), confidence, area, trail: Some(3) }
    }

    fn times(inputs: &Inputs, now: Micros) -> Vec<u64> {
        inputs.take(now).requests().map(|(at, _)| at.0 / 1_000_000).collect()
    }

    #[test]
    fn what_was_asked_comes_back_without_anybodys_name() {
        let inputs = Inputs::default();
        let asked = [
            detection("FACE_FEMALE", 0.25),
            detection("FEET_EXPOSED", f32::MIN_POSITIVE),
            Detection { area: None, trail: None, ..detection("FACE_FEMALE", 1.0) },
        ];
        inputs.push(Micros(5), &source("cam"), &asked[..2]);
        inputs.push(Micros(9), &source("other"), &asked[2..]);
        inputs.push(Micros(10), &source("cam"), &[]);
        let found: Vec<_> = inputs.take(Micros(10)).requests().collect();
        let wanted = |at, id: &str, found: &[Detection]| {
            let source = Arc::new(Source { owner: String::new(), ..source(id) });
            (Micros(at), Request::Weigh { source, found: found.to_vec() })
        };
        assert_eq!(found, [wanted(5, "source-0", &asked[..2]), wanted(9, "source-1", &asked[2..]), wanted(10, "source-0", &[])]);
    }

    #[test]
    fn an_hour_is_kept_and_no_more_than_there_is_room_for() {
        let inputs = Inputs::default();
        let second = |at: u64| Micros(at * 1_000_000);
        (0..10_000).for_each(|at| inputs.push(second(at), &source("cam"), &[detection("A", 0.5)]));
        assert_eq!(times(&inputs, second(9_999)), (6_399..10_000).collect::<Vec<_>>());
        let many: Vec<Detection> = (0..40).map(|_| detection("A", 0.5)).collect();
        (0..10_000).for_each(|at| inputs.push(Micros(second(10_000).0 + at), &source("cam"), &many));
        let ring = inputs.ring();
        let bytes = ring.full.iter().map(|segment| segment.bytes.len()).sum::<usize>() + ring.open.bytes.len();
        // A segment ends with the entry that fills it.
        assert!((BYTES_MAX / 2..BYTES_MAX + SEGMENTS_MAX * 2048).contains(&bytes), "{bytes} bytes");
        drop(ring);
        let last = inputs.take(second(10_001)).requests().last().map(|(at, _)| at);
        assert_eq!(last, Some(Micros(second(10_000).0 + 9_999)));
    }

    #[test]
    fn more_names_than_there_is_room_for_are_counted() {
        let inputs = Inputs::default();
        (0..NAMES_MAX + 5).for_each(|number| inputs.push(Micros(1), &source("cam"), &[detection(&number.to_string(), 0.5)]));
        (0..SOURCES_MAX + 2).for_each(|number| inputs.push(Micros(2), &source(&number.to_string()), &[]));
        let taken = inputs.take(Micros(2));
        // One source was there already.
        assert_eq!((taken.requests().count(), taken.left_out), (NAMES_MAX + SOURCES_MAX - 1, 5 + 3));
    }

    #[test]
    fn what_it_costs_to_keep_one_is_told() {
        let inputs = Inputs::default();
        let (source, found) = (source("cam"), [detection("FACE_FEMALE", 0.5), detection("FEET_EXPOSED", 0.4)]);
        let began = Instant::now();
        (0..100_000).for_each(|at| inputs.push(Micros(at), &source, &found));
        println!("{} ns an input of two detections", began.elapsed().as_nanos() / 100_000);
        let taken = inputs.take(Micros(100_000));
        assert!(taken.requests().count() > 10_000);
    }
}
