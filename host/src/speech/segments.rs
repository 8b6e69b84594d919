//! How likely speech is, chunk by chunk, to stretches of speech. Pure.
//!
//! Speech begins where the likelihood reaches [`BEGIN`] and ends after [`PAUSE`] below [`END`] (Silero's `get_speech_timestamps`, whose numbers
//! these are where nothing else is said). A stretch has [`PADDING`] on both sides, so that no word loses its edges.
//!
//! What always holds: stretches come in order and do not overlap; every chunk at or above [`BEGIN`] lies in one, until it turns out to be
//! shorter than [`SHORTEST`]; none is longer than [`LONGEST`].

use crate::media::frame::Micros;

/// A chunk's length.
pub const CHUNK: Micros = Micros::from_millis(32);
/// Speech begins at so much, 0..=1.
pub const BEGIN: f32 = 0.5;
/// And goes on at so much.
pub const END: f32 = 0.35;
/// Chunks below that end it: 320 ms. Between words there is less; Whisper goes astray when it is cut within a phrase.
pub const PAUSE: u64 = 10;
/// What is shorter is a click: 96 ms of chunks that are speech.
pub const SHORTEST: u64 = 3;
/// Chunks on both sides: 192 ms.
pub const PADDING: u64 = 6;
/// Chunks of the longest stretch: 15 s. Beyond it the speaker has made no pause, and the next begins where it ends.
pub const LONGEST: u64 = 468;

/// In the last two seconds before that, this pause is enough: 64 ms. It is better to be cut between two words.
const SHORT_PAUSE: u64 = 2;
const SOON: u64 = 62;

/// What a chunk has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Speech has begun, at this time.
    Begun(Micros),
    /// The stretch is over, at this time.
    Ended(Micros),
    /// What had begun was no speech.
    Dropped,
}

/// See the module. Times count from the first chunk.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    /// Chunks so far.
    chunks: u64,
    open: Option<Open>,
    /// Where the last stretch ended.
    ended: u64,
}

#[derive(Clone, Debug)]
struct Open {
    from: u64,
    /// The first chunk after the last that was speech.
    voiced_to: u64,
    /// Chunks that were speech.
    voiced: u64,
}

impl Segments {
    /// Takes the next chunk's likelihood.
    pub fn hear(&mut self, speech: f32) -> Option<Change> {
        let at = self.chunks;
        self.chunks += 1;
        let Some(open) = &mut self.open else {
            if speech < BEGIN {
                return None;
            }
            let from = at.saturating_sub(PADDING).max(self.ended);
            self.open = Some(Open { from, voiced_to: at + 1, voiced: 1 });
            return Some(Change::Begun(time(from)));
        };
        if speech >= END {
            open.voiced_to = at + 1;
            open.voiced += 1;
        }
        let pause = if self.chunks - open.from + SOON >= LONGEST { SHORT_PAUSE } else { PAUSE };
        let (short, over) = (open.voiced < SHORTEST, self.chunks - open.voiced_to >= pause);
        if over && short {
            self.open = None;
            return Some(Change::Dropped);
        }
        let end = if over { (open.voiced_to + PADDING).min(self.chunks) } else { self.chunks };
        if over || self.chunks - open.from >= LONGEST {
            self.open = None;
            self.ended = end;
            return Some(Change::Ended(time(end)));
        }
        None
    }

    /// The sound is over: so is the stretch that is open.
    pub fn finish(&mut self) -> Option<Change> {
        self.ended = self.chunks;
        let open = self.open.take()?;
        Some(if open.voiced < SHORTEST { Change::Dropped } else { Change::Ended(time(self.chunks)) })
    }

    /// Up to when it is sure that no stretch begins which is not known; where one is open, its beginning.
    pub fn silent_to(&self) -> Micros {
        time(self.open.as_ref().map_or(self.chunks.saturating_sub(PADDING).max(self.ended), |open| open.from))
    }

    /// Up to when speech has been found in the stretch that is open.
    pub fn voiced_to(&self) -> Option<Micros> {
        self.open.as_ref().map(|open| time(open.voiced_to))
    }
}

fn time(chunk: u64) -> Micros {
    Micros(chunk * CHUNK.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The stretches in chunks, and whether each was dropped.
    fn stretches(speech: &[f32]) -> Vec<(u64, u64, bool)> {
        let (mut segments, mut found, mut from) = (Segments::default(), Vec::new(), None);
        let mut changes: Vec<(u64, Option<Change>)> = Vec::new();
        for (at, speech) in (1..).zip(speech) {
            let change = segments.hear(*speech);
            changes.push((at, change));
        }
        changes.push((speech.len() as u64, segments.finish()));
        for (at, change) in changes {
            match change {
                Some(Change::Begun(begin)) => assert!(from.replace(begin.0 / CHUNK.0).is_none()),
                Some(Change::Ended(end)) => found.push((from.take().unwrap(), end.0 / CHUNK.0, false)),
                Some(Change::Dropped) => found.push((from.take().unwrap(), at, true)),
                None => {}
            }
        }
        assert_eq!(from, None);
        found
    }

    fn spoken(lengths: &[(usize, f32)]) -> Vec<f32> {
        lengths.iter().flat_map(|&(length, speech)| vec![speech; length]).collect()
    }

    #[test]
    fn a_breath_does_not_end_a_phrase_and_a_pause_does() {
        let phrase = spoken(&[(20, 0.0), (10, 0.9), (9, 0.1), (10, 0.9), (30, 0.1), (5, 0.9), (20, 0.0)]);
        assert_eq!(stretches(&phrase), [(14, 55, false), (73, 90, false)]);
    }

    #[test]
    fn doubt_goes_on_but_does_not_begin_and_clicks_are_dropped() {
        assert_eq!(stretches(&spoken(&[(50, 0.45)])), []);
        assert_eq!(stretches(&spoken(&[(3, 0.9), (40, 0.4), (30, 0.0)])), [(0, 49, false)]);
        assert_eq!(stretches(&spoken(&[(20, 0.0), (2, 0.9), (30, 0.0)])), [(14, 32, true)]);
    }

    #[test]
    fn who_makes_no_pause_is_cut_and_nothing_is_lost() {
        let found = stretches(&spoken(&[(1000, 0.9)]));
        assert_eq!(found, [(0, 468, false), (468, 936, false), (936, 1000, false)]);
        let found = stretches(&spoken(&[(420, 0.9), (2, 0.1), (40, 0.9), (20, 0.0)]));
        assert_eq!(found, [(0, 422, false), (422, 468, false)]);
    }

    #[test]
    fn when_no_more_sound_comes_it_is_known_that_nothing_begins() {
        let mut segments = Segments::default();
        for speech in spoken(&[(20, 0.0), (10, 0.9), (60, 0.0)]) {
            segments.hear(speech);
        }
        assert_eq!(segments.silent_to(), time(90 - PADDING));
        assert_eq!(segments.finish(), None);
        assert_eq!(segments.silent_to(), time(90));
    }

    proptest! {
        #[test]
        fn stretches_are_apart_and_hold_all_speech(lengths in prop::collection::vec((1..60_usize, prop::sample::select(vec![0.0, 0.2, 0.4, 0.6, 0.9])), 1..60)) {
            let speech = spoken(&lengths);
            let found = stretches(&speech);
            prop_assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].0 || pair[0].2));
            prop_assert!(found.iter().all(|(from, to, _)| to > from && to - from <= LONGEST));
            for (at, _) in (0..).zip(&speech).filter(|(_, speech)| **speech >= BEGIN) {
                prop_assert!(found.iter().any(|(from, to, _)| (*from..*to).contains(&at)), "{} in {:?}", at, found);
            }
        }

        #[test]
        fn what_was_called_silent_stays_so(lengths in prop::collection::vec((1..60_usize, prop::sample::select(vec![0.0, 0.4, 0.9])), 1..40)) {
            let (mut segments, mut silent_to, mut open) = (Segments::default(), Micros::ZERO, false);
            for speech in spoken(&lengths) {
                match segments.hear(speech) {
                    Some(Change::Begun(from)) => {
                        prop_assert!(from >= silent_to);
                        open = true;
                    }
                    Some(_) => open = false,
                    None => {}
                }
                prop_assert!(open || segments.silent_to() >= silent_to);
                silent_to = segments.silent_to();
            }
        }
    }
}
