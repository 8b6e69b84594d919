//! Words before the sentence ends: speech is recognised again and again while it grows, and what two guesses in a row agree on stays. Pure: sound
//! and guesses go in, questions and utterances come out; what recognises is the caller's.
//!
//! The rule is LocalAgreement-2 (Macháček, Dabre, Bojar: Turning Whisper into Real-Time Transcription System, 2023): of two successive guesses
//! the longest common beginning is sure. A stretch's last guess is sure as a whole. All of the last guess is told at once, so that a policy can
//! act on what is only likely.
//!
//! What always holds: of an utterance the sure words stay as they are and only grow in number; its last revision says so and none follows;
//! [`Stream::heard_to`] does not go back, and no sure word that is told later begins before it. Times count from the first sample.

use std::collections::VecDeque;

use super::agree::{beyond, shared};
use super::segments::{Change, Segments};
use super::{Draft, HeardWord};
use crate::media::frame::Micros;

/// Samples of a chunk, at 16 kHz.
pub const CHUNK: usize = 512;
/// A stretch is looked at anew when it has grown by this.
pub const STEP: Micros = Micros::from_millis(480);
/// When the window is longer, it moves on to after the last sure word.
const WINDOW_MAX: Micros = Micros::from_millis(8000);
/// What is recognised says that a word may begin so long before the one before it ends.
const OVERLAP: Micros = Micros::from_millis(120);
/// Sound that is kept. Who recognises too slowly loses the oldest stretches: what is so late is of no use.
const KEPT_MAX: Micros = Micros::from_millis(40_000);

/// What is to be recognised.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub samples: Vec<f32>,
    /// What was said of most of it before; what is sure of that is settled, but for the last word, which may have been cut.
    pub draft: Draft,
}

/// What is said so far. A later `revision` of the same `id` replaces the earlier one.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    pub id: u64,
    pub revision: u32,
    pub is_final: bool,
    pub words: Vec<HeardWord>,
    /// So many of them, the first, stay as they are.
    pub sure: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Stream {
    step: Micros,
    segments: Segments,
    samples: VecDeque<f32>,
    /// When the first of them was heard, in samples.
    from: u64,
    /// In order; only the last may grow.
    stretches: VecDeque<Stretch>,
    next_id: u64,
    /// Of the first stretch a question is out, up to this time; the last one of it or not.
    out: Option<(u64, Micros, bool)>,
    heard_to: Micros,
    /// Stretches that were given up.
    lost: u64,
}

#[derive(Debug)]
struct Stretch {
    id: u64,
    from: Micros,
    /// None while it grows.
    to: Option<Micros>,
    /// What is asked about begins here.
    window: Micros,
    /// Up to when the last question went.
    asked_to: Micros,
    sure: Vec<HeardWord>,
    /// The last guess beyond those.
    guess: Vec<HeardWord>,
    draft: Draft,
    /// Of what was told last.
    revision: u32,
    told: Option<(Vec<HeardWord>, usize)>,
}

impl Stream {
    /// Looks anew when a stretch has grown by `step`, usually [`STEP`].
    pub fn new(step: Micros) -> Self {
        Self {
            step,
            segments: Segments::default(),
            samples: VecDeque::new(),
            from: 0,
            stretches: VecDeque::new(),
            next_id: 0,
            out: None,
            heard_to: Micros::ZERO,
            lost: 0,
        }
    }

    /// Takes the next chunk and how likely it is speech. Answers with what ends without a question: no speech after all, or given up.
    pub fn hear(&mut self, chunk: &[f32; CHUNK], speech: f32) -> Option<Revision> {
        self.samples.extend(chunk);
        let change = self.segments.hear(speech);
        let dropped = self.change(change);
        self.settle();
        dropped.or_else(|| self.give_up())
    }

    /// No more sound comes.
    pub fn finish(&mut self) -> Option<Revision> {
        let change = self.segments.finish();
        let dropped = self.change(change);
        self.settle();
        dropped
    }

    /// The next question, if there is one and none is out.
    pub fn ask(&mut self) -> Option<Question> {
        if self.out.is_some() {
            return None;
        }
        let now = self.now();
        let stretch = self.stretches.front_mut()?;
        let to = stretch.to.unwrap_or(now);
        if stretch.to.is_none() && to.saturating_sub(stretch.asked_to) < self.step {
            return None;
        }
        if to.saturating_sub(stretch.window) > WINDOW_MAX {
            stretch.move_window();
        }
        stretch.asked_to = to;
        self.out = Some((stretch.id, to, stretch.to.is_some()));
        let place = |at: Micros| (samples(at).saturating_sub(self.from) as usize).min(self.samples.len());
        let samples = self.samples.range(place(stretch.window)..place(to)).copied().collect();
        Some(Question { samples, draft: stretch.draft.clone() })
    }

    /// What was recognised of the question that is out: words with times from its first sample, and the draft for the next. Nothing, if it could not
    /// be.
    pub fn answer(&mut self, words: Vec<HeardWord>, draft: Draft) -> Option<Revision> {
        let (id, to, last) = self.out.take()?;
        // One that was given up, or was no speech, is not there any more.
        let stretch = self.stretches.front_mut().filter(|stretch| stretch.id == id)?;
        stretch.guessed(words, draft, to, last);
        let told = stretch.tell(last);
        if last {
            self.stretches.pop_front();
        }
        self.settle();
        told
    }

    /// Up to when all that was said is told and sure, or it is known that nothing was said.
    pub fn heard_to(&self) -> Micros {
        self.heard_to
    }

    /// Up to when sound has come.
    pub fn now(&self) -> Micros {
        time(self.from + self.samples.len() as u64)
    }

    /// Stretches of which the words are not known, because answers were too slow.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn change(&mut self, change: Option<Change>) -> Option<Revision> {
        match change? {
            Change::Begun(from) => {
                self.stretches.push_back(Stretch::new(self.next_id, from));
                self.next_id += 1;
                None
            }
            Change::Ended(to) => {
                let last = self.stretches.back_mut()?;
                last.to = Some(to);
                None
            }
            Change::Dropped => self.stretches.pop_back().and_then(|mut stretch| stretch.abandon()),
        }
    }

    fn give_up(&mut self) -> Option<Revision> {
        let oldest = self.stretches.front()?.window;
        if self.now().saturating_sub(oldest) <= KEPT_MAX {
            return None;
        }
        self.lost += 1;
        let told = self.stretches.pop_front().and_then(|mut stretch| stretch.abandon());
        self.settle();
        told
    }

    /// How far everything is heard, and which samples are of no more use.
    fn settle(&mut self) {
        let heard = self.stretches.front().map_or(self.segments.silent_to(), Stretch::sure_to);
        self.heard_to = self.heard_to.max(heard);
        let needed = self.stretches.front().map_or(self.segments.silent_to(), |stretch| stretch.window);
        let over = (samples(needed).saturating_sub(self.from) as usize).min(self.samples.len());
        self.samples.drain(..over);
        self.from += over as u64;
    }
}

impl Stretch {
    fn new(id: u64, from: Micros) -> Self {
        Self {
            id,
            from,
            to: None,
            window: from,
            asked_to: from,
            sure: Vec::new(),
            guess: Vec::new(),
            draft: Draft::default(),
            revision: 0,
            told: None,
        }
    }

    /// Where the next sure word may begin.
    fn sure_to(&self) -> Micros {
        self.sure.last().map_or(self.from, |word| word.to.saturating_sub(OVERLAP).max(self.from))
    }

    /// What is sure is not asked about again.
    fn move_window(&mut self) {
        if let Some(last) = self.sure.last().filter(|last| last.to > self.window) {
            self.window = last.to;
            self.draft = Draft::default();
        }
    }

    fn guessed(&mut self, words: Vec<HeardWord>, draft: Draft, to: Micros, last: bool) {
        let at = |time: Micros| (self.window + time).min(to);
        let words = words.into_iter().map(|word| HeardWord { from: at(word.from), to: at(word.to), ..word }).collect();
        let told = draft.ends.len();
        let mut guess = beyond(&self.sure, words);
        let known = told.saturating_sub(guess.len());
        let sure = if last { guess.len() } else { shared(&self.guess, &guess) };
        let sure_to = self.sure_to();
        // Times of two guesses differ a little: sure words do not begin before those that were sure before.
        for word in &mut guess {
            (word.from, word.to) = (word.from.max(sure_to), word.to.max(sure_to));
        }
        self.guess = guess.split_off(sure);
        self.sure.append(&mut guess);
        let settled = (known + sure).checked_sub(2).and_then(|word| draft.ends.get(word).copied());
        self.draft = Draft { settled: settled.unwrap_or(0), ..draft };
    }

    /// What is new, if anything is.
    fn tell(&mut self, last: bool) -> Option<Revision> {
        let words = [self.sure.as_slice(), &self.guess].concat();
        let same = self.told.as_ref().map_or(words.is_empty(), |(told, sure)| *told == words && *sure == self.sure.len());
        if same && (!last || self.told.is_none()) {
            return None;
        }
        self.revision += u32::from(self.told.is_some());
        self.told = Some((words.clone(), self.sure.len()));
        Some(Revision { id: self.id, revision: self.revision, is_final: last, words, sure: self.sure.len() })
    }

    /// Nothing more will be known of it.
    fn abandon(&mut self) -> Option<Revision> {
        self.guess.clear();
        self.tell(true)
    }
}

fn samples(at: Micros) -> u64 {
    at.0 * 16 / 1000
}

fn time(samples: u64) -> Micros {
    Micros(samples * 1000 / 16)
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
