//! Words as a page may show them: those that something was found in are asterisks. Pure.
//!
//! An utterance and what was found in it go in, masked words and masked reasons come out. Always: of a word that a finding names, or of any
//! word that was not judged, nothing but its length comes out; what a policy quotes in a reason is its own spelling of such a word, and goes too.

use super::note::Finding;
use crate::plugin::types::{Place, Utterance, Word};

/// A word shorter than this is not looked for in reasons: letters set apart are words of one letter each.
const SOUGHT_MIN: usize = 3;

/// What is known of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Clean,
    /// Something was found, and is covered or muted.
    Covered,
    /// Something was found that does not count.
    Passed,
    Unjudged,
}

/// A word, or as many asterisks as it has letters.
#[derive(Clone, Debug, PartialEq)]
pub struct Masked {
    pub text: String,
    pub state: State,
    pub place: Place,
}

/// What was judged, masked.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The same for all revisions of what is said or shown.
    pub id: String,
    /// Which text policy judged.
    pub policy: Option<String>,
    pub words: Vec<Masked>,
}

impl Transcript {
    /// `findings` is none where it could not be judged.
    pub fn of(utterance: &Utterance, policy: Option<String>, findings: Option<&[Finding]>) -> Self {
        let judged = if findings.is_some() { State::Clean } else { State::Unjudged };
        let mut words: Vec<Masked> =
            utterance.words.iter().map(|word| Masked { text: word.text.clone(), state: judged, place: word.place }).collect();
        for Finding { finding, verdict, .. } in findings.unwrap_or_default() {
            let state = if verdict.counts { State::Covered } else { State::Passed };
            for word in words.iter_mut().skip(finding.first as usize).take(finding.count as usize) {
                // Of two findings the one that counts is told.
                if word.state != State::Covered {
                    word.state = state;
                }
            }
        }
        for word in words.iter_mut().filter(|word| word.state != State::Clean) {
            word.text = stars(&word.text);
        }
        Self { id: utterance.id.clone(), policy, words }
    }
}

/// Takes out of the findings' reasons what was found.
pub fn mask_reasons(utterance: &Utterance, findings: &mut [Finding]) {
    let span = |found: &Finding| found.finding.first as usize..(found.finding.first as usize).saturating_add(found.finding.count as usize);
    let spans: Vec<_> = findings.iter().map(span).collect();
    let bare = |word: &Word| word.text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let found = (0..).zip(&utterance.words).filter(|(at, _)| spans.iter().any(|span| span.contains(at))).map(|(_, word)| bare(word));
    let found: Vec<String> = found.filter(|word| word.chars().count() >= SOUGHT_MIN).collect();
    for finding in findings {
        finding.finding.reason = without(&unquoted(&finding.finding.reason), &found);
    }
}

fn stars(text: &str) -> String {
    "*".repeat(text.chars().count())
}

/// Asterisks for what stands between “ and ”, or after a “ that is not closed.
fn unquoted(reason: &str) -> String {
    let mut quoted = false;
    let masked = reason.chars().map(|c| {
        let within = quoted;
        quoted = c == '“' || quoted && c != '”';
        if within && quoted { '*' } else { c }
    });
    masked.collect()
}

/// Asterisks for the words that are among these, in lower case.
fn without(reason: &str, words: &[String]) -> String {
    let mut out = String::with_capacity(reason.len());
    let mut rest = reason;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if words.contains(&word.to_lowercase()) {
            out.push_str(&stars(word))
        } else {
            out.push_str(word)
        }
        let between = after.find(char::is_alphanumeric).unwrap_or(after.len());
        out.push_str(&after[..between]);
        rest = &after[between..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::types::{self, Category};
    use crate::vision::detection::{Detection, Verdict};

    fn found(first: u32, count: u32, counts: bool, reason: &str) -> Finding {
        let category = Category::Profanity;
        let detection = Detection { detector: "speech".into(), label: "profanity".into(), confidence: 1.0, area: None, trail: None };
        let finding = types::Finding { first, count, category, severity: 0.5, confidence: 1.0, reason: reason.into() };
        Finding { finding, detection, verdict: Verdict { counts, threshold: 0.5 } }
    }

    #[test]
    fn what_was_found_is_stars_and_the_rest_is_text() {
        let utterance = Utterance::typed("a", "oh Füssen, bad worse words </script>");
        let findings = [found(1, 1, false, ""), found(2, 2, true, ""), found(3, 1, false, ""), found(9, 9, true, "")];
        let transcript = Transcript::of(&utterance, None, Some(&findings));
        let words: Vec<_> = transcript.words.iter().map(|word| (word.text.as_str(), word.state)).collect();
        let wanted = [
            ("oh", State::Clean),
            ("*******", State::Passed),
            ("***", State::Covered),
            ("*****", State::Covered),
            ("words", State::Clean),
            ("</script>", State::Clean),
        ];
        assert_eq!(words, wanted);
    }

    #[test]
    fn nothing_of_what_was_not_judged_is_told() {
        let transcript = Transcript::of(&Utterance::typed("a", "who knows"), None, None);
        assert!(transcript.words.iter().all(|word| word.state == State::Unjudged && word.text.chars().all(|c| c == '*')));
    }

    #[test]
    fn a_reason_does_not_tell_it_either() {
        let utterance = Utterance::typed("a", "you Pine-Apple, Bad! word");
        let told = |reason: &str| {
            let mut findings = [found(2, 1, true, reason), found(1, 1, false, "")];
            mask_reasons(&utterance, &mut findings);
            findings[0].finding.reason.clone()
        };
        assert_eq!(told("rules: “b4d”, name-calling; “open"), "rules: “***”, name-calling; “****");
        assert_eq!(told("BAD is bad, badly; ““bad””"), "*** is ***, badly; “****””");
        assert_eq!(told(""), "");
    }
}
