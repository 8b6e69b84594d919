//! Both layers' word on an utterance: what the rules found with what the scorer makes of it, and what the scorer finds alone. Pure.

use std::fmt;

use crate::glyphs::Row;
use crate::judge::{Finding, Hit};
use crate::lexicon::{Category, Sense};
use crate::rules::kind;
use crate::scorer::features::{Group, Seen};
use crate::scorer::{Opinion, Scorer};

/// How much severity a unit of the scorer's margin is worth, up and down: more where it finds no harm, for the rules err
/// on the side of finding some.
const RAISE_PER_MARGIN: f32 = 0.2;
const LOWER_PER_MARGIN: f32 = 0.5;
/// The margin at which it does neither: somewhat above 0, for the same reason.
const UNDECIDED: f32 = 0.4;
/// The most that the scorer may add, and to what the context speaks for.
const RAISE_MAX: f32 = 0.25;
const RAISE_EXCUSED_MAX: f32 = 0.06;
/// The most that it may take away, and from what is certain whatever the context: phrases, and slurs aimed at someone.
const LOWER_MAX: f32 = 0.5;
const LOWER_CERTAIN_MAX: f32 = 0.15;
/// Of an ordinary word that the rules do not see said of a person, where the scorer is undecided.
const SOFT_SEVERITY: f32 = 0.28;
/// The margin from which the scorer speaks where the rules say nothing.
pub const SURE: f32 = 1.5;
/// Words of an utterance below which the scorer has no context to go by: it says nothing.
pub const WORDS_MIN: usize = 3;
/// Severity of what the scorer finds alone: at [`SURE`], and at most.
const ALONE_SEVERITY: f32 = 0.35;
const ALONE_SEVERITY_MAX: f32 = 0.7;
const ALONE_CONFIDENCE: f32 = 0.5;

/// A finding whose reason is not written yet: most are dropped for severer ones beside them.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    pub first: u32,
    pub last: u32,
    pub category: Category,
    /// 0..=1.
    pub severity: f32,
    /// 0..=1.
    pub confidence: f32,
    pub why: Why<'a>,
}

/// What decided.
#[derive(Debug, Clone, Copy)]
pub enum Why<'a> {
    /// A word of the room's own list.
    Denied(&'a str),
    /// A thing found, and what the scorer, if it was asked, added to the rules' severity.
    Rules {
        hit: &'a Hit<'a>,
        opinion: Option<Opinion>,
        shift: f32,
    },
    /// As before, in a category of which the room reports all.
    Always {
        hit: &'a Hit<'a>,
    },
    Scorer(Opinion),
}

impl<'a> Draft<'a> {
    /// A word of the room's own list, words `first..=last`.
    pub fn denied(first: u32, last: u32, word: &'a str) -> Self {
        Self { first, last, category: Category::Profanity, severity: 0.9, confidence: 1.0, why: Why::Denied(word) }
    }

    /// With its reason in words.
    pub fn finding(self) -> Finding {
        let Self { first, last, category, severity, confidence, why } = self;
        Finding { first, last, category, severity, confidence, reason: why.to_string() }
    }
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Denied(word) => write!(out, "“{word}” is on the room's deny list"),
            Self::Scorer(opinion) => write!(out, "scorer: margin {:.1}, most by {}", opinion.margin, opinion.mover(true).name()),
            Self::Always { hit } => {
                rules(out, hit)?;
                out.write_str("; the room reports all of its kind")
            }
            Self::Rules { hit, opinion, shift } => {
                rules(out, hit)?;
                let Some(opinion) = opinion.filter(|_| shift.abs() >= 0.01) else { return Ok(()) };
                let moved = if shift > 0.0 { "raised" } else { "lowered" };
                write!(out, "; scorer: {moved} by {:.2}, most by {}", shift.abs(), opinion.mover(shift > 0.0).name())
            }
        }
    }
}

fn rules(out: &mut fmt::Formatter<'_>, hit: &Hit<'_>) -> fmt::Result {
    let kind = kind(hit.entry.sense);
    match hit.foreign {
        true => write!(out, "rules: a word of {}, {kind}", hit.term)?,
        false => write!(out, "rules: “{}”, {kind}", hit.term)?,
    }
    hit.weighed.rules.iter().try_for_each(|rule| write!(out, ", {rule}"))
}

/// What both layers say of one thing found; nothing where it does not count. `opinion` is none where the scorer is not asked.
pub fn of_hit<'a>(hit: &'a Hit<'a>, opinion: Option<Opinion>, words: usize) -> Option<Draft<'a>> {
    let (found, weighed) = (&hit.found, &hit.weighed);
    if hit.entry.sense == Sense::Denied {
        return Some(Draft::denied(found.first, found.last, hit.term));
    }
    let soft = hit.entry.sense == Sense::Soft && !hit.context.predicated;
    // A word or two give the scorer no context to go by.
    let opinion = opinion.filter(|_| words >= WORDS_MIN);
    let base = match opinion {
        Some(_) if soft && weighed.severity == 0.0 => SOFT_SEVERITY,
        _ if weighed.severity == 0.0 => return None,
        _ => weighed.severity,
    };
    let certain = hit.entry.sense == Sense::Fixed || hit.entry.sense == Sense::Slur && hit.context.aimed;
    let lower = if certain { LOWER_CERTAIN_MAX } else { LOWER_MAX };
    let raise = if weighed.excused { RAISE_EXCUSED_MAX } else { RAISE_MAX };
    let shift = opinion.map_or(0.0, |opinion| shift(opinion.margin - UNDECIDED, lower).min(raise));
    Some(Draft {
        first: found.first,
        last: found.last,
        category: weighed.category,
        severity: (base + shift).clamp(0.0, 1.0),
        confidence: weighed.confidence,
        why: Why::Rules { hit, opinion, shift },
    })
}

fn shift(margin: f32, lower_max: f32) -> f32 {
    if margin > 0.0 { (margin * RAISE_PER_MARGIN).min(RAISE_MAX) } else { (margin * LOWER_PER_MARGIN).max(-lower_max) }
}

/// What the scorer finds where the rules found nothing: the words that speak for it most, next to each other.
pub fn of_scorer<'a>(scorer: &Scorer, seen: &Seen<'_>, opinion: Opinion, least: f32) -> Option<Draft<'a>> {
    if opinion.margin < least || seen.row.plain.is_empty() {
        return None;
    }
    let (first, last) = heaviest(&scorer.per_word(seen), seen.row);
    let severity = (ALONE_SEVERITY + 0.1 * (opinion.margin - least)).min(ALONE_SEVERITY_MAX);
    let category = seen.hits.iter().map(|hit| hit.entry.category).next().unwrap_or(Category::Harassment);
    Some(Draft { first, last, category, severity, confidence: ALONE_CONFIDENCE, why: Why::Scorer(opinion) })
}

/// The run of words with the greatest sum, above what a word has on average; the last word where none has any.
fn heaviest(weights: &[f32], row: &Row) -> (u32, u32) {
    let mean = weights.iter().sum::<f32>() / weights.len().max(1) as f32;
    let end = row.plain.len().saturating_sub(1);
    let (mut best, mut range) = (0.0, (end, end));
    let (mut sum, mut start) = (0.0, 0);
    for (at, weight) in weights.iter().enumerate() {
        if sum <= 0.0 {
            (sum, start) = (0.0, at);
        }
        sum += weight - mean;
        if sum > best {
            (best, range) = (sum, (start, at));
        }
    }
    (range.0 as u32, range.1 as u32)
}

impl Opinion {
    /// The group of features that moved the margin most, up or down.
    fn mover(&self, up: bool) -> Group {
        let part = |group: &Group| if up { self.parts[*group as usize] } else { -self.parts[*group as usize] };
        Group::ALL.into_iter().max_by(|a, b| part(a).total_cmp(&part(b))).unwrap_or(Group::Whole)
    }
}

impl Group {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "who is meant and the tone of the whole",
            Self::Words => "words and pairs of words",
            Self::Pieces => "pieces of words",
            Self::Rules => "what the rules found",
        }
    }
}
