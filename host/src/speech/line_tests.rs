//! What comes out of an [`AudioLine`], counted sample by sample, on clocks that jitter, drift and stop.

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::line::{AudioLine, Chunk, DRIFT_MAX, Format, Unjudged, WAIT_MAX};
use super::mute::{RAMP, Replacement};
use crate::media::frame::Micros;

const MONO: Format = Format { rate: 48_000, channels: 1 };
const DELAY: Micros = Micros::from_millis(500);
const BEGIN: u64 = 77_000_000;

/// A line with a microphone before it and a listener behind it, on one clock.
struct Bench {
    line: AudioLine,
    format: Format,
    delay: Micros,
    now: u64,
    /// Frames that the microphone has heard.
    heard: u64,
    chunks: Vec<Chunk>,
    /// Silence that had gone out after each of them, in frames.
    silence: Vec<u64>,
}

impl Bench {
    fn new(format: Format, delay: Micros) -> Self {
        Self { line: AudioLine::new(format, delay, 64 << 20), format, delay, now: BEGIN, heard: 0, chunks: Vec::new(), silence: Vec::new() }
    }

    fn fetch(&mut self, until: u64) {
        while self.now < until {
            self.now = (self.now + 10_000).min(until);
            let now = Micros(self.now);
            while let Some(chunk) = self.line.pop(now) {
                assert!(chunk.at.0 + 10_000 + self.delay.0 <= self.now + 1000 + DRIFT_MAX.0, "{} is early at {}", chunk.at.0, self.now);
                self.chunks.push(chunk);
                self.silence.push(self.line.counts().underruns + self.line.counts().inserted);
            }
        }
        self.check();
    }

    /// The microphone sends what it has heard, at this time.
    fn send(&mut self, arrived: u64, samples: &[i16]) {
        self.fetch(arrived);
        self.line.push(Micros(arrived), samples);
        self.heard += samples.len() as u64 / u64::from(self.format.channels);
        self.check();
    }

    /// Sound of this level for so long, in chunks of 10 ms that arrive when they were heard.
    fn level(&mut self, ms: u64, level: i16) {
        for _ in 0..ms / 10 {
            let frames = self.format.rate as usize / 100 * self.format.channels as usize;
            self.send(self.now + 10_000, &vec![level; frames]);
        }
    }

    fn set_delay(&mut self, ms: u64) {
        self.delay = Micros::from_millis(ms);
        self.line.set_delay(self.delay);
    }

    fn check(&self) {
        let counts = self.line.counts();
        assert_eq!(counts.taken, self.heard);
        assert_eq!(counts.taken + counts.underruns + counts.inserted, counts.out + counts.overruns + counts.dropped + counts.held);
        assert_eq!(counts.out, self.chunks.len() as u64 * u64::from(self.format.rate) / 100);
        assert_eq!(self.line.bytes() as u64, counts.held * 2 * u64::from(self.format.channels));
    }

    fn out(&self) -> Vec<i16> {
        self.chunks.iter().flat_map(|chunk| chunk.samples.iter().copied()).collect()
    }
}

/// The largest step from one sample to the next.
fn step(samples: &[i16]) -> i32 {
    samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0)
}

/// What a ramp over a constant of this level may step, rounding included.
fn ramp_step(level: i16, rate: u32) -> i32 {
    i32::from(level).abs() / (rate as i32 * RAMP.0 as i32 / 1_000_000) + 2
}

#[test]
fn half_a_minute_of_odd_chunks_comes_out_as_it_went_in() {
    let format = Format { rate: 48_000, channels: 2 };
    let (mut bench, mut random) = (Bench::new(format, DELAY), 1_u64);
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let (mut sent, mut arrived) = (Sha256::new(), 0);
    while bench.heard < 30 * 48_000 {
        let frames = 1 + next(977);
        let samples: Vec<i16> = (0..frames * 2).map(|_| next(65_536) as u16 as i16).collect();
        sent.update(samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>());
        // Held up for up to 55 ms, but never before the chunk before it.
        arrived = arrived.max(BEGIN + (bench.heard + frames) * 1_000_000 / 48_000 + next(55_000));
        bench.send(arrived, &samples);
    }
    bench.fetch(bench.now + 2_000_000);
    let (counts, mut out) = (bench.line.counts(), bench.out());
    // All of it went out, and after it silence until now.
    assert_eq!((counts.overruns, counts.dropped, counts.inserted, counts.muted, counts.held), (0, 0, 0, 0, 0));
    assert_eq!(counts.out, bench.heard + counts.underruns);
    let rest = out.split_off(bench.heard as usize * 2);
    let got = Sha256::digest(out.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>());
    assert_eq!(got, sent.finalize());
    // The last sample is led to silence.
    assert!(rest[2 * 240..].iter().all(|&sample| sample == 0) && rest.len() > 48_000);
}

#[test]
fn nothing_goes_out_before_it_is_due_and_all_of_it_then() {
    let mut bench = Bench::new(MONO, DELAY);
    bench.send(BEGIN + 20_000, &[1; 960]);
    let due = BEGIN + 10_000 + DELAY.0;
    let chunk = |at| Chunk { at: Micros(at), samples: vec![1; 480], came: std::iter::once(0..480).collect() };
    assert_eq!(bench.line.pop(Micros(due - 1)), None);
    assert_eq!(bench.line.pop(Micros(due)), Some(chunk(BEGIN)));
    assert_eq!(bench.line.pop(Micros(due + 9_999)), None);
    assert_eq!(bench.line.pop(Micros(due + 10_000)), Some(chunk(BEGIN + 10_000)));
    // What never comes is waited for a little, then it is silence.
    assert_eq!(bench.line.pop(Micros(due + 20_000 + WAIT_MAX.0 - 1)), None);
    let silence = bench.line.pop(Micros(due + 20_000 + WAIT_MAX.0)).unwrap();
    assert!(silence.at == Micros(BEGIN + 20_000) && silence.came.is_empty() && silence.samples[240..].iter().all(|&sample| sample == 0));
    assert_eq!(bench.line.counts().underruns, 480);
}

#[test]
fn a_mute_is_silent_to_the_sample_and_has_ramps_of_5_ms() {
    let mut bench = Bench::new(MONO, DELAY);
    // From the middle of a chunk, and between two samples.
    let (from, to) = (BEGIN + 1_234_567, BEGIN + 1_500_003);
    bench.line.mute(Micros(from), Micros(to));
    bench.level(3000, 12_000);
    bench.fetch(bench.now + 400_000);
    let out = bench.out();
    let at = |sample: usize| BEGIN as f64 + sample as f64 * 1e6 / 48_000.0;
    for (number, &sample) in out.iter().enumerate() {
        let away = (from as f64 - at(number)).max(at(number) - to as f64).clamp(0.0, RAMP.0 as f64);
        let wanted = 12_000.0 * away / RAMP.0 as f64;
        assert!((f64::from(sample) - wanted).abs() <= 2.0, "{sample} instead of {wanted} at {number}");
        assert!(away > 0.0 || sample == 0);
    }
    let silent = out.iter().filter(|&&sample| sample == 0).count() as f64 / 48.0;
    assert!((silent - (to - from) as f64 / 1000.0).abs() < 0.05, "{silent} ms");
    assert!(step(&out) <= ramp_step(12_000, 48_000), "{}", step(&out));
    let muted = bench.line.counts().muted as f64 / 48.0;
    assert!((muted - silent - 10.0).abs() < 0.1, "{muted} ms muted");
}

#[test]
fn a_mute_that_comes_too_late_and_a_judge_that_fails_are_silent_at_once_and_do_not_click() {
    let mut bench = Bench::new(MONO, DELAY);
    bench.level(1000, 12_000);
    let out = bench.chunks.len() * 480;
    // In the midst of what is going out: it began before.
    bench.line.mute(Micros(0), Micros(bench.now - DELAY.0 + 100_000));
    bench.level(500, 12_000);
    bench.line.treat(Unjudged::Silent);
    let failed = bench.chunks.len() * 480;
    bench.level(200, -9000);
    bench.line.treat(Unjudged::Unasked);
    let right = bench.chunks.len() * 480;
    bench.level(900, -9000);
    let samples = bench.out();
    // For the length of a ramp it is the last sample that is led to silence, whatever came.
    for from in [out, failed] {
        for (number, &sample) in samples[from..from + 240].iter().enumerate() {
            let wanted = 12_000.0 * (1.0 - number as f64 / 240.0);
            assert!((f64::from(sample) - wanted).abs() <= 1.0, "{sample} instead of {wanted}");
        }
    }
    assert!(samples[out + 240..out + 4800].iter().chain(&samples[failed + 240..right]).all(|&sample| sample == 0));
    let (before, after) = (&samples[right - 480..right + 480], &samples[right + 240..right + 4800]);
    assert!(step(before) <= ramp_step(12_000, 48_000) && after.iter().all(|&sample| sample == 12_000));
    // The sound itself jumps by 21000 once.
    assert_eq!(samples.windows(2).filter(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs() > ramp_step(12_000, 48_000)).count(), 1);
}

#[test]
fn a_tone_stands_in_and_keeps_its_phase() {
    let mut bench = Bench::new(MONO, DELAY);
    let tone = Replacement::Tone { hertz: 1000.0, level: 0.25 };
    bench.line.replace_with(tone);
    for span in 0..8 {
        bench.line.mute(Micros(BEGIN + span * 100_000), Micros(BEGIN + span * 100_000 + 50_000));
    }
    bench.level(1500, 0);
    let out = bench.out();
    let silent = |number: usize| (number as u64 * 1000 / 48 + 45_000) % 100_000 < 40_000 || number > 48 * 755;
    for (number, &sample) in out.iter().enumerate() {
        let wanted = tone.sample(number as u64, 48_000);
        let inside = number * 1000 / 48 % 100_000 < 49_900 && number < 48 * 750;
        assert!(!inside || f32::from(sample).abs_sub_to(wanted) <= 1.0, "{sample} instead of {wanted} at {number}");
        assert!(inside || !silent(number) || sample == 0 || number * 1000 / 48 % 100_000 > 94_000, "{sample} at {number}");
    }
    assert!(out.iter().any(|&sample| sample > 8000) && out.iter().all(|&sample| sample.abs() < 8200));
    // The steepest that the tone itself is, and the ramp on top.
    assert!(step(&out) <= (8192.0 * std::f32::consts::TAU / 48.0) as i32 + ramp_step(8192, 48_000));
}

trait Away {
    fn abs_sub_to(self, other: f32) -> f32;
}

impl Away for f32 {
    fn abs_sub_to(self, other: f32) -> f32 {
        (self - other).abs()
    }
}

#[test]
fn a_gap_becomes_silence_in_its_place() {
    // Two that the delay hides, one that is longer than the delay, one that is known to be one.
    for (gap, known) in [(100_000, false), (300_000, false), (2_000_000, false), (30_000, true)] {
        let mut bench = Bench::new(MONO, DELAY);
        bench.level(1000, 5000);
        bench.fetch(bench.now + gap);
        if known {
            bench.line.lost(gap * 48 / 1000);
        }
        bench.level(2000, 7000);
        bench.fetch(bench.now + DELAY.0 - 100_000);
        let counts = bench.line.counts();
        let missing = gap * 48 / 1000;
        let out = bench.out();
        assert_eq!((counts.underruns, counts.overruns, counts.dropped, counts.inserted), (missing, 0, 0, 0), "{gap}");
        let again = out.iter().position(|&sample| sample == 7000).unwrap() as u64;
        // After a ramp that leads to it.
        assert!(again.abs_diff(48_000 + missing + 240) <= 1, "again at {again}, after {missing}");
        assert!(out[48_000 + 240..48_000 + missing as usize].iter().all(|&sample| sample == 0));
        assert!(step(&out) <= ramp_step(7000, 48_000));
        // Its time is that of the clock again.
        let last = bench.chunks.last().unwrap();
        assert!(last.at.0.abs_diff(bench.now - DELAY.0 - 10_000) < 10_001, "{last:?} at {}", bench.now);
    }
}

#[test]
fn more_than_there_can_be_is_dropped() {
    let mut bench = Bench::new(MONO, DELAY);
    bench.level(1000, 5000);
    // A burst of sound that has no time to have been heard in.
    for _ in 0..30 {
        bench.send(bench.now, &[6000; 480]);
    }
    bench.level(1000, 5000);
    let counts = bench.line.counts();
    assert!((counts.overruns as i64 - 48 * 300).abs() <= 48 * DRIFT_MAX.0 as i64 / 1000 && counts.overruns > 0, "{counts:?}");
    assert_eq!((counts.underruns, counts.dropped), (0, 0));
    bench.fetch(bench.now + 300_000);
    assert!(bench.chunks.iter().all(|chunk| chunk.at.0 <= bench.now - DELAY.0));
}

#[test]
fn clocks_that_drift_are_followed() {
    let format = Format { rate: 8000, channels: 1 };
    for ppm in [-200_i64, 200] {
        let mut bench = Bench::new(format, DELAY);
        let minutes = 12;
        for number in 1..=minutes * 6000_u64 {
            // A microphone that is fast sends its chunks early, and each is held up for up to 20 ms.
            let heard = number * 10_000;
            let arrived = (heard as i64 - heard as i64 * ppm / 1_000_000) as u64 + number * 7919 % 20_000;
            bench.send((BEGIN + arrived).max(bench.now), &[100; 80]);
        }
        let (counts, off) = (bench.line.counts(), minutes * 60 * 8000 * 200 / 1_000_000);
        let (moved, other) = if ppm > 0 { (counts.overruns, counts.underruns) } else { (counts.underruns, counts.overruns) };
        // Within one tie of the whole difference.
        assert!(moved > 0 && moved.abs_diff(off) <= 8 * (DRIFT_MAX.0 + 2000) / 1000, "{counts:?}, off by {off}");
        assert_eq!((other, counts.dropped, counts.inserted), (0, 0, 0));
        // What goes out is as old as it should be.
        let age = bench.now as i64 - bench.chunks.last().unwrap().at.0 as i64 - DELAY.0 as i64;
        assert!(age.abs() < 60_000, "{age} µs");
    }
}

#[test]
fn a_longer_delay_inserts_silence_and_a_shorter_one_drops_what_comes_next() {
    let mut bench = Bench::new(MONO, DELAY);
    bench.level(1000, 5000);
    let before = bench.chunks.len() * 480;
    bench.set_delay(800);
    bench.level(1000, 5000);
    assert_eq!((bench.line.counts().inserted, bench.line.counts().dropped), (300 * 48, 0));
    let out = bench.out();
    assert!(out[before + 240..before + 300 * 48].iter().all(|&sample| sample == 0));
    assert!(out[before + 300 * 48 + 240..].iter().all(|&sample| sample == 5000));
    // What is held was promised 800 ms.
    bench.set_delay(200);
    let changed = bench.now;
    bench.level(2000, 7000);
    let counts = bench.line.counts();
    assert_eq!((counts.inserted, counts.dropped, counts.underruns, counts.overruns), (300 * 48, 600 * 48, 0, 0));
    for chunk in &bench.chunks {
        assert!(chunk.samples[479] != 5000 || chunk.at.0 < changed);
    }
    let first = bench.chunks.iter().find(|chunk| chunk.samples[479] == 7000).unwrap();
    assert!(first.at.0.abs_diff(changed + 600_000) <= 10_000, "{first:?}, changed at {changed}");
    assert!(step(&bench.out()) <= ramp_step(7000, 48_000));
    // There and back within what has not gone out yet costs nothing but silence.
    bench.set_delay(100);
    bench.set_delay(200);
    bench.level(500, 7000);
    assert_eq!(bench.line.counts(), super::line::Counts { taken: counts.taken + 24_000, out: counts.out + 24_000, ..counts });
}

#[test]
fn what_nobody_fetches_is_dropped_and_what_has_no_room_is_silence() {
    let mut bench = Bench::new(MONO, DELAY);
    bench.level(1000, 5000);
    // The listener sleeps; the microphone does not.
    for chunk in 1..=100 {
        bench.line.push(Micros(bench.now + chunk * 10_000), &[5000; 480]);
        bench.heard += 480;
    }
    bench.now += 1_000_000;
    bench.fetch(bench.now + 10_000);
    let counts = bench.line.counts();
    assert!(counts.dropped.abs_diff(48 * 1000) <= 480 * 2, "{counts:?}");
    assert!(bench.chunks.windows(2).all(|pair| pair[1].at > pair[0].at));
    let age = bench.now - bench.chunks.last().unwrap().at.0;
    assert!(age <= DELAY.0 + 20_000, "{age}");

    let mut bench = Bench::new(MONO, DELAY);
    bench.line = AudioLine::new(MONO, DELAY, 20_000);
    bench.level(2000, 5000);
    let counts = bench.line.counts();
    assert!(bench.line.bytes() <= 20_000 && counts.dropped > 0 && counts.inserted > 0, "{counts:?}");
    assert!(bench.out().iter().all(|&sample| sample == 0), "what was dropped goes out");
}

#[test]
fn silence_for_want_of_sound_does_not_outrun_a_mute() {
    let mut bench = Bench::new(MONO, Micros::ZERO);
    bench.level(500, 5000);
    let muted = bench.now + 50_000;
    bench.line.mute(Micros(bench.now), Micros(muted));
    // Nothing comes in time: silence goes out, beyond the end of the mute. Then what was held up comes, and the delay is longer.
    bench.fetch(muted + 150_000);
    bench.set_delay(800);
    let before = bench.chunks.len();
    for _ in 0..20 {
        bench.send(bench.now, &[5000; 480]);
    }
    bench.level(1000, 5000);
    let of = |chunk: &&Chunk| chunk.at.0 + 10_000 <= muted;
    assert!(bench.chunks[before..].iter().filter(of).all(|chunk| chunk.samples.iter().all(|&sample| sample == 0)));
    assert!(bench.chunks[before..].iter().any(|chunk| chunk.samples[0] == 5000 && chunk.at.0 < muted + 100_000));
}

#[test]
fn a_delay_that_shrinks_and_grows_does_not_outrun_a_mute() {
    let mut bench = Bench::new(MONO, Micros::from_millis(100));
    bench.level(500, 5000);
    bench.line.mute(Micros(bench.now), Micros(bench.now + 40_000));
    let muted = bench.now;
    // What comes next would be left out for 100 ms; silence goes out for want of it; then nothing is left out, after all.
    bench.set_delay(0);
    bench.fetch(bench.now + 200_000);
    bench.set_delay(600);
    let before = bench.chunks.len();
    for _ in 0..20 {
        bench.send(bench.now, &[5000; 480]);
    }
    bench.level(1000, 5000);
    let inside = |chunk: &&Chunk| (muted..muted + 30_001).contains(&chunk.at.0);
    assert!(bench.chunks[before..].iter().filter(inside).count() >= 3);
    assert!(bench.chunks[before..].iter().filter(inside).all(|chunk| chunk.samples.iter().all(|&sample| sample == 0)));
    assert!(bench.chunks[before..].iter().any(|chunk| chunk.samples[0] == 5000 && chunk.at.0 < muted + 100_000));
}

/// Chunks after which the last sample has been led to silence.
const QUIET: usize = 2;

#[derive(Clone, Debug)]
enum Act {
    Send { frames: u64, late: u64 },
    Rest(u64),
    Mute { ahead: i64, length: u64 },
    Delay(u64),
    Closed(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (1..2000_u64, 0..80_000_u64).prop_map(|(frames, late)| Act::Send { frames, late }),
        1 => (0..900_000_u64).prop_map(Act::Rest),
        1 => (-600_000..600_000_i64, 0..300_000_u64).prop_map(|(ahead, length)| Act::Mute { ahead, length }),
        1 => (0..700_u64).prop_map(Act::Delay),
        1 => any::<bool>().prop_map(Act::Closed),
    ]
}

proptest! {
    /// Whatever happens: the counts add up, nothing muted or unjudged is heard, nothing clicks, time goes on.
    #[test]
    fn it_holds_in_any_order(acts in prop::collection::vec(act(), 1..120)) {
        let (mut bench, mut mutes, mut closed, mut checked) = (Bench::new(MONO, DELAY), Vec::new(), false, 0_usize);
        let mut quiet = 0;
        for act in acts {
            match act {
                Act::Send { frames, late } => {
                    let heard = BEGIN + (bench.heard + frames) * 1000 / 48;
                    let arrived = bench.now.max(heard + late);
                    bench.send(arrived, &vec![10_000; frames as usize]);
                }
                Act::Rest(span) => bench.fetch(bench.now + span),
                Act::Mute { ahead, length } => {
                    let from = (bench.now as i64 + ahead) as u64;
                    bench.line.mute(Micros(from), Micros(from + length));
                    // The times of chunks are told in whole microseconds.
                    mutes.push((from + RAMP.0, (from + length).saturating_sub(2), bench.chunks.len()));
                }
                Act::Delay(ms) => bench.set_delay(ms),
                Act::Closed(to) => {
                    bench.line.treat(if to { Unjudged::Silent } else { Unjudged::Unasked });
                    closed = to;
                }
            }
            if closed {
                // What went out last is led to silence; nothing of the sound is heard.
                let out: Vec<i16> = bench.chunks[checked.saturating_sub(1)..].iter().flat_map(|chunk| chunk.samples.clone()).collect();
                let out = &out[if checked > 0 { 479 } else { 0 }..];
                prop_assert!(out.windows(2).all(|pair| pair[1] <= pair[0]));
                quiet += bench.chunks.len() - checked;
                prop_assert!(quiet < QUIET || out.last() == Some(&0));
            } else {
                quiet = 0;
            }
            checked = bench.chunks.len();
        }
        // A ramp to silence may meet one from where the sound was cut.
        prop_assert!(step(&bench.out()) <= 2 * ramp_step(10_000, 48_000), "a step of {}", step(&bench.out()));
        for (number, near) in bench.chunks.windows(QUIET + 1).enumerate() {
            // Where sound goes on as it should, what was muted before it went out, and for longer than a ramp, is silent.
            let silence = bench.silence[number + QUIET] - number.checked_sub(1).map_or(0, |before| bench.silence[before]);
            if silence > 0 || near.windows(2).any(|pair| (pair[1].at.0 - pair[0].at.0).abs_diff(10_000) > 1) {
                continue;
            }
            let (last, at) = (&near[QUIET - 1], near[QUIET - 1].at.0);
            for &(from, to, since) in mutes.iter().filter(|(from, to, since)| *since <= number && from < to && *from < at + 10_000 && *to > at) {
                let place = |time: u64| (time.clamp(at, at + 10_000) - at) as usize * 48 / 1000;
                let silent = last.samples.get(place(from) + 1..place(to)).unwrap_or_default();
                prop_assert!(silent.iter().all(|&sample| sample == 0), "{from} to {to}, known since {since}, at {at}");
            }
        }
    }
}
