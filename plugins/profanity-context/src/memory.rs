//! What is remembered of who spoke: of each speaker's last utterances when they were, how bad, and of what classes their last words
//! were. No word is kept, and nobody's name: speakers and sources are known by hashes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lexicon::{cue, cues, plain};

/// Speakers of one room that are remembered; beyond them, whoever was silent longest is forgotten.
const SPEAKERS_MAX: usize = 512;
/// Utterances of one speaker that are remembered.
const UTTERANCES_MAX: usize = 4;
/// For so long an utterance bears on the next ones.
const HEATED_US: u64 = 60_000_000;
/// For so long the next one may go on with its sentence.
const GOES_ON_US: u64 = 10_000_000;
/// From this severity on an utterance was an attack.
const ATTACK_SEVERITY: f32 = 0.45;
/// Last words of an utterance whose classes are kept.
const TAIL_WORDS: usize = 3;

/// What a room's policy remembers. At most [`SPEAKERS_MAX`] speakers of [`UTTERANCES_MAX`] utterances, some 30 bytes each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// By source and speaker.
    speakers: BTreeMap<(u64, u64), Vec<Past>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Past {
    /// Hash of the utterance's id: its revisions are one utterance.
    id: u64,
    at_us: u64,
    /// Of the severest finding; 0 without any.
    severity: f32,
    /// Classes of its last words, as bits of [`cue`].
    tail: u16,
}

/// What the speaker's last utterances say of the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// One of them was an attack.
    pub heated: bool,
    /// Classes of the words that this one may go on from.
    pub tail: u16,
}

/// Whose utterance it is, and which.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    pub source: &'a str,
    pub speaker: &'a str,
    pub utterance: &'a str,
}

impl State {
    /// What was before the utterance; its own earlier revisions do not count.
    pub fn before(&self, key: Key<'_>, at_us: u64) -> Before {
        let own = hash(key.utterance);
        let past = self.speakers.get(&place(key)).map_or(&[][..], Vec::as_slice);
        let within = |past: &Past, us: u64| past.id != own && at_us.saturating_sub(past.at_us) <= us;
        Before {
            heated: past.iter().any(|past| within(past, HEATED_US) && past.severity >= ATTACK_SEVERITY),
            tail: past.iter().rev().find(|past| past.id != own).filter(|past| within(past, GOES_ON_US)).map_or(0, |past| past.tail),
        }
    }

    /// Remembers an utterance, or its new revision, and how bad it was.
    pub fn remember(&mut self, key: Key<'_>, at_us: u64, words: &[&str], severity: f32) {
        let id = hash(key.utterance);
        let past = self.speakers.entry(place(key)).or_default();
        past.retain(|past| past.id != id);
        if !words.is_empty() {
            let tail = words.iter().rev().take(TAIL_WORDS).fold(0, |all, word| all | cues(&plain(word)));
            past.push(Past { id, at_us, severity, tail: tail & (cue::SECOND | cue::THIRD | cue::BE | cue::FIRST) });
        }
        if past.len() > UTTERANCES_MAX {
            past.remove(0);
        }
        if past.is_empty() {
            self.speakers.remove(&place(key));
        }
        if self.speakers.len() > SPEAKERS_MAX {
            let last = |past: &Vec<Past>| past.last().map_or(0, |past| past.at_us);
            let silent = self.speakers.iter().min_by_key(|(_, past)| last(past)).map(|(&key, _)| key);
            silent.map(|key| self.speakers.remove(&key));
        }
    }

    /// Forgets a source.
    pub fn forget(&mut self, source: &str) {
        let source = hash(source);
        self.speakers.retain(|&(of, _), _| of != source);
    }
}

fn place(key: Key<'_>) -> (u64, u64) {
    (hash(key.source), hash(key.speaker))
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key<'a>(speaker: &'a str, utterance: &'a str) -> Key<'a> {
        Key { source: "chat", speaker, utterance }
    }

    #[test]
    fn an_attack_is_remembered_for_its_time_and_its_speaker() {
        let mut state = State::default();
        state.remember(key("ann", "1"), 5, &["you", "are", "a"], 0.6);
        assert_eq!(state.before(key("ann", "2"), 6), Before { heated: true, tail: cue::SECOND | cue::BE });
        assert_eq!(state.before(key("ann", "1"), 6), Before::default(), "a revision is no later utterance");
        assert_eq!(state.before(key("ben", "2"), 6), Before::default());
        assert_eq!(state.before(key("ann", "2"), 5 + GOES_ON_US + 1), Before { heated: true, tail: 0 });
        assert_eq!(state.before(key("ann", "2"), 5 + HEATED_US + 1), Before::default());
        state.remember(key("ann", "1"), 7, &[], 0.0);
        assert_eq!(state, State::default(), "taken back");
        state.remember(key("ann", "3"), 8, &["pig"], 0.6);
        state.forget("chat");
        assert_eq!(state, State::default());
    }

    proptest! {
        #[test]
        fn the_memory_is_bounded(said in prop::collection::vec((0u16..2000, 0u8..9, 0u64..1000), 0..4000)) {
            let mut state = State::default();
            for (speaker, utterance, at_us) in said {
                state.remember(key(&speaker.to_string(), &utterance.to_string()), at_us, &["you"], 0.5);
            }
            prop_assert!(state.speakers.len() <= SPEAKERS_MAX);
            prop_assert!(state.speakers.values().all(|past| (1..=UTTERANCES_MAX).contains(&past.len())));
        }
    }
}
