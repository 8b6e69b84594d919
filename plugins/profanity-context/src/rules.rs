//! The exact layer: what one word found weighs in its context. Pure; each rule names itself.

use crate::context::{Around, Context};
use crate::lexicon::{Category, Entry, Sense};
use crate::search::Match;

/// What the rules say of one thing found.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    pub category: Category,
    /// 0..=1; 0 where the context clears the word.
    pub severity: f32,
    /// 0..=1.
    pub confidence: f32,
    /// The context speaks for the word: it may not be made worse again.
    pub excused: bool,
    /// The rules that moved it, in the order in which they did.
    pub rules: Vec<&'static str>,
}

/// Weighs `entry`, found at `found`, by its context.
pub fn weigh(entry: &Entry, found: &Match, around: &Around<'_>, context: &Context) -> Weighed {
    let mut weighed = Weighed { category: entry.category, severity: entry.severity, confidence: 0.95, excused: false, rules: Vec::new() };
    if let Some(reason) = cleared(entry, found, around, context) {
        return Weighed { severity: 0.0, rules: vec![reason], ..weighed };
    }
    by_sense(entry, context, &mut weighed);
    if context.heated && matches!(entry.sense, Sense::Insult | Sense::Epithet | Sense::Soft) {
        weighed.severity += 0.1;
        weighed.rules.push("after an attack");
    }
    excuse(entry, context, &mut weighed);
    by_spelling(found, &mut weighed);
    weighed.severity = weighed.severity.clamp(0.0, 1.0);
    weighed
}

/// What the context says for the word.
fn excuse(entry: &Entry, context: &Context, weighed: &mut Weighed) {
    let gibe = matches!(entry.sense, Sense::Epithet | Sense::Soft);
    let insult = matches!(entry.sense, Sense::Insult | Sense::Slur | Sense::Claimed);
    let phrase = entry.sense == Sense::Fixed;
    let excuses = [
        (entry.intensifier && context.praise && !context.negative, 0.5, "strengthens praise"),
        (context.reported && entry.category != Category::SelfHarm, 0.5, "quoted or reported"),
        (context.negated && gibe, 0.6, "denied"),
        (context.negated && insult, 0.85, "denied"),
        (context.warned && phrase, 0.35, "warned against"),
        (context.play && entry.category == Category::Threat, 0.35, "in a game"),
        (context.claimed && entry.sense == Sense::Claimed, 0.7, "said of oneself"),
    ];
    for (_, share, rule) in excuses.into_iter().filter(|(holds, ..)| *holds) {
        weighed.severity *= share;
        weighed.excused = true;
        weighed.rules.push(rule);
    }
}

/// Why the word means nothing bad here, if it does not.
fn cleared(entry: &Entry, found: &Match, around: &Around<'_>, context: &Context) -> Option<&'static str> {
    if around.cleared(found.first, found.last, entry.cleared_by) {
        Some("another sense")
    } else if context.medical && (entry.medical || entry.category == Category::Sexual && !entry.strong && !context.aimed) {
        Some("medical")
    } else if entry.company && !context.told {
        Some("alone")
    } else if entry.name && context.name {
        Some("a person's name")
    } else if context.place && entry.sense != Sense::Slur && found.first == found.last {
        Some("a place's name")
    } else if entry.sense == Sense::Soft && !context.predicated && !(context.heated && context.aimed) {
        Some("not said of a person")
    } else if entry.sense == Sense::Epithet && context.confessed {
        Some("said of oneself")
    } else {
        None
    }
}

fn by_sense(entry: &Entry, context: &Context, weighed: &mut Weighed) {
    let hostile = context.aimed || context.negative;
    match entry.sense {
        Sense::Insult | Sense::Slur if context.aimed => {
            weighed.severity += 0.15;
            weighed.rules.push("said to or of someone");
            if weighed.category == Category::Profanity {
                weighed.category = Category::Harassment;
            }
        }
        Sense::Vulgar if context.aimed && !context.positive => {
            weighed.severity += 0.1;
            weighed.rules.push("said to someone");
        }
        Sense::Claimed if !hostile => {
            weighed.severity *= 0.8;
            weighed.rules.push("has neutral uses");
        }
        Sense::Mild if context.aimed && context.negative => {
            weighed.severity += 0.1;
            weighed.rules.push("in an attack");
        }
        Sense::Soft => {
            weighed.confidence = 0.6;
            weighed.rules.push("said of a person");
        }
        Sense::Epithet if context.aimed => {
            weighed.severity += 0.1;
            weighed.rules.push("said to or of someone");
        }
        _ => {}
    }
}

fn by_spelling(found: &Match, weighed: &mut Weighed) {
    if found.masked {
        weighed.confidence *= 0.8;
        weighed.rules.push("letters masked");
    } else if found.disguised {
        weighed.confidence *= 0.9;
        weighed.rules.push("disguised spelling");
    }
    if found.inside {
        weighed.confidence *= 0.9;
        weighed.rules.push("inside a word");
    }
}

/// What kind of word it is, for people.
pub fn kind(sense: Sense) -> &'static str {
    match sense {
        Sense::Vulgar => "vulgar",
        Sense::Insult => "insult",
        Sense::Slur | Sense::Claimed => "slur",
        Sense::Epithet => "name-calling",
        Sense::Soft => "ordinary word as an insult",
        Sense::Mild => "mild",
        _ => "phrase",
    }
}
