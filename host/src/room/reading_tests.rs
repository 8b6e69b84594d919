//! A page of made-up letters before a reader that knows what stands on it: what leaves the delay line must hide every bad word.

use super::*;
use crate::infer::ocr::{Line as ReadLine, Run};
use crate::media::frame::{Matrix, Range, i420_len};
use crate::room::settings::{FailMode, Settings};
use crate::vision::change::Signature;
use crate::vision::cover::Style;
use crate::vision::sampler::SamplerRule;

const WIDTH: usize = 640;
const HEIGHT: usize = 360;
const LETTER: i32 = 14;
const TALL: i32 = 20;
const FRAME: Micros = Micros(33_333);
const DELAY: Micros = Micros::from_millis(1000);
/// A read takes so long.
const READ: Micros = Micros::from_millis(250);

/// A word on the page: where its first letter's upper left corner is.
#[derive(Clone, Debug)]
struct Shown {
    text: &'static str,
    at: (i32, i32),
    contrast: u8,
}

impl Shown {
    fn area(&self) -> Rect {
        let place = Pixels { x: self.at.0, y: self.at.1, width: self.text.len() as i32 * LETTER - 2, height: TALL };
        fraction(place, WIDTH, HEIGHT)
    }

    /// A sliver at the picture's edge can't be read.
    fn is_visible(&self) -> bool {
        self.area().clamped().area() >= self.area().area() / 3.0
    }
}

fn shown(text: &'static str, x: i32, y: i32) -> Shown {
    Shown { text, at: (x, y), contrast: 110 }
}

fn ink(letter: u8, x: i32, y: i32) -> bool {
    let hash = u32::from(letter).wrapping_mul(2_654_435_761).rotate_left((x / 3 * 7 + y / 3 * 5) as u32).wrapping_mul(40_503);
    hash >> 16 & 1 == 1
}

fn picture(seq: u64, words: &[Shown]) -> Frame {
    let mut data = vec![128u8; i420_len(WIDTH, HEIGHT)];
    data[..WIDTH * HEIGHT].fill(180);
    for word in words {
        for (i, letter) in word.text.bytes().enumerate() {
            for y in 0..TALL {
                for x in 0..LETTER - 2 {
                    let (px, py) = (word.at.0 + i as i32 * LETTER + x, word.at.1 + y);
                    if ink(letter, x, y) && (0..WIDTH as i32).contains(&px) && (0..HEIGHT as i32).contains(&py) {
                        data[py as usize * WIDTH + px as usize] = 180 - word.contrast;
                    }
                }
            }
        }
    }
    Frame::new(FrameSeq(seq), Micros(seq * FRAME.0), WIDTH, HEIGHT, Range::Limited, Matrix::Bt601, data)
}

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        delay: DELAY,
        look_max: DELAY,
        hold: Micros::ZERO,
        skip_max: Micros::ZERO,
        fail_mode: FailMode::Closed,
        sampler: SamplerRule::Adaptive,
        detectors: Vec::new(),
        text: Some(TextSettings { every: Micros::from_millis(200), budget: Micros::from_millis(300), mask: MaskUnit::Word }),
        patience: Micros::ZERO,
        style: Style::default(),
    })
}

/// What left of one frame.
struct Left {
    seq: u64,
    words: Vec<Shown>,
    covered: Covered,
}

impl Left {
    /// Share of a word's part inside the picture that is covered by so many of the areas.
    fn share(&self, word: &Shown, areas: &[Rect]) -> f32 {
        let area = word.area().clamped();
        let steps = 20;
        let points = (0..steps * steps).map(|i| ((i % steps) as f32 + 0.5, (i / steps) as f32 + 0.5));
        let inside = points.filter(|(x, y)| {
            let (x, y) = (area.x + area.width * x / steps as f32, area.y + area.height * y / steps as f32);
            areas.iter().any(|a| a.x <= x && x <= a.right() && a.y <= y && y <= a.bottom())
        });
        inside.count() as f32 / (steps * steps) as f32
    }

    fn hides(&self, word: &Shown) -> bool {
        let all: Vec<Rect> = self.covered.masks.iter().chain(&self.covered.pending).copied().collect();
        !word.is_visible() || self.share(word, &all) >= 0.95
    }
}

#[derive(Default)]
struct Ran {
    left: Vec<Left>,
    counts: TextCounts,
    judged: Vec<(JudgeId, bool, Vec<String>)>,
}

/// Runs `frames` pictures of what `scene` shows. `reads` says whether a read is answered, `judges` what the policy says of words.
fn run(
    frames: u64,
    scene: impl Fn(u64) -> Vec<Shown>,
    reads: impl Fn(FrameSeq) -> bool,
    mut judges: impl FnMut(&[ReadWord]) -> Option<Vec<bool>>,
) -> Ran {
    let (settings, mut reading, mut line) = (settings(), Reading::default(), DelayLine::new());
    let mut out: VecDeque<(Micros, FrameSeq, Vec<Rect>)> = VecDeque::new();
    let mut result = Ran::default();
    let mut shot = 0;
    for tick in 0..frames + 40 {
        let now = Micros(tick * FRAME.0);
        if tick < frames {
            let frame = picture(tick, &scene(tick));
            let signature = Arc::new(Signature::of(&frame));
            if let Some(before) = line.back()
                && signature.compare(&before.signature).unlike > 0.45
            {
                shot += 1;
            }
            line.push_back(Entry { frame, signature, shot, settings: settings.clone() });
            reading.captured(&line, now);
        } else if tick == frames {
            reading.finish(&line, now);
        }
        reading.tick(&line, now);
        loop {
            while let Some((_, seq, within)) = out.pop_front_if(|(at, ..)| *at <= now) {
                let words = scene(seq.0);
                let touched = words.iter().filter(|word| within.iter().any(|area| !area.intersection(&word.area().clamped()).is_empty()));
                let as_line = |word: &Shown| ReadLine {
                    words: vec![ReadWord {
                        text: word.text.to_owned(),
                        confidence: if word.text.starts_with('?') { 0.6 } else { 0.95 },
                        area: word.area(),
                    }],
                    area: word.area(),
                    confidence: 0.9,
                    height_px: TALL as f32,
                    run: Run::Upright,
                };
                reading.read(&line, seq, vec![Block { lines: touched.map(as_line).collect() }], now);
            }
            let asks = reading.take_wanted();
            if asks.is_empty() && out.front().is_none_or(|(at, ..)| *at > now) {
                break;
            }
            for ask in asks {
                match ask {
                    Ask::Read { seq, within, .. } if reads(seq) => out.push_back((now + READ, seq, within)),
                    Ask::Read { .. } => {}
                    Ask::Judge { id, is_final, words, .. } => {
                        result.judged.push((id, is_final, words.iter().map(|word| word.text.clone()).collect()));
                        let verdicts = judges(&words);
                        reading.judged(&line, id, verdicts);
                    }
                }
            }
        }
        while let Some(e) = line.front().filter(|e| e.frame.at + DELAY <= now).cloned() {
            let covered = reading.cover(&e);
            result.left.push(Left { seq: e.frame.seq.0, words: scene(e.frame.seq.0), covered });
            line.pop_front();
            reading.forget(line.front().map_or(FrameSeq(e.frame.seq.0 + 1), |next| next.frame.seq));
        }
    }
    result.counts = reading.counts();
    assert_eq!(result.left.len() as u64, frames);
    result
}

fn bad(words: &[ReadWord]) -> Option<Vec<bool>> {
    Some(words.iter().map(|word| word.text.starts_with("bad")).collect())
}

/// No bad word that was shown left in the clear.
fn hidden(run: &Ran) {
    for left in &run.left {
        for word in left.words.iter().filter(|word| word.text.starts_with("bad") && word.contrast > 20) {
            assert!(left.hides(word), "frame {}: {word:?} under {:?}", left.seq, left.covered);
        }
    }
}

/// How often a word that can be seen is pending, and how often one that is not bad is under a mask, of all times that one can be seen.
fn cost(run: &Ran) -> (usize, usize, usize) {
    let seen = || run.left.iter().flat_map(|left| left.words.iter().filter(|word| word.is_visible()).map(move |word| (left, word)));
    let pending = seen().filter(|(left, word)| left.share(word, &left.covered.pending) > 0.2).count();
    let good = seen().filter(|(left, word)| !word.text.starts_with("bad") && left.share(word, &left.covered.masks) > 0.2).count();
    (pending, good, seen().count())
}

#[test]
fn a_still_page_is_read_once_and_nothing_is_pending() {
    let page = [shown("hello", 40, 60), shown("badword", 200, 60), shown("there", 40, 200)];
    let run = run(150, |_| page.to_vec(), |_| true, bad);
    hidden(&run);
    assert_eq!(cost(&run), (0, 0, 450));
    assert_eq!(run.counts.reads, 1, "{:?}", run.counts);
    assert!(run.left.iter().all(|left| left.share(&page[1], &left.covered.masks) >= 0.95), "by a mask, not as pending");
}

#[test]
fn text_that_scrolls_is_followed_and_read_as_it_comes_in() {
    for (dx, dy) in [(0, -2), (0, -5), (-4, 0), (-7, 0)] {
        let texts = ["hello", "badword", "there", "people", "badly", "nothing"];
        let scene = |seq: u64| {
            let at = |i: usize| (40 + i as i32 * -dx * 60 + dx * seq as i32, 60 + i as i32 * -dy * 30 + dy * seq as i32);
            texts.iter().enumerate().map(|(i, text)| Shown { text, at: at(i), contrast: 110 }).collect()
        };
        let run = run(180, scene, |_| true, bad);
        hidden(&run);
        let (pending, good, seen) = cost(&run);
        println!("by ({dx}, {dy}): {pending} pending, {good} masked of {seen}; {:?}", run.counts);
        assert_eq!(good, 0, "by ({dx}, {dy})");
        assert!(pending * 10 <= seen, "by ({dx}, {dy}): {pending} of {seen} pending");
        assert!(run.counts.reads < 40, "by ({dx}, {dy}): {:?}", run.counts);
    }
}

#[test]
fn a_word_that_fades_in_is_covered_from_where_it_can_be_read() {
    let scene = |seq: u64| vec![Shown { text: "badword", at: (200, 60), contrast: (seq.saturating_sub(30) * 4).min(110) as u8 }];
    let run = run(120, scene, |_| true, bad);
    hidden(&run);
    assert!(cost(&run).0 <= 6, "{:?}", cost(&run));
}

#[test]
fn a_short_visit_between_two_reads_does_not_leave_in_the_clear() {
    for from in 40..52 {
        let scene = |seq: u64| {
            let mut words = vec![shown("hello", 40, 60)];
            words.extend((from..from + 2).contains(&seq).then(|| shown("badword", 200, 160)));
            words
        };
        let run = run(100, scene, |_| true, bad);
        hidden(&run);
        assert!(cost(&run).0 <= 2, "{:?}", cost(&run));
    }
}

#[test]
fn a_page_that_comes_back_is_as_hidden_as_before() {
    let pages = [vec![shown("hello", 40, 60), shown("badone", 200, 60)], vec![shown("people", 60, 150)]];
    // While the first page stands, a word beside it changes so often that its own read is forgotten.
    let texts = ["one", "two", "six", "ten", "all", "any", "few", "now", "old", "red", "sun", "war"];
    let scene = |seq: u64| match seq {
        300..330 => pages[1].clone(),
        _ => [pages[0].clone(), vec![shown(texts[(seq / 20).min(11) as usize], 310, 60)]].concat(),
    };
    for silent in [false, true] {
        let run = run(400, scene, |_| true, |words| if silent { None } else { bad(words) });
        hidden(&run);
        for left in run.left.iter().filter(|_| silent) {
            assert!(left.words.iter().all(|word| left.hides(word)), "frame {}: {:?}", left.seq, left.covered);
        }
    }
}

#[test]
fn a_word_that_changes_by_a_letter_is_read_again() {
    let scene = |seq: u64| vec![shown("hello", 40, 60), shown(if seq < 50 { "ladword" } else { "badword" }, 200, 60)];
    let run = run(120, scene, |_| true, bad);
    hidden(&run);
    assert_eq!((cost(&run).0, cost(&run).1), (0, 0));
}

#[test]
fn a_word_that_is_misread_for_a_moment_stays_covered_and_one_that_is_read_well_does_not() {
    for (then, held) in [("?adword", true), ("ladword", false)] {
        let scene = |seq: u64| vec![shown("hello", 40, 60), shown(if (50..70).contains(&seq) { then } else { "badword" }, 200, 60)];
        let run = run(120, scene, |_| true, bad);
        hidden(&run);
        for left in run.left.iter().filter(|left| (50..70).contains(&left.seq)) {
            assert_eq!(left.share(&left.words[1], &left.covered.masks) >= 0.95, held, "frame {}: {then}", left.seq);
        }
    }
}

#[test]
fn a_dead_reader_and_a_silent_policy_cover_the_text_and_nothing_else() {
    let page = [shown("hello", 40, 60), shown("badword", 200, 60)];
    for (reads, judges) in [(false, true), (true, false)] {
        let run = run(90, |_| page.to_vec(), |_| reads, |words| if judges { bad(words) } else { None });
        for left in &run.left {
            assert!(page.iter().all(|word| left.hides(word)), "frame {}", left.seq);
            let area: f32 = left.covered.pending.iter().map(Rect::area).sum();
            assert!(area < 0.1, "{area} of the picture is covered");
        }
    }
}

#[test]
fn every_page_has_one_final_judgement_and_one_that_comes_back_is_not_read_again() {
    let pages = [[shown("hello", 40, 60), shown("badone", 200, 60)], [shown("people", 60, 150), shown("there", 240, 250)]];
    let run = run(240, |seq| pages[(seq / 60 % 2) as usize].to_vec(), |_| true, bad);
    hidden(&run);
    let finals: Vec<&JudgeId> = run.judged.iter().filter(|(_, is_final, _)| *is_final).map(|(id, ..)| id).collect();
    let pages: std::collections::BTreeSet<u64> = run.judged.iter().map(|(id, ..)| id.page).collect();
    assert_eq!(finals.iter().map(|id| id.page).collect::<std::collections::BTreeSet<_>>(), pages);
    assert_eq!(finals.len(), pages.len(), "{:?}", run.judged);
    assert!(run.counts.reads <= 3, "{:?}", run.counts);
}

#[test]
fn what_is_being_read_when_the_last_frame_has_come_is_judged_for_good_too() {
    let scene = |seq: u64| {
        let mut words = vec![shown("hello", 40, 60)];
        words.extend((seq >= 57).then(|| shown("badword", 200, 60)));
        words
    };
    let run = run(60, scene, |_| true, bad);
    hidden(&run);
    let finals: Vec<_> = run.judged.iter().filter(|(_, is_final, _)| *is_final).collect();
    assert_eq!(finals.len(), 1, "{:?}", run.judged);
    assert_eq!(run.judged.last(), finals.last().copied());
    assert_eq!(finals[0].2, ["hello", "badword"]);
}

#[test]
fn a_final_judgement_that_a_fault_cost_is_asked_for_again_as_the_final_one() {
    let scene = |seq: u64| if seq < 60 { vec![shown("hello", 40, 60), shown("badword", 200, 60)] } else { Vec::new() };
    let mut calls = 0;
    let judges = |words: &[ReadWord]| {
        calls += 1;
        if calls == 2 { None } else { bad(words) }
    };
    let run = run(120, scene, |_| true, judges);
    hidden(&run);
    assert_eq!(run.counts.judgements_failed, 1);
    let last: Vec<(u32, bool)> = run.judged.iter().map(|(id, is_final, _)| (id.revision, *is_final)).collect();
    assert_eq!(last, [(0, false), (1, true), (1, true)], "{:?}", run.judged);
}
