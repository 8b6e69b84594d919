//! Weighs what the search found by what stands around it. One utterance in, findings out; nothing is kept between calls.

use crate::config::Config;
use crate::context::Around;
use crate::fold::fold;
use crate::glyphs::Row;
use crate::lexicon::{Category, Entry, Lexicon, Sense, plain};
use crate::search::{Match, search};

/// Most findings of one utterance, the severest.
pub const FINDINGS_MAX: usize = 256;

/// What is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Said<'a> {
    pub words: &'a [&'a str],
    /// The message names the people it is for, or answers one.
    pub to_someone: bool,
    /// BCP 47; none is taken for English.
    pub language: Option<&'a str>,
}

/// One thing found. Words are `first..=last` of the utterance.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub first: u32,
    pub last: u32,
    pub category: Category,
    /// 0..=1.
    pub severity: f32,
    /// 0..=1.
    pub confidence: f32,
    /// For people: the word's sense, and the rules that moved it.
    pub reason: String,
}

/// The rules with one configuration.
#[derive(Debug, Clone)]
pub struct Judge {
    /// With the denied words; none where there are none, and the embedded lexicon serves.
    own: Option<Lexicon>,
    /// Denied words of other scripts, in small letters, compared whole.
    denied_verbatim: Vec<String>,
    allowed: Vec<String>,
    config: Config,
}

impl Judge {
    pub fn new(config: Config) -> Self {
        let (latin, other): (Vec<&String>, Vec<&String>) = config.deny.iter().partition(|word| reads_as_latin(word));
        let own = (!latin.is_empty()).then(|| Lexicon::embedded().with_denied(latin.into_iter().map(String::as_str)));
        let denied_verbatim = other.into_iter().map(|word| word.to_lowercase()).collect();
        let allowed = config.allow.iter().map(|word| plain(word)).filter(|word| !word.is_empty()).collect();
        Self { own, denied_verbatim, allowed, config }
    }

    /// Findings in the order of the words, at most [`FINDINGS_MAX`], those that overlap reduced to the severest.
    pub fn judge(&self, said: Said<'_>) -> Vec<Finding> {
        let lexicon = self.own.as_ref().unwrap_or_else(|| Lexicon::embedded());
        let row = Row::new(said.words);
        let around = Around::new(lexicon, &row, said.to_someone);
        let english = said.language.is_none_or(|tag| matches!(tag.split('-').next(), Some("en" | "und" | "")));
        let mut findings: Vec<Finding> = search(lexicon, &row)
            .into_iter()
            .filter(|found| !self.allows(lexicon, &row, found))
            .filter_map(|found| {
                let form = &lexicon.forms[found.form as usize];
                let entry = &lexicon.entries[form.entry as usize];
                if !english && !entry.strong && entry.sense != Sense::Denied {
                    return None;
                }
                weigh(entry, &form.text, &found, &around)
            })
            .chain(self.verbatim(said.words))
            .filter(|finding| finding.severity >= self.config.min_severity && finding.confidence >= self.config.min_confidence)
            .collect();
        findings.sort_by(|a, b| b.severity.total_cmp(&a.severity).then(a.first.cmp(&b.first)).then(b.last.cmp(&a.last)));
        let mut taken = vec![false; said.words.len()];
        findings.retain(|finding| {
            let words = &mut taken[finding.first as usize..=finding.last as usize];
            let free = !words.contains(&true);
            if free {
                words.fill(true);
            }
            free
        });
        findings.truncate(FINDINGS_MAX);
        findings.sort_by_key(|finding| finding.first);
        findings
    }

    fn allows(&self, lexicon: &Lexicon, row: &Row, found: &Match) -> bool {
        if self.allowed.is_empty() {
            return false;
        }
        let form = &lexicon.forms[found.form as usize].text;
        let words = &row.plain[found.first as usize..=found.last as usize];
        self.allowed
            .iter()
            .any(|allowed| allowed == form || words.len() == 1 && allowed == &words[0] || words.len() > 1 && *allowed == words.join(" "))
    }

    fn verbatim<'a>(&'a self, words: &'a [&'a str]) -> impl Iterator<Item = Finding> + 'a {
        let words = if self.denied_verbatim.is_empty() { &[] } else { words };
        words.iter().enumerate().filter_map(|(at, word)| {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            self.denied_verbatim.contains(&word).then(|| Finding {
                first: at as u32,
                last: at as u32,
                category: Category::Profanity,
                severity: 0.9,
                confidence: 1.0,
                reason: format!("“{word}” is on the room's deny list"),
            })
        })
    }
}

/// Whether the search, which reads a-z, can find the word.
fn reads_as_latin(word: &str) -> bool {
    word.chars().all(|c| !c.is_alphanumeric() || fold(c).letter != 0) && !plain(word).is_empty()
}

/// The rules. Each names itself in the reason.
fn weigh(entry: &Entry, term: &str, found: &Match, around: &Around<'_>) -> Option<Finding> {
    let context = around.context(found.first, found.last);
    if entry.sense == Sense::Denied {
        return Some(finding(found, entry.category, 0.9, 1.0, format!("“{term}” is on the room's deny list")));
    }
    if around.cleared(found.first, found.last, &entry.cleared_by)
        || entry.medical && context.medical
        || entry.category == Category::Sexual && !entry.strong && context.medical && !context.aimed
        || entry.company && !context.told
        || entry.name && context.name
        || context.place && entry.sense != Sense::Slur && found.first == found.last
    {
        return None;
    }
    let mut severity = entry.severity;
    let mut category = entry.category;
    let mut rules: Vec<&str> = Vec::new();
    let hostile = context.aimed || context.negative;
    match entry.sense {
        Sense::Insult | Sense::Slur if context.aimed => {
            severity += 0.15;
            rules.push("said to or of someone");
            if category == Category::Profanity {
                category = Category::Harassment;
            }
        }
        Sense::Vulgar if context.aimed && !context.positive => {
            severity += 0.1;
            rules.push("said to someone");
        }
        Sense::Claimed if !hostile => {
            severity *= 0.8;
            rules.push("has neutral uses");
        }
        Sense::Mild if context.aimed && context.negative => {
            severity += 0.1;
            rules.push("in an attack");
        }
        Sense::Soft => {
            if !context.predicated {
                return None;
            }
            rules.push("said of a person");
        }
        Sense::Epithet => {
            if context.confessed {
                return None;
            }
            if context.aimed {
                severity += 0.1;
                rules.push("said to or of someone");
            }
        }
        _ => {}
    }
    if entry.intensifier && context.praise && !context.negative {
        severity *= 0.5;
        rules.push("strengthens praise");
    }
    if context.reported && !matches!(entry.category, Category::SelfHarm) {
        severity *= 0.5;
        rules.push("quoted or reported");
    }
    let mut confidence: f32 = if entry.sense == Sense::Soft { 0.6 } else { 0.95 };
    if found.masked {
        confidence *= 0.8;
        rules.push("letters masked");
    } else if found.disguised {
        confidence *= 0.9;
        rules.push("disguised spelling");
    }
    if found.inside {
        confidence *= 0.9;
        rules.push("inside a word");
    }
    let kind = match entry.sense {
        Sense::Vulgar => "vulgar",
        Sense::Insult => "insult",
        Sense::Slur | Sense::Claimed => "slur",
        Sense::Epithet => "name-calling",
        Sense::Soft => "ordinary word as an insult",
        Sense::Mild => "mild",
        _ => "phrase",
    };
    let mut reason = format!("“{term}”: {kind}");
    for rule in rules {
        reason.push_str(", ");
        reason.push_str(rule);
    }
    Some(finding(found, category, severity.clamp(0.0, 1.0), confidence, reason))
}

fn finding(found: &Match, category: Category, severity: f32, confidence: f32, reason: String) -> Finding {
    Finding { first: found.first, last: found.last, category, severity, confidence, reason }
}

#[cfg(test)]
mod tests;
