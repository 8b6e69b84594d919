//! One utterance in, findings out: the search finds words, the rules weigh each in its context, the scorer raises or lowers what they
//! say, and what still counts is told with the layer that decided. Nothing is kept between calls;
//! what is remembered of the speaker comes in with the words.

use crate::config::{Action, Config, SEVERE};
use crate::context::{Around, Context};
use crate::fold::fold;
use crate::glyphs::Row;
use crate::lexicon::{Category, Entry, Lexicon, Sense, foreign, plain};
use crate::memory::Before;
use crate::rules::{Weighed, weigh};
use crate::scorer::features::Seen;
use crate::scorer::{Opinion, Scorer};
use crate::search::{Match, search};
use crate::verdict::{self, Draft, SURE, WORDS_MIN, Why};

/// Most findings of one utterance, the severest.
pub const FINDINGS_MAX: usize = 256;

/// What is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Said<'a> {
    pub words: &'a [&'a str],
    /// The message names the people it is for, or answers one.
    pub to_someone: bool,
    /// Heard, and written down by a recogniser.
    pub spoken: bool,
    /// BCP 47; none is taken for English.
    pub language: Option<&'a str>,
    /// What the speaker said before.
    pub before: Before,
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
    /// For people: the layer and the piece that decided.
    pub reason: String,
}

/// One thing that the search found, as the rules weigh it.
#[derive(Debug, Clone)]
pub struct Hit<'a> {
    pub found: Match,
    pub entry: &'a Entry,
    /// The spelling of the lexicon, or the language whose word it is.
    pub term: &'a str,
    /// Of another language than English.
    pub foreign: bool,
    pub context: Context,
    pub weighed: Weighed,
}

impl Hit<'_> {
    /// The context shows an innocent sense: nobody need look at the word again.
    pub fn is_cleared(&self) -> bool {
        self.weighed.severity == 0.0 && self.entry.sense != Sense::Soft
    }
}

/// Which layers judge: for measuring each alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    Both,
    Rules,
    Scorer,
}

/// Both layers with one configuration.
#[derive(Debug, Clone)]
pub struct Judge {
    /// The room's denied words, if there are any.
    own: Option<Lexicon>,
    /// Denied words of other scripts, in small letters, compared whole.
    denied_verbatim: Vec<String>,
    allowed: Vec<String>,
    config: Config,
    layers: Layers,
    scorer: Scorer,
}

impl Judge {
    pub fn new(config: Config) -> Self {
        Self::with(config, Scorer::embedded().clone(), Layers::Both)
    }

    /// With the rules alone.
    pub fn rules_alone() -> Self {
        Self::with(Config::default(), Scorer::embedded().clone(), Layers::Rules)
    }

    /// With another model, or with one layer alone.
    pub fn with(config: Config, scorer: Scorer, layers: Layers) -> Self {
        let (latin, other): (Vec<&String>, Vec<&String>) = config.deny.iter().partition(|word| reads_as_latin(word));
        let own = (!latin.is_empty()).then(|| Lexicon::of_denied(latin.into_iter().map(|word| plain(word))));
        let denied_verbatim = other.into_iter().map(|word| word.to_lowercase()).collect();
        let allowed = config.allow.iter().map(|word| plain(word)).filter(|word| !word.is_empty()).collect();
        Self { own, denied_verbatim, allowed, config, layers, scorer }
    }

    /// Findings in the order of the words, at most [`FINDINGS_MAX`], those that overlap reduced to the severest.
    pub fn judge(&self, said: Said<'_>) -> Vec<Finding> {
        self.see(said, |seen| {
            let mut drafts = self.drafts(&seen, is_english(said.language));
            drafts.extend(self.verbatim(said.words));
            drafts.retain(|draft| draft.severity >= self.config.min_severity && draft.confidence >= self.config.min_confidence);
            apart(drafts, said.words.len()).into_iter().map(Draft::finding).collect()
        })
    }

    /// What the scorer makes of it.
    pub fn opinion(&self, said: Said<'_>) -> Opinion {
        self.see(said, |seen| self.scorer.opinion(&seen))
    }

    /// Reads an utterance by the rules, and hands on what the scorer may see of it.
    pub fn see<T>(&self, said: Said<'_>, look: impl FnOnce(Seen<'_>) -> T) -> T {
        let row = Row::new(said.words);
        let around = Around::new(&row, said.to_someone, said.before);
        let english = is_english(said.language);
        let mut hits: Vec<Hit<'_>> = Vec::new();
        for lexicon in self.own.iter().chain([Lexicon::embedded()]) {
            let found = search(lexicon, &row, around.cues(), said.spoken).into_iter().map(|found| hit(lexicon, found, &around));
            hits.extend(found.filter(|hit| !self.allows(&row, hit) && (english || hit.entry.strong || hit.entry.sense == Sense::Denied)));
        }
        // No word of another language has one ASCII letter.
        for (at, word) in said.words.iter().enumerate().take(row.plain.len()).filter(|(_, word)| word.len() > 1) {
            let found = Match { first: at as u32, last: at as u32, ..Match::default() };
            let hit = foreign(word, said.language).map(|(entry, name)| Hit { foreign: true, ..weighed(entry, name, found, &around) });
            hits.extend(hit.filter(|hit| !self.allows(&row, hit)));
        }
        hits.sort_by_key(|hit| hit.found.first);
        look(Seen { row: &row, cues: around.cues(), hits: &hits })
    }

    fn drafts<'a>(&self, seen: &Seen<'a>, english: bool) -> Vec<Draft<'a>> {
        let words = seen.row.plain.len();
        // What the scorer has learnt is English.
        let opinion = (self.layers != Layers::Rules && english).then(|| self.scorer.opinion(seen));
        let mut drafts = Vec::new();
        if self.layers != Layers::Scorer {
            drafts.extend(seen.hits.iter().filter_map(|hit| self.acted(hit, verdict::of_hit(hit, opinion, words)?)));
        }
        let least = match self.layers {
            Layers::Scorer => Some(0.0),
            Layers::Both => (words >= WORDS_MIN && seen.hits.iter().all(|hit| hit.entry.sense == Sense::Soft)).then_some(SURE),
            Layers::Rules => None,
        };
        if let (Some(opinion), Some(least)) = (opinion, least) {
            let draft = verdict::of_scorer(&self.scorer, seen, opinion, least);
            drafts.extend(draft.filter(|draft| match self.config.actions.of(draft.category) {
                Action::Ignore => false,
                Action::Severe => draft.severity >= SEVERE,
                Action::Weigh | Action::Always => true,
            }));
        }
        drafts
    }

    /// The draft as the room's action for its category leaves it.
    fn acted<'a>(&self, hit: &'a Hit<'a>, draft: Draft<'a>) -> Option<Draft<'a>> {
        if hit.entry.sense == Sense::Denied {
            return Some(draft);
        }
        let whole = hit.entry.severity.max(self.config.min_severity);
        match self.config.actions.of(draft.category) {
            Action::Ignore => None,
            Action::Severe => (draft.severity >= SEVERE).then_some(draft),
            Action::Always if hit.entry.sense != Sense::Soft && draft.severity < whole => {
                Some(Draft { severity: whole, why: Why::Always { hit }, ..draft })
            }
            Action::Always | Action::Weigh => Some(draft),
        }
    }

    fn allows(&self, row: &Row, hit: &Hit<'_>) -> bool {
        if self.allowed.is_empty() {
            return false;
        }
        let words = &row.plain[hit.found.first as usize..=hit.found.last as usize];
        self.allowed.iter().any(|allowed| {
            allowed == hit.term || words.len() == 1 && allowed == &words[0] || words.len() > 1 && *allowed == words.join(" ")
        })
    }

    fn verbatim<'a>(&'a self, words: &'a [&'a str]) -> impl Iterator<Item = Draft<'a>> + 'a {
        let words = if self.denied_verbatim.is_empty() { &[] } else { words };
        words.iter().enumerate().filter_map(|(at, word)| {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            let denied = self.denied_verbatim.iter().find(|denied| **denied == word)?;
            Some(Draft::denied(at as u32, at as u32, denied))
        })
    }
}

fn is_english(language: Option<&str>) -> bool {
    language.is_none_or(|tag| matches!(tag.split('-').next(), Some("en" | "und" | "")))
}

fn hit<'a>(lexicon: &'a Lexicon, found: Match, around: &Around<'_>) -> Hit<'a> {
    weighed(lexicon.entry_of(found.form), &lexicon.forms[found.form as usize].text, found, around)
}

fn weighed<'a>(entry: &'a Entry, term: &'a str, found: Match, around: &Around<'_>) -> Hit<'a> {
    let context = around.context(found.first, found.last);
    Hit { weighed: weigh(entry, &found, around, &context), found, entry, term, foreign: false, context }
}

/// Whether the search, which reads a-z, can find the word.
fn reads_as_latin(word: &str) -> bool {
    word.chars().all(|c| !c.is_alphanumeric() || fold(c).letter != 0) && !plain(word).is_empty()
}

/// The severest of those that overlap, in the order of the words.
fn apart(mut drafts: Vec<Draft<'_>>, words: usize) -> Vec<Draft<'_>> {
    drafts.sort_by(|a, b| b.severity.total_cmp(&a.severity).then(a.first.cmp(&b.first)).then(b.last.cmp(&a.last)));
    let mut taken = vec![false; words];
    drafts.retain(|draft| {
        let words = &mut taken[draft.first as usize..=draft.last as usize];
        let free = !words.contains(&true);
        if free {
            words.fill(true);
        }
        free
    });
    drafts.truncate(FINDINGS_MAX);
    drafts.sort_by_key(|draft| draft.first);
    drafts
}

#[cfg(test)]
mod tests;
