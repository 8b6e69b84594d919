//! Finds profanity, slurs, threats and the like in what is said, shown or typed, and weighs it by what stands around it.
//!
//! Flow of a call: words → [`glyphs`] → [`search`] finds spellings of the [`lexicon`] → [`rules`] weigh each in its [`context`] → [`scorer`],
//! which was trained on labelled texts, raises or lowers what they say → [`verdict`]. All of it is pure and natively tested; this file is
//! the export. What holds: time is linear in the text, no text is logged or kept ([`memory`]), the same call gives the same answer anywhere.

#[cfg(test)]
mod compile;
pub mod config;
/// Which characters look like a letter; made by `src/confusables.rs` when the crate is built.
mod confusables {
    include!(concat!(env!("OUT_DIR"), "/confusables.rs"));

    pub fn lookalike(code: u32) -> Option<u8> {
        TABLE.binary_search_by_key(&code, |row| row >> 8).ok().map(|at| TABLE[at] as u8)
    }
}
pub mod context;
pub mod fold;
pub mod glyphs;
pub mod judge;
pub mod lexicon;
pub mod memory;
pub mod rules;
pub mod scorer;
pub mod search;
pub mod trie;
pub mod verdict;

use config::Config;
use judge::{Judge, Said};
use memory::{Key, State};
use scrim_sdk::{Category, Finding, Place, SourceKind, Text, Utterance, WordRange};

/// The policy: an admin's settings, prepared.
pub struct ProfanityContext(Judge);

impl Text for ProfanityContext {
    type Config = Config;
    type State = State;
    const STATE_VERSION: u32 = 2;

    /// 1.0 remembered nothing.
    fn upgrade(version: u32, _: &[u8]) -> Result<State, String> {
        if version == 1 { Ok(State::default()) } else { Err(scrim_sdk::state::unknown(version, Self::STATE_VERSION)) }
    }

    fn new(config: Config) -> Result<Self, String> {
        config.validate()?;
        Ok(Self(Judge::new(config)))
    }

    fn judge(&mut self, state: &mut State, at_us: u64, utterance: &Utterance) -> Vec<Finding> {
        let words: Vec<&str> = utterance.words.iter().map(|word| word.text.as_str()).collect();
        let key = Key { source: &utterance.source.id, speaker: &utterance.speaker, utterance: &utterance.id };
        let said = Said {
            words: &words,
            to_someone: !utterance.addressees.is_empty() || utterance.reply_to.is_some(),
            spoken: utterance.source.kind == SourceKind::Microphone || utterance.words.iter().any(|w| matches!(w.place, Place::Time(_))),
            language: utterance.language.as_deref(),
            before: state.before(key, at_us),
        };
        let found = self.0.judge(said);
        state.remember(key, at_us, &words, found.iter().map(|finding| finding.severity).fold(0.0, f32::max));
        found.into_iter().map(finding).collect()
    }

    fn source_ended(&mut self, state: &mut State, _at_us: u64, source_id: &str) {
        state.forget(source_id);
    }
}

scrim_sdk::export!(text: ProfanityContext);

fn finding(found: judge::Finding) -> Finding {
    let category = match found.category {
        lexicon::Category::Profanity => Category::Profanity,
        lexicon::Category::Slur => Category::Slur,
        lexicon::Category::Sexual => Category::Sexual,
        lexicon::Category::Threat => Category::Threat,
        lexicon::Category::Harassment => Category::Harassment,
        lexicon::Category::SelfHarm => Category::SelfHarm,
    };
    let words = WordRange { first: found.first, count: found.last - found.first + 1 };
    Finding { words, category, severity: found.severity, confidence: found.confidence, reason: found.reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scrim_sdk::testing::Harness;

    #[test]
    fn the_policy_answers_through_the_sdk() {
        let mut policy = Harness::<ProfanityContext>::new(r#"{"deny": ["pineapple"]}"#);
        let found = policy.judge(0, &Utterance::typed("ann", "well f u c k that pineapple"));
        assert_eq!(found.iter().map(|f| (f.words.first, f.words.count)).collect::<Vec<_>>(), [(1, 4), (6, 1)]);
        assert!(policy.configure(r#"{"min_severity": 7}"#).is_err());
        assert_eq!(policy.judge(0, &Utterance::typed("ann", "pineapple")).len(), 1, "refused settings change nothing");
    }

    #[test]
    fn a_reply_is_said_to_someone() {
        let mut policy = Harness::<ProfanityContext>::new("{}");
        let mut said = Utterance::typed("ann", "what a whore");
        let alone = policy.judge(0, &said)[0].severity;
        said.reply_to = Some("ben".into());
        assert!(policy.judge(0, &said)[0].severity > alone);
    }

    #[test]
    fn the_last_utterance_is_heard_with_the_next() {
        let said = |id: &str, text: &str| Utterance { id: id.into(), ..Utterance::typed("ann", text) };
        let mut policy = Harness::<ProfanityContext>::new("{}");
        assert_eq!(policy.judge(0, &said("1", "trash")), [], "an ordinary word");
        assert_eq!(policy.judge(1, &said("2", "you are such")), []);
        let found = policy.judge(2_000_000, &said("3", "trash"));
        assert_eq!(found.len(), 1, "{found:?}");
        let state = policy.snapshot();
        policy.source_ended(3_000_000, "chat");
        assert_eq!(policy.judge(3_000_000, &said("4", "trash")), []);
        policy.restore("2.0.0", &state).unwrap();
        assert_eq!(policy.judge(3_000_000, &said("3", "trash")).len(), 1, "its own revision is no attack before it");
    }

    #[test]
    fn the_state_of_1_0_is_taken_and_others_are_refused() {
        let mut policy = Harness::<ProfanityContext>::new("{}");
        assert!(policy.restore("1.0.0", &scrim_sdk::state::encode(1, &scrim_sdk::NoState {})).is_ok());
        assert!(policy.restore("3.0.0", &scrim_sdk::state::encode(3, &scrim_sdk::NoState {})).is_err());
    }

    #[test]
    fn nothing_is_logged() {
        let mut policy = Harness::<ProfanityContext>::new("{}");
        policy.judge(0, &Utterance::typed("ann", "you fucking idiot, kill yourself"));
        assert_eq!(policy.logs(), []);
    }

    proptest::proptest! {
        /// Whatever is said, by whom and in which language: the calls end, and the state stays one that can be saved and read.
        #[test]
        fn no_utterance_is_too_strange(
            said in proptest::collection::vec((".{0,40}", "[a-c]", proptest::option::of("[a-z]{2}(-[A-Z]{2})?"), 0u64..200_000_000), 0..12)
        ) {
            let mut policy = Harness::<ProfanityContext>::new("{}");
            for (at, (text, speaker, language, at_us)) in said.into_iter().enumerate() {
                let utterance = Utterance { id: (at % 5).to_string(), language, ..Utterance::typed(speaker, &text) };
                for found in policy.judge(at_us, &utterance) {
                    let words = utterance.words.len() as u32;
                    proptest::prop_assert!(found.words.count > 0 && found.words.first + found.words.count <= words);
                    proptest::prop_assert!((0.0..=1.0).contains(&found.severity) && (0.0..=1.0).contains(&found.confidence));
                }
                let state = policy.snapshot();
                proptest::prop_assert!(policy.restore("2.0.0", &state).is_ok() && policy.snapshot() == state);
            }
        }
    }
}
