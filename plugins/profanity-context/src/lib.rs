//! Finds profanity, slurs, threats and the like in what is said, shown or typed, and weighs it by what stands around it.
//! The rules are pure and natively tested; this file is the export.

#[cfg(test)]
mod compile;
pub mod config;
pub mod context;
pub mod fold;
pub mod glyphs;
pub mod judge;
pub mod lexicon;
pub mod rules;
pub mod scorer;
pub mod search;
pub mod trie;
pub mod verdict;

use config::Config;
use judge::{Judge, Said};
use scrim_sdk::{Category, Finding, NoState, Text, Utterance, WordRange};

/// The policy: an admin's settings, prepared.
pub struct ProfanityContext(Judge);

impl Text for ProfanityContext {
    type Config = Config;
    type State = NoState;

    fn new(config: Config) -> Result<Self, String> {
        config.validate()?;
        Ok(Self(Judge::new(config)))
    }

    fn judge(&mut self, _: &mut NoState, _at_us: u64, utterance: &Utterance) -> Vec<Finding> {
        let words: Vec<&str> = utterance.words.iter().map(|word| word.text.as_str()).collect();
        let to_someone = !utterance.addressees.is_empty() || utterance.reply_to.is_some();
        let said = Said { words: &words, to_someone, language: utterance.language.as_deref() };
        self.0.judge(said).into_iter().map(finding).collect()
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
}
