//! What stands around a word: who is meant, whether it is quoted, praise, names of places and people. Every question looks a fixed
//! number of words to each side, so a judgement is linear in the text.

use crate::glyphs::Row;
use crate::lexicon::{cue, cues};
use crate::memory::Before;

/// Words to each side in which a cue is near.
const NEAR: usize = 4;
/// The first words, to which the speaker's last utterance is near.
const TAIL_NEAR: usize = 2;
/// Words before it in which a negation still bears on a word.
const NOT_NEAR: usize = 3;
/// Words to each side in which talk of a game is near.
const PLAY_NEAR: usize = 8;

/// The answers for one range of words.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Context {
    /// Said to someone who is addressed, or of a person pointed at.
    pub aimed: bool,
    /// The word is what a person is said to be.
    pub predicated: bool,
    /// Not the only word.
    pub told: bool,
    /// The speaker says it of themselves.
    pub confessed: bool,
    /// Directly before a word of praise.
    pub praise: bool,
    pub positive: bool,
    pub negative: bool,
    /// Quoted with a word of saying, or spoken about as a word.
    pub reported: bool,
    /// What nobody is: "is not a …", "aren't …".
    pub negated: bool,
    /// What nobody should do: "don't …", "never …".
    pub warned: bool,
    /// The speaker has attacked someone a moment ago.
    pub heated: bool,
    /// In talk of a game or a film.
    pub play: bool,
    /// The speaker counts themselves in: "as a …", "my fellow …", "we …".
    pub claimed: bool,
    pub medical: bool,
    /// Part of the name of a street or place.
    pub place: bool,
    /// Part of a person's name.
    pub name: bool,
}

/// The cues of an utterance, looked up once.
pub struct Around<'a> {
    row: &'a Row,
    cues: Vec<u16>,
    /// Per word, where the quotation that it stands in begins.
    quote: Vec<Option<u32>>,
    to_someone: bool,
    before: Before,
}

impl<'a> Around<'a> {
    pub fn new(row: &'a Row, to_someone: bool, before: Before) -> Self {
        let cues = row.plain.iter().map(|word| cues(word)).collect();
        let mentions = row.shapes.iter().any(|shape| shape.mention);
        Self { row, cues, quote: quotations(row), to_someone: to_someone || mentions, before }
    }

    /// Per word, its classes.
    pub fn cues(&self) -> &[u16] {
        &self.cues
    }

    /// What stands around words `first..=last`.
    pub fn context(&self, first: u32, last: u32) -> Context {
        let (first, last) = (first as usize, last as usize);
        let near = self.any(first.saturating_sub(NEAR), first) | self.any(last + 1, last + 1 + NEAR);
        // What the speaker said just before is near the first words.
        let tail = if first < TAIL_NEAR { self.before.tail } else { 0 };
        let before = self.any(first.saturating_sub(NEAR), first) | tail;
        let after = self.any(last + 1, last + 3);
        let second = near & cue::SECOND != 0;
        let third = (before | self.any(last + 1, last + 2)) & cue::THIRD != 0;
        let first_person = self.any(first.saturating_sub(2), first) & cue::FIRST != 0;
        let person = before & (cue::SECOND | cue::THIRD) != 0 || self.mention_before(first);
        let linked = before & cue::BE != 0 || self.any(first.saturating_sub(1), first) & cue::SECOND != 0;
        Context {
            aimed: (second || third || self.to_someone) && !first_person,
            predicated: person && linked || tail & cue::SECOND != 0 && tail & cue::BE != 0 || self.short_outcry(first, last),
            told: self.row.plain.len() > last + 1 - first,
            confessed: self.confessed(first),
            praise: after & cue::POSITIVE != 0,
            positive: near & cue::POSITIVE != 0,
            negative: near & cue::NEGATIVE != 0,
            reported: self.reported(first, last),
            heated: self.before.heated,
            negated: self.negated(first),
            warned: self.any(first.saturating_sub(NOT_NEAR), first) & cue::NOT != 0,
            play: (self.any(first.saturating_sub(PLAY_NEAR), first) | self.any(last + 1, last + 1 + PLAY_NEAR)) & cue::PLAY != 0,
            claimed: (first_person || self.as_one(first)) && before & cue::SECOND == 0,
            medical: near & cue::MEDICAL != 0,
            place: self.row.shapes[first].capital
                && !self.shouting(last)
                && self.word(last + 1).is_some_and(|(cues, capital)| capital && cues & cue::PLACE != 0),
            name: self.name(first, last),
        }
    }

    /// Whether one of `words` stands within reach.
    pub fn cleared(&self, first: u32, last: u32, words: &[&str]) -> bool {
        if words.is_empty() {
            return false;
        }
        let (first, last) = (first as usize, last as usize);
        let end = self.row.plain.len();
        let before = &self.row.plain[first.saturating_sub(NEAR).min(end)..first.min(end)];
        let after = &self.row.plain[(last + 1).min(end)..(last + 1 + NEAR).min(end)];
        before.iter().chain(after).any(|word| words.binary_search(&word.as_str()).is_ok())
    }

    /// "I am a …", "im such a …".
    fn confessed(&self, first: usize) -> bool {
        let from = first.saturating_sub(3);
        let before = self.any(from, first);
        let im = self.row.plain[from..first].iter().any(|word| word == "im");
        (im || before & cue::FIRST != 0 && before & cue::BE != 0) && before & (cue::SECOND | cue::THIRD) == 0
    }

    /// "as a …", "us fellow …".
    fn as_one(&self, first: usize) -> bool {
        self.row.plain[first.saturating_sub(2)..first].iter().any(|word| matches!(word.as_str(), "as" | "fellow"))
    }

    fn negated(&self, first: usize) -> bool {
        (first.saturating_sub(NOT_NEAR)..first).any(|at| {
            let is = |at: usize| self.cues[at] & cue::BE != 0;
            self.cues[at] & cue::NOT != 0 && (is(at) || at > 0 && is(at - 1))
        })
    }

    fn any(&self, from: usize, to: usize) -> u16 {
        let end = self.cues.len();
        self.cues[from.min(end)..to.min(end)].iter().fold(0, |all, cues| all | cues)
    }

    fn word(&self, at: usize) -> Option<(u16, bool)> {
        Some((*self.cues.get(at)?, self.row.shapes[at].capital))
    }

    fn mention_before(&self, first: usize) -> bool {
        self.row.shapes[first.saturating_sub(NEAR)..first].iter().any(|shape| shape.mention)
    }

    /// A message of few words is said of whoever it answers.
    fn short_outcry(&self, first: usize, last: usize) -> bool {
        self.row.plain.len() <= 3 && last - first < 3 && self.to_someone
    }

    /// All capitals say nothing about names.
    fn shouting(&self, at: usize) -> bool {
        let glyphs = &self.row.shapes[at];
        self.row.shapes.get(at + 1).is_some_and(|next| next.capital) && glyphs.hashtag
    }

    fn name(&self, first: usize, last: usize) -> bool {
        let capital = |at: usize| self.row.shapes.get(at).is_some_and(|shape| shape.capital && !shape.hashtag);
        let starts_sentence = first == 0 || self.row.shapes[first - 1].ends_sentence;
        let known = |at: usize| self.cues.get(at).is_some_and(|&cues| cues != 0);
        let surname = capital(last + 1) && !known(last + 1) && self.row.plain[last + 1].len() > 2;
        let given = !starts_sentence && capital(first - 1) && !known(first - 1);
        capital(first) && (surname && !given || given && !capital(last + 1)) && self.row.plain[first].len() <= 5
    }

    /// In quotation marks with a word of saying or of judging beside them, or right after "the word", "called me a". A quotation that
    /// begins with a name is a message passed on, not one spoken about.
    fn reported(&self, first: usize, last: usize) -> bool {
        if let Some(open) = self.quote[first] {
            let open = open as usize;
            let beside = self.any(open.saturating_sub(NEAR), open) | self.any(last + 1, last + 1 + NEAR);
            return !self.row.shapes[open].mention && beside & (cue::REPORT | cue::CONDEMN) != 0;
        }
        let called = |at: usize| matches!(self.row.plain[at].as_str(), "called" | "calls" | "calling");
        let object = |at: usize| {
            matches!(self.row.plain.get(at).map(String::as_str), Some("me" | "us" | "him" | "her" | "them" | "people" | "someone"))
        };
        self.any(first.saturating_sub(1), first) & cue::NAMED != 0
            || (first.saturating_sub(3)..first).any(|at| called(at) && object(at + 1))
    }
}

/// Longest quotation, in words: a mark that is never closed must not swallow the text.
const QUOTE_WORDS_MAX: usize = 40;

fn quotations(row: &Row) -> Vec<Option<u32>> {
    let mut inside = vec![None; row.shapes.len()];
    let mut open: Option<usize> = None;
    for (at, shape) in row.shapes.iter().enumerate() {
        if open.is_none() && shape.opens_quote {
            open = Some(at);
        }
        if let Some(start) = open {
            if at - start >= QUOTE_WORDS_MAX {
                open = None;
            } else if shape.closes_quote {
                inside[start..=at].fill(Some(start as u32));
                open = None;
            }
        }
    }
    inside
}
