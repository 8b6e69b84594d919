//! What can be read at once, put before the text policy as one utterance.

use std::collections::BTreeMap;

use super::line::{Line, LineId, Verdict};
use super::{Ask, Reading, fraction};
use crate::infer::ocr::{Block, ReadWord};
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::room::line::DelayLine;

/// A question to the text policy: the page, and which revision of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JudgeId {
    pub page: u64,
    pub revision: u32,
}

/// The words that were asked about, and the words as they were given.
pub(super) struct Question {
    places: Vec<(LineId, usize)>,
    words: Vec<ReadWord>,
    is_final: bool,
    /// Its first answer failed.
    again: bool,
}

pub(super) type Asked = BTreeMap<JudgeId, Question>;

pub(super) struct Page {
    id: u64,
    revision: u32,
    lines: Vec<LineId>,
    places: Vec<(LineId, usize)>,
    words: Vec<ReadWord>,
}

/// Share of a new line that lies in one that is followed there, from which it is that one.
const SAME_LINE: f32 = 0.8;
/// Share of the smaller of two lines from which they can't both be there.
const IN_PLACE_OF: f32 = 0.5;

impl Reading {
    /// Takes in what was read of a frame and follows it through the delay line.
    pub(super) fn take_in(&mut self, line: &DelayLine, frame: &Frame, blocks: Vec<Block>) {
        let shot = line.iter().find(|e| e.frame.seq >= frame.seq).map(|e| e.shot);
        let in_shot =
            |e: &&crate::room::line::Entry| shot == Some(e.shot) && (e.frame.width, e.frame.height) == (frame.width, frame.height);
        for read in blocks {
            let block = self.next_line;
            for read in read.lines.iter().filter(|read| !read.words.is_empty()) {
                let mut new = Line::new(read, block, frame);
                if self.is_known(&new, frame.seq) {
                    continue;
                }
                self.replace(&new, frame.seq);
                new.follow_back(line.iter().rev().filter(in_shot).map(|e| &e.frame).filter(|other| other.seq < frame.seq));
                let mut before = frame.seq;
                let (mut moved, mut seeks) = (None, usize::MAX);
                for later in line.iter().filter(in_shot).filter(|e| e.frame.seq > frame.seq) {
                    new.follow(before, &later.frame, &mut moved, &mut seeks);
                    before = later.frame.seq;
                }
                if shot.is_none() || line.back().is_some_and(|newest| shot != Some(newest.shot)) {
                    new.end();
                }
                self.counts.lines += 1;
                self.lines.insert(LineId(self.next_line), new);
                self.next_line += 1;
            }
            self.next_line += 1;
        }
    }

    /// Whether a line that is followed is there, whole, in the place of the new one.
    fn is_known(&self, new: &Line, seq: FrameSeq) -> bool {
        let (w, h) = new.size();
        let mine = fraction(new.area, w, h);
        self.lines.values().filter(|line| line.size() == new.size()).any(|line| {
            let whole = line.words_in(seq).count() == line.words.len();
            let place = line.place(seq).map(|place| fraction(place, w, h));
            whole && place.is_some_and(|place| place.intersection(&mine).area() >= SAME_LINE * mine.area())
        })
    }

    /// Ends the lines in whose place a new one was read.
    fn replace(&mut self, new: &Line, seq: FrameSeq) {
        let (w, h) = new.size();
        let mine = fraction(new.area, w, h);
        for line in self.lines.values_mut().filter(|line| line.size() == (w, h)) {
            let Some(place) = line.place(seq).map(|place| fraction(place, w, h)) else { continue };
            if place.intersection(&mine).area() >= IN_PLACE_OF * place.area().min(mine.area()) {
                line.end_before(seq);
            }
        }
    }

    /// Asks about everything that can be read in a frame: a revision of the page, or the first of another.
    pub(super) fn judge(&mut self, line: &DelayLine, frame: &Frame) {
        let (w, h) = (frame.width, frame.height);
        let mut visible: Vec<_> =
            self.lines.iter().filter(|(_, line)| line.size() == (w, h) && line.words_in(frame.seq).next().is_some()).collect();
        let top = |block: u64| {
            let of = self.lines.values().filter(|line| line.block == block).filter_map(|line| line.place(frame.seq));
            of.map(|place| (place.y, place.x)).min().unwrap_or_default()
        };
        visible.sort_by_cached_key(|(id, line)| (top(line.block), line.block, **id));
        let (mut lines, mut places, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for (id, line) in visible {
            lines.push(*id);
            for (index, word, area) in line.words_in(frame.seq) {
                places.push((*id, index));
                words.push(ReadWord { text: word.text.clone(), confidence: word.confidence, area: fraction(area, w, h).clamped() });
            }
        }
        let same = self.page.as_ref().is_some_and(|page| page.lines.iter().any(|line| lines.contains(line)));
        let at = asked_at(line, frame.at);
        if !same {
            self.close_page(at);
        }
        if words.is_empty() {
            return;
        }
        let (id, revision) = match &self.page {
            Some(page) if page.words == words => return,
            Some(page) => (page.id, page.revision + 1),
            None => {
                self.pages += 1;
                (self.pages, 0)
            }
        };
        self.page = Some(Page { id, revision, lines, places, words });
        self.ask_page(at, false);
    }

    /// A new generation of the text policy is in force: what is there is judged anew, and until then stays as it was judged.
    pub fn committed(&mut self, line: &DelayLine) {
        let (Some(page), Some(e)) = (&mut self.page, line.back()) else { return };
        page.revision += 1;
        self.ask_page(e.frame.at, false);
    }

    /// The page has gone: its last revision is final.
    pub(super) fn close_page_if_gone(&mut self, at: Micros) {
        let gone = |page: &Page| page.lines.iter().all(|id| self.lines.get(id).is_none_or(|line| !line.is_followed()));
        if self.page.as_ref().is_some_and(gone) {
            self.close_page(at);
        }
    }

    /// See [`Reading::close_page_if_gone`].
    pub(super) fn close_page(&mut self, at: Micros) {
        if let Some(page) = &mut self.page {
            page.revision += 1;
            self.ask_page(at, true);
            self.page = None;
        }
    }

    fn ask_page(&mut self, at: Micros, is_final: bool) {
        let Some(page) = &self.page else { return };
        let id = JudgeId { page: page.id, revision: page.revision };
        self.asked.insert(id, Question { places: page.places.clone(), words: page.words.clone(), is_final, again: false });
        self.counts.judgements += 1;
        self.wanted.push(Ask::Judge { id, at, is_final, words: page.words.clone() });
    }

    /// The policy's answer, one for each word that was asked about: whether it is to be covered. None: it failed, and what has no verdict
    /// stays without.
    pub fn judged(&mut self, line: &DelayLine, id: JudgeId, flagged: Option<Vec<bool>>) {
        let Some(question) = self.asked.remove(&id) else { return };
        let Some(flagged) = flagged.filter(|flagged| flagged.len() == question.places.len()) else {
            self.counts.judgements_failed += 1;
            // Once more: it may have been the one call that a fault cost.
            if let (false, Some(e)) = (question.again, line.back()) {
                let Question { is_final, ref words, .. } = question;
                self.wanted.push(Ask::Judge { id, at: e.frame.at, is_final, words: words.clone() });
                self.asked.insert(id, Question { again: true, ..question });
            }
            return;
        };
        for ((line, index), flagged) in question.places.into_iter().zip(flagged) {
            if let Some(word) = self.lines.get_mut(&line).and_then(|line| line.words.get_mut(index))
                && word.judged_by.is_none_or(|by| by <= id)
            {
                word.verdict = if flagged { Verdict::Flagged } else { Verdict::Clean };
                word.judged_by = Some(id);
            }
        }
    }
}

/// A page is asked about as of when it was captured, but not before what the source has published already.
fn asked_at(line: &DelayLine, at: Micros) -> Micros {
    line.front().map_or(at, |first| at.max(first.frame.at))
}
