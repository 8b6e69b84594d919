//! One line that was read, followed from the frame in which it was read through those before and after.

use std::collections::BTreeMap;

use super::page::JudgeId;
use crate::geometry::Rect;
use crate::infer::ocr::{Line as ReadLine, ReadWord};
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::room::settings::MaskUnit;
use crate::vision::follow::{Pixels, find, same_block, same_word};

/// How far a line is sought when it is not where it was going, in pixels.
const SEEK: i32 = 24;
/// Frames before the first in which a word was followed that are covered with it whatever is there: it fades in.
const LEAD_FRAMES: u64 = 2;
/// For so long before the first frame and after the last something found stays covered if something like it is still there: over a ground
/// that moves a word is lost and read again, and not every time as well.
const HOLD: Micros = Micros::from_millis(1000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LineId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Unknown,
    Clean,
    Flagged,
}

pub(super) struct Word {
    pub text: String,
    pub confidence: f32,
    /// In the frame in which it was read.
    area: Pixels,
    /// The first frame it was followed back to, and the last one that it is in; none while it is followed.
    from: FrameSeq,
    to: Option<FrameSeq>,
    pub verdict: Verdict,
    /// The revision that the verdict is of: an earlier one that is answered later does not count.
    pub judged_by: Option<JudgeId>,
}

impl Word {
    fn is_in(&self, seq: FrameSeq) -> bool {
        self.from <= seq && self.to.is_none_or(|to| seq <= to)
    }
}

/// A word that may be in a frame.
pub(super) struct Perhaps<'a> {
    pub text: &'a str,
    pub place: Pixels,
    /// What it covers.
    pub whole: Pixels,
    /// Only if there is something like it.
    pub held: bool,
}

pub(super) struct Line {
    /// The frame in which it was read.
    pub anchor: Frame,
    pub area: Pixels,
    pub words: Vec<Word>,
    /// The lines that it was read with.
    pub block: u64,
    /// How far it has moved in each frame, and in the last step.
    path: BTreeMap<FrameSeq, Moved>,
    step: (i32, i32),
}

/// How far a line has moved until a frame, and when that was captured.
#[derive(Clone, Copy)]
struct Moved {
    by: (i32, i32),
    at: Micros,
}

fn pixels(area: &Rect, frame: &Frame) -> Pixels {
    let (w, h) = (frame.width as f32, frame.height as f32);
    let (x, y) = ((area.x * w).floor() as i32, (area.y * h).floor() as i32);
    let place = Pixels { x, y, width: (area.right() * w).ceil() as i32 - x, height: (area.bottom() * h).ceil() as i32 - y };
    // What was not seen is not vouched for.
    place.inside(frame.width, frame.height)
}

impl Line {
    pub fn new(read: &ReadLine, block: u64, anchor: &Frame) -> Self {
        let word = |word: &ReadWord| Word {
            text: word.text.clone(),
            confidence: word.confidence,
            area: pixels(&word.area, anchor),
            from: anchor.seq,
            to: None,
            verdict: Verdict::Unknown,
            judged_by: None,
        };
        Self {
            area: pixels(&read.area, anchor),
            words: read.words.iter().map(word).collect(),
            block,
            path: BTreeMap::from([(anchor.seq, Moved { by: (0, 0), at: anchor.at })]),
            step: (0, 0),
            anchor: anchor.clone(),
        }
    }

    /// Of the pictures it is followed through.
    pub fn size(&self) -> (usize, usize) {
        (self.anchor.width, self.anchor.height)
    }

    pub fn is_followed(&self) -> bool {
        self.words.iter().any(|word| word.to.is_none())
    }

    /// Whether it is in this frame or a later one.
    pub fn reaches(&self, seq: FrameSeq) -> bool {
        self.words.iter().any(|word| word.to.is_none_or(|to| to >= seq))
    }

    /// It is in no later frame.
    pub fn end(&mut self) {
        let last = self.path.keys().next_back().copied().unwrap_or(self.anchor.seq);
        self.words.iter_mut().filter(|word| word.to.is_none()).for_each(|word| word.to = Some(last));
    }

    /// It is in no frame from this one on: another line was read in its place.
    pub fn end_before(&mut self, seq: FrameSeq) {
        let last = FrameSeq(seq.0.saturating_sub(1));
        self.words.iter_mut().filter(|word| word.is_in(seq)).for_each(|word| word.to = Some(last));
        self.path.retain(|at, _| *at < seq);
    }

    /// Looks for the line in the frame after `before`. `moved` is how far another one went, `seeks` how many may be sought farther.
    pub fn follow(&mut self, before: FrameSeq, frame: &Frame, moved: &mut Option<(i32, i32)>, seeks: &mut usize) {
        let Some(&Moved { by: last, .. }) = self.path.get(&before) else { return self.end() };
        let Some(by) = self.seek(last, frame, moved, seeks) else { return self.end() };
        self.step = (by.0 - last.0, by.1 - last.1);
        *moved = Some(self.step);
        let (anchor, mut any) = (&self.anchor, false);
        for word in self.words.iter_mut().filter(|word| word.to.is_none()) {
            if same_word(anchor, word.area, frame, by) {
                any = true;
            } else {
                word.to = Some(before);
            }
        }
        if any {
            self.path.insert(frame.seq, Moved { by, at: frame.at });
        }
    }

    /// Follows the line back from the frame in which it was read: `frames` come newest first, each the one before the last.
    pub fn follow_back<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) {
        let (mut last, mut step) = ((0, 0), (0, 0));
        let mut followed: Vec<bool> = vec![true; self.words.len()];
        for frame in frames {
            let guesses = [(last.0 + step.0, last.1 + step.1), last];
            let Some(by) = find(&self.anchor, self.area, frame, &guesses, 0).or_else(|| self.by_a_word(frame, last)) else { return };
            let mut any = false;
            for (word, followed) in self.words.iter_mut().zip(&mut followed) {
                *followed = *followed && same_word(&self.anchor, word.area, frame, by);
                if *followed {
                    word.from = frame.seq;
                    any = true;
                }
            }
            if !any {
                return;
            }
            self.path.insert(frame.seq, Moved { by, at: frame.at });
            (step, last) = ((by.0 - last.0, by.1 - last.1), by);
        }
    }

    fn seek(&self, last: (i32, i32), frame: &Frame, moved: &Option<(i32, i32)>, seeks: &mut usize) -> Option<(i32, i32)> {
        let with = |step: (i32, i32)| (last.0 + step.0, last.1 + step.1);
        let mut guesses = vec![last];
        guesses.extend([Some(self.step), *moved].into_iter().flatten().filter(|step| *step != (0, 0)).map(with));
        find(&self.anchor, self.area, frame, &guesses, 0).or_else(|| {
            *seeks = seeks.checked_sub(1)?;
            self.by_a_word(frame, last)
        })
    }

    /// Where one of its words went, sought around: a whole line would take too long.
    fn by_a_word(&self, frame: &Frame, last: (i32, i32)) -> Option<(i32, i32)> {
        let letters = |word: &&Word| (word.text.chars().count().abs_diff(5), word.area.x);
        let word = self.words.iter().filter(|word| word.to.is_none()).min_by_key(letters)?;
        find(&self.anchor, word.area, frame, &[last], SEEK)
    }

    /// Where it is in a frame.
    pub fn place(&self, seq: FrameSeq) -> Option<Pixels> {
        self.path.get(&seq).map(|moved| self.area.moved(moved.by))
    }

    /// Its words that are in a frame.
    pub fn words_in(&self, seq: FrameSeq) -> impl Iterator<Item = (usize, &Word, Pixels)> {
        let by = self.path.get(&seq).map(|moved| moved.by);
        let words = self.words.iter().enumerate();
        words.filter(move |(_, word)| word.is_in(seq)).filter_map(move |(i, word)| Some((i, word, word.area.moved(by?))))
    }

    /// What its words vouch for in a frame: a little more than themselves, since strokes reach past what was read.
    pub fn grounds(&self, seq: FrameSeq) -> impl Iterator<Item = Pixels> {
        self.words_in(seq).map(|(_, _, area)| area.grown(margin(area)))
    }

    /// Its words in a frame that are not judged: where they are followed, and where something of them stands as it was read.
    pub fn unjudged(&self, frame: &Frame) -> Vec<Pixels> {
        let by = self.path.get(&frame.seq);
        let place = |word: &Word| match by.filter(|_| word.is_in(frame.seq)) {
            Some(moved) => Some(word.area.moved(moved.by)),
            None => self.stands(word, frame).then_some(word.area),
        };
        let unknown = self.words.iter().filter(|word| word.verdict == Verdict::Unknown);
        unknown.filter_map(place).map(|area| area.grown(margin(area))).collect()
    }

    pub fn is_flagged(&self, seq: FrameSeq) -> bool {
        self.words_in(seq).any(|(_, word, _)| word.verdict == Verdict::Flagged)
    }

    /// What it covers of a frame that it is followed through, whose size must be its own.
    pub fn masks(&self, frame: &Frame, unit: MaskUnit) -> Vec<Pixels> {
        let by = self.path.get(&frame.seq);
        let mask = |word: &Word| by.filter(|_| word.is_in(frame.seq)).map(|moved| self.whole(word, unit).moved(moved.by));
        self.flagged().filter_map(mask).collect()
    }

    /// Words found something in that are not followed through a frame but may be in it, since they fade in shortly after it, were lost
    /// shortly before or come shortly after, or since something of them stands where it was read.
    pub fn perhaps(&self, frame: &Frame, unit: MaskUnit) -> Vec<Perhaps<'_>> {
        let place = |word| {
            let word: &Word = word;
            if word.is_in(frame.seq) && self.path.contains_key(&frame.seq) {
                return None;
            }
            let first = self.path.get(&word.from).filter(|_| frame.seq < word.from);
            let last = word.to.filter(|to| frame.seq > *to).and_then(|to| self.path.get(&to));
            let sure = first.is_some() && word.from.0.saturating_sub(frame.seq.0) <= LEAD_FRAMES;
            let before = first.filter(|first| sure || first.at.saturating_sub(frame.at) <= HOLD);
            let after = last.filter(|last| frame.at.saturating_sub(last.at) <= HOLD);
            let near = before.or(after).map(|moved| moved.by);
            let stands = self.stands(word, frame).then_some((0, 0));
            let held = stands.is_none() && !sure;
            let by = if sure { near } else { stands.or(near) }?;
            Some(Perhaps { text: &word.text, place: word.area.moved(by), whole: self.whole(word, unit).moved(by), held })
        };
        self.flagged().filter_map(place).collect()
    }

    fn flagged(&self) -> impl Iterator<Item = &Word> {
        self.words.iter().filter(|word| word.verdict == Verdict::Flagged)
    }

    fn whole(&self, word: &Word, unit: MaskUnit) -> Pixels {
        let mut whole = if unit == MaskUnit::Word { word.area } else { self.area };
        // What the picture's edge cut off when it was read goes on there: a letter more of it may have come in since.
        if whole.x <= 0 {
            whole = Pixels { x: whole.x - word.area.height, width: whole.width + word.area.height, ..whole };
        }
        if whole.x + whole.width >= self.anchor.width as i32 {
            whole.width += word.area.height;
        }
        whole.grown(margin(word.area))
    }

    /// Whether a quarter of a word's letters are, in a frame, as they were where it was read.
    fn stands(&self, word: &Word, frame: &Frame) -> bool {
        let area = word.area.inside(frame.width, frame.height);
        // Of a word at the edge too little was seen to know it again.
        if area.height * 2 < word.area.height || area.width < area.height {
            return false;
        }
        let pieces = area.width / area.height;
        let same = (0..pieces).filter(|i| {
            let (left, right) = (area.x + area.width * i / pieces, area.x + area.width * (i + 1) / pieces);
            same_block(&self.anchor, frame, (left as usize, area.y as usize, right as usize, (area.y + area.height) as usize))
        });
        same.count() as i32 * 4 >= pieces
    }

    /// Frames before `next` have left.
    pub fn forget(&mut self, next: FrameSeq) {
        let newest = self.path.keys().next_back().copied();
        self.path.retain(|seq, _| *seq >= next || Some(*seq) == newest);
    }
}

/// What a word's cover and its grounds gain on each side: a quarter of its height, at least two pixels.
fn margin(area: Pixels) -> i32 {
    (area.height / 4).max(2)
}
