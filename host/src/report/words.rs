//! Words in a report: what was read and heard, masked, and what was muted for it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::media::frame::Micros;
use crate::plugin::types::Place;
use crate::room::note::{Finding, Judging, Medium};
use crate::room::transcript::{Masked, State, Transcript};

/// Bytes of text that a page shows, at most; an hour of speech is some 60 kB.
const TEXT_MAX: usize = 1 << 20;
/// A mute is told with so many reasons, at most.
const REASONS_MAX: usize = 8;

/// Something said or shown, from when to when.
#[derive(Clone, Debug)]
pub struct Said {
    pub medium: Medium,
    pub from: Micros,
    /// None while it is still shown.
    pub to: Option<Micros>,
    pub words: Vec<Masked>,
    pub fault: Option<String>,
    /// Of what is said or shown.
    id: String,
}

/// Sound that was muted.
#[derive(Clone, Debug, Serialize)]
pub struct Mute {
    pub from: Micros,
    pub to: Micros,
    pub why: Vec<Reason>,
}

/// One reason for a mute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    pub category: String,
    /// None where nothing was found: it could not be judged.
    pub severity: Option<f32>,
    pub policy: String,
    pub text: String,
}

/// See the module. Judgements go in, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Words {
    said: Vec<Said>,
    reasons: Vec<(Micros, Micros, Reason)>,
    /// The last that is shown of a page.
    shown: BTreeMap<String, usize>,
    bytes: usize,
    /// More was said and shown than is told.
    pub cut: bool,
}

impl Words {
    /// One without a transcript tells nothing.
    pub fn judged(&mut self, judging: &Judging) {
        let Some(transcript) = &judging.transcript else { return };
        match judging.medium {
            Medium::Speech => self.heard(judging, transcript),
            Medium::Screen => self.read(judging, transcript),
        }
    }

    /// What a stretch of speech was taken for last.
    fn heard(&mut self, judging: &Judging, transcript: &Transcript) {
        let Some((from, to)) = span(&transcript.words) else { return };
        let policy = transcript.policy.clone().unwrap_or_else(|| "the host".to_owned());
        match &judging.fault {
            Some(fault) => {
                let reason = Reason { category: "not judged".to_owned(), severity: None, policy, text: fault.clone() };
                self.reasons.push((from, to, reason));
            }
            None => {
                for Finding { finding, verdict, .. } in judging.findings.iter().filter(|found| found.verdict.counts) {
                    let words = transcript.words.iter().skip(finding.first as usize).take(finding.count as usize);
                    let Some((from, to)) = span(words) else { continue };
                    let reason = Reason {
                        category: finding.category.as_str().to_owned(),
                        severity: Some(finding.severity),
                        policy: policy.clone(),
                        text: format!("{} ({:.2} counts from {:.2})", finding.reason, finding.confidence, verdict.threshold),
                    };
                    self.reasons.push((from, to, reason));
                }
            }
        }
        let said = Said {
            medium: Medium::Speech,
            from,
            to: Some(to),
            words: transcript.words.clone(),
            fault: judging.fault.clone(),
            id: transcript.id.clone(),
        };
        match self.said.iter_mut().rev().find(|before| before.medium == Medium::Speech && before.id == said.id) {
            Some(before) => *before = said,
            None => _ = self.tell(said),
        }
    }

    /// A page is told anew when something of it has gone or is another; when there is only more of it, in place of what was told before.
    fn read(&mut self, judging: &Judging, transcript: &Transcript) {
        let before = self.shown.get(&transcript.id).copied();
        let said = Said {
            medium: Medium::Screen,
            from: judging.at,
            to: judging.utterance.is_final.then_some(judging.at),
            words: transcript.words.clone(),
            fault: judging.fault.clone(),
            id: transcript.id.clone(),
        };
        match before.and_then(|at| self.said.get_mut(at)) {
            Some(before) if within(&before.words, &said.words) => *before = Said { from: before.from, ..said },
            Some(before) => {
                before.to = Some(judging.at);
                self.tell_shown(said);
            }
            None => self.tell_shown(said),
        }
        if judging.utterance.is_final {
            self.shown.remove(&transcript.id);
        }
    }

    fn tell_shown(&mut self, said: Said) {
        let (id, at) = (said.id.clone(), self.said.len());
        if self.tell(said) {
            self.shown.insert(id, at);
        }
    }

    fn tell(&mut self, said: Said) -> bool {
        let bytes: usize = said.words.iter().map(|word| word.text.len() + 1).sum();
        if self.bytes + bytes > TEXT_MAX {
            self.cut = true;
            return false;
        }
        self.bytes += bytes;
        self.said.push(said);
        true
    }

    /// In order of time.
    pub fn transcript(&self) -> Vec<&Said> {
        let mut said: Vec<&Said> = self.said.iter().filter(|said| !said.words.is_empty()).collect();
        said.sort_by_key(|said| said.from);
        said
    }

    /// The stretches that these mutes make together, each with what was found in it.
    pub fn mutes(&self, mutes: &[(Micros, Micros)]) -> Vec<Mute> {
        let mut mutes = mutes.to_vec();
        mutes.sort();
        let mut stretches: Vec<Mute> = Vec::new();
        for (from, to) in mutes.into_iter().filter(|(from, to)| from < to) {
            match stretches.last_mut() {
                Some(last) if from <= last.to => last.to = last.to.max(to),
                _ => stretches.push(Mute { from, to, why: Vec::new() }),
            }
        }
        for stretch in &mut stretches {
            let here = self.reasons.iter().filter(|(from, to, _)| *from < stretch.to && stretch.from < *to).map(|(.., reason)| reason);
            for reason in here {
                if stretch.why.len() < REASONS_MAX && !stretch.why.contains(reason) {
                    stretch.why.push(reason.clone());
                }
            }
        }
        stretches
    }
}

/// From the first word's beginning to the last one's end.
fn span<'a>(words: impl IntoIterator<Item = &'a Masked>) -> Option<(Micros, Micros)> {
    let times = words.into_iter().filter_map(|word| match word.place {
        Place::Time { start, end } => Some((start, end)),
        Place::Nowhere | Place::Area(_) => None,
    });
    times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// Whether all words are there again, in their order; what is masked is any word of its length.
fn within(few: &[Masked], many: &[Masked]) -> bool {
    let same = |a: &Masked, b: &Masked| {
        let masked = a.state != State::Clean || b.state != State::Clean;
        if masked { a.text.chars().count() == b.text.chars().count() } else { a.text == b.text }
    };
    let mut rest = many.iter();
    few.iter().all(|word| rest.any(|other| same(word, other)))
}

/// Medium, from, to, words, fault.
#[derive(Serialize)]
pub(super) struct SaidRow<'a>(Medium, Micros, Option<Micros>, Vec<WordRow<'a>>, Option<&'a str>);

/// Text, how it was judged, and when it was said.
#[derive(Serialize)]
struct WordRow<'a>(&'a str, u8, Option<Micros>);

impl<'a> SaidRow<'a> {
    pub(super) fn of(said: &'a Said) -> Self {
        let word = |word: &'a Masked| {
            let state = match word.state {
                State::Clean => 0,
                State::Covered => 1,
                State::Passed => 2,
                State::Unjudged => 3,
            };
            let at = match word.place {
                Place::Time { start, .. } => Some(start),
                Place::Nowhere | Place::Area(_) => None,
            };
            WordRow(&word.text, state, at)
        };
        Self(said.medium, said.from, said.to, said.words.iter().map(word).collect(), said.fault.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::geometry::Rect;
    use crate::plugin::types::{self, Category, Utterance};
    use crate::vision::detection::{Detection, Verdict};

    fn shown(text: &str) -> Vec<Masked> {
        let state = |word: &str| if word.starts_with('*') { State::Covered } else { State::Clean };
        let word = |word: &str| Masked { text: word.to_owned(), state: state(word), place: Place::Area(Rect::FULL) };
        text.split_whitespace().map(word).collect()
    }

    fn spoken(text: &str, from: u64) -> Vec<Masked> {
        let at = |(number, word): (u64, Masked)| Masked {
            place: Place::Time { start: Micros(from + number * 100), end: Micros(from + number * 100 + 90) },
            ..word
        };
        (0..).zip(shown(text)).map(at).collect()
    }

    fn judging(medium: Medium, at: u64, id: &str, words: Vec<Masked>) -> Judging {
        let is_covered = |(_, word): &(u32, &Masked)| word.state == State::Covered;
        let detection = Detection { detector: "speech".into(), label: "slur".into(), confidence: 0.9, area: None, trail: None };
        let found = |(first, _)| {
            let reason = "rules".to_owned();
            let finding = types::Finding { first, count: 1, category: Category::Slur, severity: 0.7, confidence: 0.9, reason };
            Finding { finding, detection: detection.clone(), verdict: Verdict { counts: true, threshold: 0.25 } }
        };
        let findings = (0..).zip(&words).filter(is_covered).map(found).collect();
        let transcript = Some(Transcript { id: id.to_owned(), policy: Some("p@1.0.0".to_owned()), words });
        Judging {
            medium,
            at: Micros(at),
            utterance: Arc::new(Utterance { is_final: false, ..Utterance::typed(id, "") }),
            findings,
            fault: None,
            transcript,
        }
    }

    fn texts(words: &Words) -> Vec<(u64, Option<u64>, String)> {
        let text = |said: &&Said| said.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        words.transcript().iter().map(|said| (said.from.0, said.to.map(|to| to.0), text(said))).collect()
    }

    #[test]
    fn a_page_that_grows_is_one_and_one_that_changes_is_two() {
        let mut words = Words::default();
        for (at, text) in [(0, "one two"), (10, "one *** three"), (20, "*** three four"), (30, "three four")] {
            words.judged(&judging(Medium::Screen, at, "page-1", shown(text)));
        }
        let mut last = judging(Medium::Screen, 40, "page-1", shown("three four"));
        last.utterance = Arc::new(Utterance::typed("page-1", ""));
        words.judged(&last);
        words.judged(&judging(Medium::Screen, 35, "page-2", shown("five")));
        let wanted = [
            (0, Some(20), "one *** three".to_owned()),
            (20, Some(30), "*** three four".to_owned()),
            (30, Some(40), "three four".to_owned()),
            (35, None, "five".to_owned()),
        ];
        assert_eq!(texts(&words), wanted);
    }

    #[test]
    fn a_revision_of_speech_takes_the_place_of_the_one_before() {
        let mut words = Words::default();
        words.judged(&judging(Medium::Speech, 0, "speech-1", spoken("you ****", 1000)));
        words.judged(&judging(Medium::Speech, 0, "speech-1", spoken("you **** head", 1000)));
        words.judged(&judging(Medium::Speech, 0, "speech-2", spoken("hello", 500)));
        assert_eq!(texts(&words), [(500, Some(590), "hello".to_owned()), (1000, Some(1290), "you **** head".to_owned())]);
        let mutes = words.mutes(&[
            (Micros(1150), Micros(1200)),
            (Micros(1080), Micros(1160)),
            (Micros(5), Micros(5)),
            (Micros(3000), Micros(3100)),
        ]);
        let reason = |reason: &Reason| (reason.category.clone(), reason.severity, reason.policy.clone());
        let told: Vec<_> = mutes.iter().map(|mute| (mute.from.0, mute.to.0, mute.why.iter().map(reason).collect::<Vec<_>>())).collect();
        assert_eq!(told, [(1080, 1200, vec![("slur".to_owned(), Some(0.7), "p@1.0.0".to_owned())]), (3000, 3100, vec![])]);
    }

    #[test]
    fn the_text_of_a_page_is_bounded() {
        let mut words = Words::default();
        let long = "word ".repeat(10_000);
        (0..40).for_each(|number| words.judged(&judging(Medium::Screen, number, &format!("page-{number}"), shown(&long))));
        assert!(words.cut && words.bytes <= TEXT_MAX && words.transcript().len() == TEXT_MAX / (10_000 * 5));
    }
}
