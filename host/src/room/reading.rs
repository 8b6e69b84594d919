//! Text in one source's picture, judged by region (invariant 1): what changed and was not read is covered as *pending*, the rest passes.
//!
//! ```text
//! captured ─► strokes ─► same as read? · a line that moved? ─► unread ─► Read ─► lines ─► Judge ─► flagged words
//!                                                                │        └─ followed back and forth through the delay line
//!                                                             pending                                 └─► masks
//! ```
//! A block of the picture needs no reading where it holds no strokes ([`strokes`]), where it looks as it did in a frame in which it was
//! read, where a line lies that was read and is followed, letter by letter, into this frame, or where two reads shortly before and after
//! found no text and it is like one of them. Text that is not judged yet counts as unread.
//!
//! A *page* is what can be seen at once: its words go to the text policy together, in the order of reading, as one utterance; each read of
//! the page is a revision, and when the page has gone the last one is final.
//!
//! Always: at most one read of a source is out; a word has one final judgement; nothing here waits.

mod line;
mod page;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::line::{Line, LineId, Perhaps, Word};
pub use self::page::JudgeId;
use self::page::Page;
use super::line::{DelayLine, Entry, entry};
use super::settings::{MaskUnit, TextSettings};
use crate::geometry::Rect;
use crate::infer::ocr::{Block, ReadWord};
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::vision::blocks::{BLOCK, Blocks};
use crate::vision::change::Signature;
use crate::vision::follow::{Pixels, same_block};
use crate::vision::strokes::strokes;

/// Reads that are remembered, done ones included: a page that comes back after a few others need not be read again.
const READS_MAX: usize = 8;
/// Share of a word's place from which another word has taken it.
const TAKEN: f32 = 0.8;
/// Confidence of a word from which it is taken for what it was read as: over a plain ground words have more.
const READ_WELL: f32 = 0.9;
/// Words at least so alike (0..=1, Damerau and Levenshtein's distance by the longer one's length) may be one, of which one was misread.
const ALIKE: f64 = 0.6;
/// Lines a frame that may be sought farther than where the others went: a search costs a millisecond.
const SEEKS_MAX: usize = 3;
/// How far, in blocks, any text must be from what two reads vouch for between them: it may have moved.
const CLEAR: usize = 6;
/// How far strokes that were there in one of the two may have moved.
const VOUCHED: usize = 2;

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Read these areas of a frame; answer with [`Reading::read`] or [`Reading::failed`].
    Read { seq: FrameSeq, within: Vec<Rect>, deadline: Micros },
    /// Ask the text policy about the words of a page as it was then; answer with [`Reading::judged`].
    Judge { id: JudgeId, at: Micros, is_final: bool, words: Vec<ReadWord> },
}

/// What is covered of a frame for its text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Covered {
    /// Where something was found.
    pub masks: Vec<Rect>,
    /// What is not read, or not judged, yet.
    pub pending: Vec<Rect>,
}

/// Counters; all only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextCounts {
    pub reads: u64,
    pub reads_failed: u64,
    pub lines: u64,
    pub judgements: u64,
    pub judgements_failed: u64,
    /// Frames with a mask over a word, and with something pending.
    pub masked: u64,
    pub pending: u64,
}

/// A frame of the delay line and the blocks of it that are still to be read.
struct Seen {
    seq: FrameSeq,
    strokes: Arc<Blocks>,
    unread: Blocks,
}

struct Read {
    frame: Frame,
    signature: Arc<Signature>,
    strokes: Arc<Blocks>,
    /// What it covers.
    within: Blocks,
    /// Where it found text; none while it is out.
    text: Option<Blocks>,
    deadline: Micros,
}

/// See the module.
#[derive(Default)]
pub struct Reading {
    seen: VecDeque<Seen>,
    reads: BTreeMap<FrameSeq, Read>,
    lines: BTreeMap<LineId, Line>,
    next_line: u64,
    page: Option<Page>,
    pages: u64,
    asked: page::Asked,
    /// Capture time of the frame that was read last, and the shot it was of.
    last: Option<(Micros, u32)>,
    wanted: Vec<Ask>,
    /// No frame will come any more: the page is over when nothing of it is being read.
    finished: bool,
    counts: TextCounts,
}

impl Reading {
    pub fn counts(&self) -> TextCounts {
        self.counts
    }

    /// What is to be done, and is now taken for asked.
    pub fn take_wanted(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.wanted)
    }

    /// Whether an answer is still awaited.
    pub fn is_waiting(&self) -> bool {
        self.out().is_some() || !self.asked.is_empty()
    }

    fn out(&self) -> Option<(&FrameSeq, &Read)> {
        self.reads.iter().find(|(_, read)| read.text.is_none())
    }

    /// The newest frame of the line was captured.
    pub fn captured(&mut self, line: &DelayLine, now: Micros) {
        let Some(e) = line.back() else { return };
        if e.settings.text.is_none() {
            self.lines.values_mut().for_each(Line::end);
            return;
        }
        let before = line.len().checked_sub(2).map(|i| &line[i]).filter(|before| before.shot == e.shot);
        // What moved one line moved its neighbours: the first that is found tells the others where to look.
        let (mut moved, mut seeks) = (None, SEEKS_MAX);
        for followed in self.lines.values_mut().filter(|line| line.is_followed()) {
            match before {
                Some(before) => followed.follow(before.frame.seq, &e.frame, &mut moved, &mut seeks),
                None => followed.end(),
            }
        }
        let strokes = Arc::new(strokes(e.frame.planes()[0], e.frame.width));
        let mut seen = Seen { seq: e.frame.seq, unread: (*strokes).clone(), strokes };
        self.explain(e, &mut seen, None);
        self.seen.push_back(seen);
        self.close_page_if_gone(e.frame.at);
        self.want(line, now);
    }

    /// No frame will come any more.
    pub fn finish(&mut self, line: &DelayLine, now: Micros) {
        self.last = None;
        self.finished = true;
        self.want(line, now);
        self.close_page_at_end(line);
    }

    /// What was read of a frame.
    pub fn read(&mut self, line: &DelayLine, seq: FrameSeq, blocks: Vec<Block>, now: Micros) {
        let Some(read) = self.reads.get_mut(&seq).filter(|read| read.text.is_none()) else { return };
        let (width, height) = read.within.size();
        let mut areas: Vec<Rect> = blocks.iter().flat_map(|block| &block.lines).map(|line| line.area).collect();
        let frame = read.frame.clone();
        read.text = Some(Blocks::none(width, height));
        self.take_in(line, &frame, blocks);
        let of = |line: &Line| line.place(seq).map(|place| fraction(place, width, height));
        // What was known before vouches for itself, as long as it is remembered; this read has nothing to say of it.
        let known: Vec<Rect> = self.lines.values().filter(|line| line.anchor.seq != seq).filter_map(of).collect();
        areas.extend(self.lines.values().filter_map(of));
        if let Some(read) = self.reads.get_mut(&seq) {
            read.text = Some(Blocks::touching(width, height, &areas));
            read.within.remove(&Blocks::touching(width, height, &known));
        }
        self.judge(line, &frame);
        self.explain_all(line, seq);
        self.want(line, now);
        self.close_page_at_end(line);
    }

    fn close_page_at_end(&mut self, line: &DelayLine) {
        if let (true, None, Some(e)) = (self.finished, self.out(), line.back()) {
            self.close_page(e.frame.at);
        }
    }

    /// A read failed, or its deadline has passed: its areas are as unread as before.
    pub fn failed(&mut self, line: &DelayLine, seq: FrameSeq, now: Micros) {
        if self.reads.get(&seq).is_some_and(|read| read.text.is_none()) {
            self.reads.remove(&seq);
            self.counts.reads_failed += 1;
            self.want(line, now);
        }
    }

    /// When something is to be done if nothing happens before.
    pub fn next_wake(&self, line: &DelayLine) -> Option<Micros> {
        if let Some((_, read)) = self.out() {
            return Some(read.deadline);
        }
        let e = line.back()?;
        let rule = e.settings.text.as_ref()?;
        let unread = self.seen.back().is_some_and(|seen| seen.seq == e.frame.seq && !seen.unread.is_empty());
        let (last, _) = self.last?;
        (unread && !self.reads.contains_key(&e.frame.seq)).then_some(last + rule.every)
    }

    /// To be called when that time has come.
    pub fn tick(&mut self, line: &DelayLine, now: Micros) {
        let late = self.out().filter(|(_, read)| read.deadline <= now).map(|(seq, _)| *seq);
        match late {
            Some(seq) => self.failed(line, seq, now),
            None => self.want(line, now),
        }
    }

    /// A frame has left: what only it and those before it needed is forgotten. `next` is the frame after it.
    pub fn forget(&mut self, next: FrameSeq) {
        self.seen.retain(|seen| seen.seq >= next);
        while self.reads.len() > READS_MAX {
            self.reads.pop_first();
        }
        let first_read = self.reads.keys().next().copied().unwrap_or(next);
        self.lines.retain(|_, line| {
            line.forget(next);
            line.reaches(next) || line.anchor.seq >= first_read
        });
    }

    /// What of a frame in the line is covered for its text.
    pub fn cover(&mut self, e: &Entry) -> Covered {
        let Some(rule) = &e.settings.text else { return Covered::default() };
        let area = |place: Pixels| fraction(place, e.frame.width, e.frame.height).clamped();
        let mut covered = Covered::default();
        let lines = || self.lines.values().filter(|line| line.size() == (e.frame.width, e.frame.height));
        let strokes = self.seen.iter().find(|seen| seen.seq == e.frame.seq).map(|seen| seen.strokes.clone());
        // Where another word is known to be now, nothing is left of the one before; but one much like it that was read badly may be it.
        let there: Vec<(Rect, &Word)> =
            lines().flat_map(|line| line.words_in(e.frame.seq)).map(|(_, word, place)| (area(place), word)).collect();
        let is_taken = |perhaps: &Perhaps| {
            let place = area(perhaps.place);
            let another = |word: &Word| word.confidence >= READ_WELL || !alike(&word.text, perhaps.text);
            there.iter().any(|(other, word)| other.intersection(&place).area() >= TAKEN * place.area() && another(word))
        };
        let is_there = |perhaps: &Perhaps| !perhaps.held || strokes.as_ref().is_some_and(|strokes| strokes.any_in(&area(perhaps.place)));
        for line in lines() {
            covered.masks.extend(line.masks(&e.frame, rule.mask).into_iter().map(area));
            let perhaps = line.perhaps(&e.frame, rule.mask).into_iter().filter(|perhaps| is_there(perhaps) && !is_taken(perhaps));
            covered.masks.extend(perhaps.map(|perhaps| area(perhaps.whole)));
            covered.pending.extend(line.unjudged(&e.frame).into_iter().map(area));
        }
        if rule.mask == MaskUnit::Block {
            let found: Vec<_> = self.lines.values().filter(|line| line.is_flagged(e.frame.seq)).map(|line| line.block).collect();
            let rest = self.lines.values().filter(|line| found.contains(&line.block));
            covered.masks.extend(rest.filter_map(|line| line.place(e.frame.seq)).map(area));
        }
        if let Some(seen) = self.seen.iter().find(|seen| seen.seq == e.frame.seq) {
            // Ink may reach past the block that its strokes are in.
            let (dx, dy) = (BLOCK as f32 / 4.0 / e.frame.width as f32, BLOCK as f32 / 4.0 / e.frame.height as f32);
            covered.pending.extend(seen.unread.areas().into_iter().map(|area| area.grown(dx, dy).clamped()));
        }
        covered.masks.retain(|mask| !mask.is_empty());
        covered.pending.retain(|mask| !mask.is_empty());
        self.counts.masked += u64::from(!covered.masks.is_empty());
        self.counts.pending += u64::from(!covered.pending.is_empty());
        covered
    }

    /// Takes out of `seen.unread` what needs no reading; with `new`, only for what this read of the frame adds.
    fn explain(&self, e: &Entry, seen: &mut Seen, new: Option<FrameSeq>) {
        if seen.unread.is_empty() {
            return;
        }
        let rule = e.settings.text.as_ref();
        let pair_max = rule.map_or(Micros::ZERO, TextSettings::pair_max);
        let size = seen.unread.size();
        for line in self.lines.values().filter(|line| line.size() == size) {
            let (w, h) = (e.frame.width, e.frame.height);
            let grounds: Vec<Rect> = line.grounds(seen.seq).map(|place| fraction(place, w, h)).collect();
            seen.unread.remove(&Blocks::touching(w, h, &grounds));
        }
        let done = |read: &&Read| read.text.is_some() && read.within.size() == seen.unread.size();
        let reads: Vec<(FrameSeq, &Read)> = self.reads.iter().map(|(seq, read)| (*seq, read)).filter(|(_, read)| done(read)).collect();
        let left: Vec<usize> = seen.unread.iter().collect();
        let mut unlike: BTreeMap<(FrameSeq, FrameSeq), Vec<Rect>> = BTreeMap::new();
        for index in left {
            let covering = || reads.iter().filter(|(_, read)| read.within.has(index));
            let pixels = seen.unread.pixels(index);
            let same = covering()
                .filter(|(seq, _)| new.is_none_or(|new| new == *seq))
                .any(|(seq, read)| *seq == seen.seq || same_block(&read.frame, &e.frame, pixels));
            if same {
                seen.unread.set(index, false);
                continue;
            }
            let earlier = covering().rfind(|(seq, _)| *seq <= seen.seq);
            let later = covering().find(|(seq, _)| *seq >= seen.seq);
            let (Some((a, before)), Some((b, after))) = (earlier, later) else { continue };
            if after.frame.at.saturating_sub(before.frame.at) > pair_max {
                continue;
            }
            let bare = [before, after].iter().all(|read| read.text.as_ref().is_some_and(|text| !text.near(index, CLEAR)));
            let textured = [before, after].iter().any(|read| read.strokes.near(index, VOUCHED));
            if !bare || !textured {
                continue;
            }
            let unlike = unlike.entry((*a, *b)).or_insert_with(|| e.signature.unlike_areas(&[&before.signature, &after.signature]));
            let (left, top, right, bottom) = pixels;
            let place = Pixels { x: left as i32, y: top as i32, width: (right - left) as i32, height: (bottom - top) as i32 };
            let block = fraction(place, e.frame.width, e.frame.height);
            if unlike.iter().all(|area| area.intersection(&block).is_empty()) {
                seen.unread.set(index, false);
            }
        }
    }

    fn explain_all(&mut self, line: &DelayLine, new: FrameSeq) {
        let mut seen = std::mem::take(&mut self.seen);
        for seen in &mut seen {
            if let Some(e) = entry(line, seen.seq) {
                self.explain(e, seen, Some(new));
            }
        }
        self.seen = seen;
    }

    /// Asks for the next read: of the newest frame when it is time, else of the frame in the line that has most unread.
    fn want(&mut self, line: &DelayLine, now: Micros) {
        if self.out().is_some() {
            return;
        }
        let Some((newest, rule)) = line.back().and_then(|e| Some((e, e.settings.text.as_ref()?))) else { return };
        let in_time =
            self.last.is_none_or(|(at, shot)| shot != newest.shot || newest.frame.at >= at + rule.every || now >= at + rule.every);
        let open = |seen: &&Seen| !seen.unread.is_empty() && !self.reads.contains_key(&seen.seq);
        let of_newest = self.seen.back().filter(|seen| in_time && seen.seq == newest.frame.seq).filter(open);
        // A visit between two reads: it can be read only as long as it has not left.
        let last_done = self.reads.keys().next_back().copied();
        let visits = self.seen.iter().filter(|seen| last_done.is_some_and(|done| seen.seq < done)).filter(open);
        let reachable = visits.filter(|seen| entry(line, seen.seq).is_some_and(|e| e.frame.at + e.settings.delay > now + rule.budget));
        let Some(chosen) = of_newest.or_else(|| reachable.max_by_key(|seen| seen.unread.count())) else { return };
        let Some(e) = entry(line, chosen.seq) else { return };
        let within = chosen.unread.grown(1);
        let deadline = (e.frame.at + e.settings.delay).max(now + rule.budget);
        self.wanted.push(Ask::Read { seq: chosen.seq, within: within.areas(), deadline });
        self.counts.reads += 1;
        let read =
            Read { frame: e.frame.clone(), signature: e.signature.clone(), strokes: chosen.strokes.clone(), within, text: None, deadline };
        if chosen.seq == newest.frame.seq {
            self.last = Some((newest.frame.at, newest.shot));
        }
        self.reads.insert(chosen.seq, read);
    }
}

fn alike(a: &str, b: &str) -> bool {
    strsim::normalized_damerau_levenshtein(&a.to_lowercase(), &b.to_lowercase()) >= ALIKE
}

fn fraction(place: Pixels, width: usize, height: usize) -> Rect {
    let (w, h) = (width as f32, height as f32);
    Rect::new(place.x as f32 / w, place.y as f32 / h, place.width as f32 / w, place.height as f32 / h)
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
