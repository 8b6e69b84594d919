//! Speech in one source's sound: heard, judged and muted.
//!
//! ```text
//! sound ─► 16 kHz ─► voice? ─► Stream ─► Ask ─► recogniser ─► words ─► Judge ─► both policies ─► Say: mutes, judged until
//! ```
//! [`Ear`] is a machine that waits for nothing: sound and answers go in, what is to be done comes out. [`listen`] drives it on a thread of its
//! own for a live microphone, [`whole`] for the whole of a file.
//!
//! Always: `until` does not go back; what lies before it is recognised for good and judged, or muted because it could not be and the room is
//! closed; a word has one final judgement.

mod drive;

use std::collections::VecDeque;
use std::sync::Arc;

pub use self::drive::{Listening, Speaker, listen, whole};
use crate::infer::vad::Vad;
use crate::infer::whisper::Heard;
use crate::media::frame::Micros;
use crate::plugin::types::{Place, Source, Utterance, Word};
use crate::room::words::Flagged;
use crate::speech::resample::{RATE, Resampler};
use crate::speech::stream::{CHUNK, Question, Revision, Stream};
use crate::speech::{Format, HeardWord};

/// What is muted beside a word on each side: the recogniser's times are off by so much in nine of ten cases.
const MARGIN: Micros = Micros::from_millis(80);
/// When sound comes so much earlier or later than the count of samples says, some is missing or too much.
const JUMP: Micros = Micros::from_millis(60);
/// Share of the distance to what the count says that each arrival moves it.
const FOLLOWS: i64 = 64;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Do {
    /// Recognise; answer with [`Ear::heard`].
    Ask(Question),
    /// Ask the policies; answer with [`Ear::judged`].
    Judge { number: u64, utterance: Utterance },
    /// Nothing before `until` is found any more but these.
    Say { until: Micros, mutes: Vec<(Micros, Micros)> },
}

/// A revision that the policies are asked about.
struct Waiting {
    number: u64,
    /// Between the two there is what only this revision says.
    from: Micros,
    until: Micros,
    /// Of the words that are sure.
    spans: Vec<(Micros, Micros)>,
    answered: bool,
}

/// See the module. Times are the host's.
pub struct Ear {
    source: Arc<Source>,
    resampler: Resampler,
    /// Samples that do not fill a chunk yet.
    rest: Vec<f32>,
    vad: Vad,
    stream: Stream,
    /// From which sample of the stream on which time counts; the last few.
    ties: VecDeque<(Micros, Micros)>,
    waiting: VecDeque<Waiting>,
    next: u64,
    said: Micros,
    lost: u64,
    /// Unjudged speech is muted.
    pub closed: bool,
}

impl Ear {
    /// `step` as [`Stream::new`] has it.
    pub fn new(source: Arc<Source>, vad: Vad, format: Format, step: Micros, closed: bool) -> Self {
        Self {
            source,
            resampler: Resampler::new(format.rate, format.channels),
            rest: Vec::new(),
            vad,
            stream: Stream::new(step),
            ties: VecDeque::new(),
            waiting: VecDeque::new(),
            next: 0,
            said: Micros::ZERO,
            lost: 0,
            closed,
        }
    }

    /// Takes sound whose first sample was heard at `at`.
    pub fn sound(&mut self, at: Micros, samples: &[i16], out: &mut Vec<Do>) {
        self.tie(at);
        self.resampler.push(samples, &mut self.rest);
        let mut chunks = std::mem::take(&mut self.rest);
        let whole = chunks.len() / CHUNK * CHUNK;
        for chunk in chunks[..whole].chunks_exact(CHUNK) {
            let Ok(chunk) = <&[f32; CHUNK]>::try_from(chunk) else { continue };
            self.chunk(chunk, out);
        }
        chunks.drain(..whole);
        self.rest = chunks;
        self.go_on(out);
    }

    /// No more sound comes.
    pub fn finish(&mut self, out: &mut Vec<Do>) {
        // The last words end in silence, which the chunk that is begun is filled with.
        let mut last = [0.0; CHUNK];
        let rest = std::mem::take(&mut self.rest);
        last[..rest.len()].copy_from_slice(&rest);
        self.chunk(&last, out);
        let before = self.stream.heard_to();
        if let Some(revision) = self.stream.finish() {
            self.revised(before, revision, out);
        }
        self.go_on(out);
    }

    /// What was recognised of the question that is out; the error says why nothing was.
    pub fn heard(&mut self, heard: Result<Heard, String>, out: &mut Vec<Do>) {
        let before = self.stream.heard_to();
        let failed = heard.is_err();
        let Heard { words, draft } = heard.unwrap_or_default();
        let revision = self.stream.answer(words, draft);
        if failed {
            self.unheard(before, out);
        }
        if let Some(revision) = revision {
            self.revised(before, revision, out);
        }
        self.go_on(out);
    }

    /// The policies' answer.
    pub fn judged(&mut self, number: u64, flagged: Flagged, out: &mut Vec<Do>) {
        let closed = self.closed;
        let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.number == number) else { return };
        waiting.answered = true;
        let widened = |&(from, to): &(Micros, Micros)| (from.saturating_sub(MARGIN), to + MARGIN);
        let mutes: Vec<_> = match flagged {
            Some(flagged) => waiting.spans.iter().zip(flagged).filter(|(_, flagged)| *flagged).map(|(span, _)| widened(span)).collect(),
            None if closed => vec![(waiting.from, waiting.until)],
            None => Vec::new(),
        };
        self.say(mutes, out);
        self.go_on(out);
    }

    /// Sound between the two was lost on its way here.
    pub fn gap(&mut self, from: Micros, to: Micros, out: &mut Vec<Do>) {
        if self.closed {
            self.say(vec![(from, to)], out);
        }
    }

    fn chunk(&mut self, chunk: &[f32; CHUNK], out: &mut Vec<Do>) {
        // One that could not be asked about is taken for speech: then the recogniser hears it.
        let speech = self.vad.hear(chunk).unwrap_or(1.0);
        let before = self.stream.heard_to();
        let revision = self.stream.hear(chunk, speech);
        if self.stream.lost() > self.lost {
            self.lost = self.stream.lost();
            self.unheard(before, out);
        }
        if let Some(revision) = revision {
            self.revised(before, revision, out);
        }
    }

    /// What is heard of since `before` was not recognised.
    fn unheard(&mut self, before: Micros, out: &mut Vec<Do>) {
        let (from, to) = (self.time(before), self.time(self.stream.heard_to()));
        if self.closed && from < to {
            self.say(vec![(from, to)], out);
        }
    }

    /// Asks for what there is to ask, and says how far all is judged.
    fn go_on(&mut self, out: &mut Vec<Do>) {
        out.extend(self.stream.ask().map(Do::Ask));
        self.say(Vec::new(), out);
    }

    fn revised(&mut self, before: Micros, revision: Revision, out: &mut Vec<Do>) {
        let span = |word: &HeardWord| (self.time(word.from), self.time(word.to));
        let sure = if revision.is_final { revision.words.len() } else { revision.sure };
        let waiting = Waiting {
            number: self.next,
            from: self.time(before),
            until: self.time(self.stream.heard_to()),
            spans: revision.words.iter().take(sure).map(span).collect(),
            answered: revision.words.is_empty(),
        };
        let word = |word: &HeardWord| {
            let (start, end) = span(word);
            Word { text: word.text.clone(), confidence: word.confidence, place: Place::Time { start, end } }
        };
        if !waiting.answered {
            let utterance = Utterance {
                id: format!("{}-speech-{}", self.source.id, revision.id),
                revision: revision.revision,
                is_final: revision.is_final,
                source: (*self.source).clone(),
                speaker: self.source.owner.clone(),
                addressees: Vec::new(),
                reply_to: None,
                language: None,
                words: revision.words.iter().map(word).collect(),
            };
            out.push(Do::Judge { number: self.next, utterance });
        }
        self.next += 1;
        self.waiting.push_back(waiting);
    }

    fn say(&mut self, mutes: Vec<(Micros, Micros)>, out: &mut Vec<Do>) {
        while let Some(answered) = self.waiting.pop_front_if(|waiting| waiting.answered) {
            self.said = self.said.max(answered.until);
        }
        let before = self.said;
        if self.waiting.is_empty() {
            self.said = self.said.max(self.time(self.stream.heard_to()));
        }
        if !mutes.is_empty() || self.said > before {
            out.push(Do::Say { until: self.said, mutes });
        }
    }

    /// When a time of the stream was, on the host's clock.
    fn time(&self, at: Micros) -> Micros {
        let tie = self.ties.iter().rev().find(|(of, _)| *of <= at).or(self.ties.front());
        tie.map_or(Micros::ZERO, |(of, was)| (*was + at).saturating_sub(*of))
    }

    fn tie(&mut self, at: Micros) {
        const TIES_MAX: usize = 64;
        let of = self.stream.now() + Micros(self.rest.len() as u64 * 1_000_000 / u64::from(RATE));
        let Some((tied, was)) = self.ties.back_mut() else {
            self.ties.push_back((of, at));
            return;
        };
        let expected = *was + of.saturating_sub(*tied);
        let off = at.0 as i64 - expected.0 as i64;
        if off.unsigned_abs() > JUMP.0 {
            self.ties.push_back((of, at));
            if self.ties.len() > TIES_MAX {
                self.ties.pop_front();
            }
        } else {
            *was = Micros(was.0.saturating_add_signed(off / FOLLOWS));
        }
    }
}
