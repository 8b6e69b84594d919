//! What a judge has said nothing of, and when what is muted was heard: held sample by sample against a microphone that the tests move themselves.

use std::ops::Range;

use proptest::prelude::*;

use super::line::{AudioLine, Format, Unjudged};
use super::mute::{RAMP, Replacement};
use crate::media::frame::Micros;

const DELAY: Micros = Micros::from_millis(400);
const BEGIN: u64 = 55_000_000;
/// How far an edge may be from where it was asked for.
const EDGE_MAX: i64 = 20_000;

/// Ten milliseconds of this level each time, that arrive when they were heard.
struct Line {
    line: AudioLine,
    now: u64,
    out: Vec<i16>,
}

impl Line {
    fn new(unjudged: Unjudged) -> Self {
        let mut line = AudioLine::new(Format { rate: 48_000, channels: 1 }, DELAY, 1 << 20);
        line.treat(unjudged);
        Self { line, now: BEGIN, out: Vec::new() }
    }

    /// So long of it, judged up to so long ago if that is said.
    fn go_on(&mut self, ms: u64, judged: Option<u64>) {
        for _ in 0..ms / 10 {
            self.now += 10_000;
            self.line.push(Micros(self.now), &[9000; 480]);
            if let Some(ago) = judged {
                self.line.judged(Micros(self.now - ago * 1000));
            }
            while let Some(chunk) = self.line.pop(Micros(self.now)) {
                self.out.extend(chunk.samples);
            }
        }
    }
}

/// Milliseconds of the microphone's time as places of what goes out.
fn ms(span: Range<usize>) -> Range<usize> {
    span.start * 48..span.end * 48
}

#[test]
fn what_is_not_judged_is_silent_from_its_first_sample_on_and_what_is_comes_as_it_was() {
    let mut line = Line::new(Unjudged::Silent);
    line.go_on(1000, Some(100));
    // The judge stops in the midst of a chunk; 300 ms of what it has heard are still to go.
    line.line.judged(Micros(line.now - 5000));
    line.go_on(2000, None);
    assert!(line.out[ms(0..995)].iter().all(|&sample| sample == 9000));
    assert!(line.out[ms(995..1000)].windows(2).all(|pair| pair[1] <= pair[0]), "led to silence");
    assert!(line.out[ms(1000..2600)].iter().all(|&sample| sample == 0), "unjudged sound goes out");
    assert!(line.line.judge_is_late());
    // It hears again what comes: what it has not heard stays silent, which is told as whole until a second is judged.
    line.go_on(900, Some(100));
    line.line.judged(Micros(line.now - 900_000));
    assert!(line.line.judge_is_late());
    line.go_on(1100, Some(100));
    assert!(!line.line.judge_is_late());
    let counts = line.line.counts();
    assert_eq!(line.out.len() as u64, counts.out);
    // Silent until the judge spoke again, which was at 3 s: what was due then was heard 400 ms before.
    let back = line.out.iter().rposition(|&sample| sample == 0).unwrap();
    assert!(back.abs_diff(2600 * 48) <= 10 * 48, "back at {back}");
    assert!(line.out[back + 6 * 48..].iter().all(|&sample| sample == 9000));
    assert!(counts.withheld.abs_diff((2605 - 995) * 48) <= 480 && counts.muted == 0 && counts.unjudged == 0, "{counts:?}");
}

#[test]
fn a_room_that_fails_open_lets_it_pass_with_the_mutes_and_counts_it() {
    let mut line = Line::new(Unjudged::Passes);
    line.line.mute(Micros(BEGIN + 500_000), Micros(BEGIN + 700_000));
    line.go_on(300, Some(0));
    line.go_on(2000, None);
    let counts = line.line.counts();
    let quiet = ms(494..706);
    assert!(line.out[quiet.end..].iter().chain(&line.out[..quiet.start]).all(|&sample| sample == 9000));
    assert!(line.out[ms(500..700)].iter().all(|&sample| sample == 0) && line.line.judge_is_late());
    assert_eq!((counts.unjudged, counts.withheld), (counts.out - 300 * 48, 0));
    assert!(counts.muted.abs_diff(210 * 48) < 48, "{counts:?}");
    // Nobody is asked any more: nothing is late, nothing counted.
    line.line.treat(Unjudged::Unasked);
    line.go_on(100, None);
    assert!(!line.line.judge_is_late() && line.line.counts().unjudged == counts.unjudged);
}

#[test]
fn what_never_came_needs_no_judge_and_a_tone_stands_for_what_was_not_judged() {
    let mut line = Line::new(Unjudged::Silent);
    line.line.replace_with(Replacement::Tone { hertz: 1000.0, level: 0.1 });
    line.go_on(500, Some(0));
    while let Some(chunk) = line.line.pop(Micros(line.now + 2_000_000)) {
        line.out.extend(chunk.samples);
    }
    assert!(!line.line.judge_is_late(), "silence of our own was to be judged");
    let mut line = Line::new(Unjudged::Silent);
    line.line.replace_with(Replacement::Tone { hertz: 1000.0, level: 0.1 });
    line.go_on(1000, None);
    assert!(line.out.iter().any(|&sample| sample > 3000) && line.out.iter().all(|&sample| sample < 3300));
}

/// Something that happens to a microphone's way.
#[derive(Clone, Debug)]
enum Gap {
    /// So much is lost, and nobody says so.
    Silent(u64),
    /// So much is lost, and known to be.
    Known(u64),
}

fn gap() -> impl Strategy<Value = Gap> {
    prop_oneof![(100_000..2_000_000_u64).prop_map(Gap::Silent), (1..100_u64).prop_map(|tens| Gap::Known(tens * 10_000))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever clock, jitter and gaps: what goes out silent is what was asked to be, within [`EDGE_MAX`], and all of the rest goes out.
    #[test]
    fn a_mute_lies_where_it_was_asked_for(
        ppm in -100_i64..=100,
        seed in any::<u64>(),
        gaps in prop::collection::vec((3_000_000..38_000_000_u64, gap()), 0..5),
        mutes in prop::collection::vec((1_000_000..38_000_000_u64, 60_000..900_000_u64, 0..350_000_u64), 1..12),
    ) {
        let format = Format { rate: 8000, channels: 1 };
        let mut line = AudioLine::new(format, DELAY, 1 << 20);
        let (mut random, mut gaps, mut mutes) = (seed, gaps, mutes);
        let mut below = |most: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % most
        };
        gaps.sort_by_key(|(at, _)| *at);
        gaps.dedup_by(|later, first| later.0 < first.0 + 4_000_000);
        // Asked for up to nearly a delay after they began.
        mutes.sort_by_key(|(from, _, after)| from + after);
        let (mut asked, mut ends) = (mutes.iter().peekable(), Vec::new());
        // By the host's clock: when what comes next is heard, when the last chunk came.
        let (mut heard, mut arrived, mut times, mut out) = (0_u64, 0_u64, Vec::new(), Vec::new());
        let mut next_gap = gaps.iter().peekable();
        let chunk = (10_000_i64 + ppm / 100) as u64;
        while heard < 42_000_000 {
            if let Some((_, gap)) = next_gap.next_if(|(at, _)| *at <= heard) {
                let (Gap::Silent(span) | Gap::Known(span)) = gap;
                heard += span;
                ends.push(heard);
                if let Gap::Known(span) = gap {
                    line.lost(span * 8 / 1000);
                }
            }
            times.extend((0..80).map(|number| heard + number * 125));
            heard += chunk;
            let held_up = if below(4) == 0 { below(60_000) } else { 0 };
            let arrives = arrived.max(heard + held_up);
            // Meanwhile what is due is fetched, and what is asked for is muted.
            while arrived < arrives {
                arrived = (arrived + 1000).min(arrives);
                while let Some((from, length, _)) = asked.next_if(|(from, _, after)| from + after <= arrived) {
                    line.mute(Micros(BEGIN + from), Micros(BEGIN + from + length));
                }
                while let Some(chunk) = line.pop(Micros(BEGIN + arrived)) {
                    chunk.came.into_iter().for_each(|came| out.extend_from_slice(&chunk.samples[came]));
                }
            }
            line.push(Micros(BEGIN + arrived), &[9000; 80]);
        }
        let counts = line.counts();
        prop_assert_eq!((counts.overruns, counts.dropped), (0, 0), "{:?}", counts);
        prop_assert!(out.len() > times.len() - 8000);
        for (&sample, &at) in out.iter().zip(&times) {
            let away = |(from, length, _): &(u64, u64, u64)| (*from as i64 - at as i64).max(at as i64 - (from + length) as i64);
            let away = mutes.iter().map(away).min().unwrap_or(i64::MAX);
            prop_assert!(away > -EDGE_MAX || sample == 0, "heard {} ms within a mute, at {} ms", away / -1000, at / 1000);
            let after_a_gap = ends.iter().any(|end| (end.saturating_sub(RAMP.0)..end + 2 * RAMP.0).contains(&at));
            prop_assert!(away < EDGE_MAX + RAMP.0 as i64 || sample != 0 || after_a_gap, "silent {} ms off a mute, at {} ms", away / 1000, at / 1000);
        }
    }
}
