//! Finds the lexicon's spellings in a row of glyphs, through stand-ins, masks, stretching, separators and spacing. A walk tries what a
//! character may stand for; every character of the text pays for a few steps of it, so time is linear in the text.

use crate::fold::Kind;
use crate::glyphs::{Glyph, Row};
use crate::lexicon::{Lexicon, Sense, cue, is_safe, is_safe_piece};

/// Steps that every glyph pays for. Plain text needs 3 a glyph, so that what it leaves pays for a disguised word.
const STEPS_PER_GLYPH: u32 = 4;
/// Steps of one walk at most, and what can be put by.
const STEPS_MAX: u32 = 400;
/// What a walk from the beginning of a word has in any case: enough for a word with one masked letter.
const STEPS_MIN: u32 = 20;

/// One spelling found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Match {
    pub form: u32,
    /// Words of the utterance, inclusive.
    pub first: u32,
    pub last: u32,
    /// Written so that a filter would miss it.
    pub disguised: bool,
    /// Letters hidden behind masks.
    pub masked: bool,
    /// Within a longer word.
    pub inside: bool,
}

/// What the walk has seen on its way.
#[derive(Debug, Clone, Copy, Default)]
struct Trace {
    letters: u32,
    written: u32,
    masks: u32,
    separators: u32,
    apostrophes: u32,
    gaps: u32,
    doubled: bool,
    disguised: bool,
    last: u8,
}

struct Walk<'a> {
    lexicon: &'a Lexicon,
    row: &'a Row,
    cues: &'a [u16],
    spoken: bool,
    start: usize,
    /// Started within a word.
    inside: bool,
    /// Whether the word that it started in is a safe one, once that was asked.
    safe: Option<bool>,
    steps: u32,
    best: Option<(u32, usize, Match)>,
}

/// All spellings found, in the order of the text; a word may be in several.
/// `cues` are the words' classes; `spoken` says that a recogniser wrote them down.
pub fn search(lexicon: &Lexicon, row: &Row, cues: &[u16], spoken: bool) -> Vec<Match> {
    let mut found = Vec::new();
    let mut saved = STEPS_MAX;
    for start in 0..row.glyphs.len() {
        saved = (saved + STEPS_PER_GLYPH).min(STEPS_MAX);
        let glyph = row.glyphs[start];
        if matches!(glyph.folded.kind, Kind::Gap | Kind::Wall | Kind::Other) {
            continue;
        }
        let boundary = starts_word(&row.glyphs, start);
        if !boundary && !lexicon.strong_form_starts_with(glyph.folded.letter) {
            continue;
        }
        let steps = if boundary { saved.max(STEPS_MIN) } else { saved };
        let mut walk = Walk { lexicon, row, cues, spoken, start, inside: !boundary, safe: None, steps, best: None };
        walk.step(start, 0, Trace::default());
        saved = saved.saturating_sub(steps - walk.steps);
        found.extend(walk.best.map(|(_, _, found)| found));
    }
    found
}

fn letterish(glyph: &Glyph) -> bool {
    matches!(glyph.folded.kind, Kind::Letter | Kind::Digit | Kind::Other)
}

/// A word starts at its first glyph, after a leading or separating sign, and at a hump.
fn starts_word(glyphs: &[Glyph], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| glyphs[before]) else { return true };
    match before.folded.kind {
        Kind::Gap | Kind::Wall | Kind::Separator => true,
        _ if glyphs[at].hump => true,
        // After leading signs: `#word`, `'word`, `*word`.
        Kind::Mask | Kind::Apostrophe | Kind::Sign => {
            glyphs[..at].iter().rev().take_while(|g| !matches!(g.folded.kind, Kind::Gap | Kind::Wall)).all(|g| !letterish(g))
        }
        _ => false,
    }
}

/// A word ends before a boundary, a separator, a hump, and where no letter remains.
fn ends_word(glyphs: &[Glyph], at: usize) -> bool {
    let Some(next) = glyphs.get(at) else { return true };
    match next.folded.kind {
        Kind::Gap | Kind::Wall | Kind::Separator | Kind::Apostrophe => true,
        _ if next.hump => true,
        Kind::Letter | Kind::Other => false,
        _ => {
            let rest = glyphs[at..].iter().take_while(|g| !matches!(g.folded.kind, Kind::Gap | Kind::Wall | Kind::Separator));
            rest.take(16).all(|g| !matches!(g.folded.kind, Kind::Letter | Kind::Other))
        }
    }
}

impl Walk<'_> {
    fn step(&mut self, at: usize, node: u32, trace: Trace) {
        if self.steps == 0 {
            return;
        }
        self.steps -= 1;
        if let Some(form) = self.lexicon.form_at(node) {
            self.consider(form, at, trace);
        }
        let Some(glyph) = self.row.glyphs.get(at) else { return };
        let folded = glyph.folded;
        for letter in [folded.letter, folded.alternative] {
            if letter != 0 {
                self.letter(at, node, trace, *glyph, letter);
            }
        }
        let within = trace.letters > 0;
        match folded.kind {
            Kind::Mask | Kind::Sign => self.mask(at, node, trace, within, folded.kind),
            Kind::Other if within && folded.disguised && !self.inside && 2 * trace.masks < trace.letters + 2 => {
                self.any_letter(at, node, trace);
            }
            Kind::Separator if within => {
                if let Some(child) = self.lexicon.child(node, b'-') {
                    self.step(at + 1, child, Trace { last: b'-', written: trace.written + 1, ..trace });
                }
                self.step(at + 1, node, Trace { separators: trace.separators + 1, last: 0, ..trace });
                // A hyphen or dot in the place of a letter: sh-t.
                if !self.inside && trace.masks < 2 {
                    self.any_letter(at, node, Trace { separators: 0, ..trace });
                }
            }
            Kind::Apostrophe if within && !self.contraction(at) => {
                self.step(at + 1, node, Trace { apostrophes: trace.apostrophes + 1, ..trace });
            }
            Kind::Gap if within && !self.inside => {
                if let Some(child) = self.lexicon.child(node, b' ') {
                    // What was skipped so far belongs to the word that ends here.
                    self.step(at + 1, child, Trace { last: b' ', ..trace });
                }
                let by_letters = trace.gaps == 0 || trace.gaps + 1 >= trace.letters;
                if by_letters && self.single_or_short(at) {
                    self.step(at + 1, node, Trace { gaps: trace.gaps + 1, last: 0, ..trace });
                }
            }
            _ => {}
        }
    }

    fn letter(&mut self, at: usize, node: u32, trace: Trace, glyph: Glyph, letter: u8) {
        let plain = glyph.folded.kind == Kind::Letter;
        let next = Trace {
            letters: trace.letters + 1,
            written: trace.written + u32::from(plain || glyph.folded.kind == Kind::Sign),
            disguised: trace.disguised || glyph.folded.disguised,
            last: letter,
            ..trace
        };
        if let Some(child) = self.lexicon.child(node, letter) {
            self.step(at + 1, child, next);
        }
        if trace.last == letter && plain {
            let run = self.run(at);
            self.step(at + 1, node, Trace { doubled: trace.doubled || run < 3, disguised: trace.disguised || run >= 3, ..trace });
        }
    }

    /// How often the letter at `at` stands there in a row, up to 3.
    fn run(&self, at: usize) -> usize {
        let glyphs = &self.row.glyphs;
        let same = |g: &&Glyph| g.folded.letter == glyphs[at].folded.letter;
        let before = glyphs[self.start..at].iter().rev().take_while(same).take(3).count();
        (before + glyphs[at..].iter().take_while(same).take(3).count()).min(3)
    }

    fn mask(&mut self, at: usize, node: u32, trace: Trace, within: bool, kind: Kind) {
        if let Some(child) = self.lexicon.child(node, b'*') {
            self.step(at + 1, child, Trace { masks: trace.masks + 1, last: b'*', disguised: true, ..trace });
        }
        if trace.last == b'*' {
            self.step(at + 1, node, trace);
        }
        // A sign after every letter is a separator: f*u*c*k.
        let letter_next = self.row.glyphs.get(at + 1).is_some_and(|next| matches!(next.folded.kind, Kind::Letter | Kind::Digit));
        if within && letter_next && trace.separators + 1 >= trace.letters {
            self.step(at + 1, node, Trace { separators: trace.separators + 1, last: 0, ..trace });
        }
        // Signs hide at most half of the letters in the end, so no more than this on the way.
        if within && !self.inside && (kind == Kind::Mask || 2 * trace.masks < trace.letters + 2) {
            self.any_letter(at, node, trace);
        }
    }

    fn any_letter(&mut self, at: usize, node: u32, trace: Trace) {
        let lexicon = self.lexicon;
        for (_, child) in lexicon.children(node).filter(|(letter, _)| letter.is_ascii_lowercase()) {
            self.step(at + 1, child, Trace { masks: trace.masks + 1, letters: trace.letters + 1, last: 0, disguised: true, ..trace });
        }
    }

    /// Whether the apostrophe at `at` shortens a word, as in `who're`.
    fn contraction(&self, at: usize) -> bool {
        let mut tail = [0u8; 3];
        let rest = self.row.glyphs[at + 1..].iter().take_while(|glyph| glyph.folded.kind == Kind::Letter);
        let len = rest.zip(&mut tail).map(|(glyph, to)| *to = glyph.folded.letter).count();
        matches!(&tail[..len], b"re" | b"ll" | b"ve" | b"s" | b"d" | b"m" | b"t")
    }

    /// Whether the words on both sides of the gap at `at` are so short that they may be pieces of one.
    fn single_or_short(&self, at: usize) -> bool {
        let word = self.row.glyphs[at].word as usize;
        let len = |word: usize| self.row.plain.get(word).map_or(usize::MAX, String::len);
        len(word) <= 4 && len(word + 1) <= 4
    }

    fn consider(&mut self, form: u32, end: usize, trace: Trace) {
        let glyphs = &self.row.glyphs;
        // What was passed over after the last letter is no part of it.
        if matches!(glyphs[end - 1].folded.kind, Kind::Separator | Kind::Apostrophe | Kind::Gap) {
            return;
        }
        let spelling = &self.lexicon.forms[form as usize];
        let entry = self.lexicon.entry_of(form);
        if entry.spoken && (!self.spoken || trace.masks > 0) {
            return;
        }
        let ends = ends_word(glyphs, end);
        let inside = self.inside || !ends;
        let (first, last) = (glyphs[self.start].word, glyphs[end - 1].word);
        let shape = self.row.shapes[first as usize];
        let plain = trace.masks + trace.separators + trace.apostrophes + trace.gaps == 0;
        let long = spelling.text.len() >= 4;
        let allowed = if inside {
            // A sign in the middle of a longer word is not a disguise but punctuation or a price.
            entry.strong && plain && !shape.mention && !is_safe_piece(&self.row.plain[first as usize], &spelling.text)
        } else {
            (!trace.doubled || entry.strong || long && self.doubled_at_end(end))
                && (spelling.text.len() > 2 || !trace.doubled)
                && (trace.separators == 0 || entry.strong || trace.separators + 1 >= trace.letters || spelling.phrase)
                && (trace.apostrophes == 0 || entry.strong || spelling.phrase)
                && self.masks_allowed(&spelling.text, entry.severity, entry.sense, trace)
                && (trace.gaps == 0 || self.gaps_allowed(first, last, trace, entry.strong, spelling.phrase))
                // A name is not a statement: only the sign as a letter counts there (@ss), not the name itself.
                && (!shape.mention || glyphs[self.start].folded.kind == Kind::Sign)
        };
        let written = trace.written * 3 >= trace.letters;
        if !allowed || !written || shape.url {
            return;
        }
        // Longest first; of equals, what was written without tricks.
        let rank = (end as u32) * 2 + u32::from(trace.masks == 0);
        let better = self.best.is_none_or(|(best, _, before)| (!inside, rank) > (!before.inside, best));
        if better && !(first == last && self.safe(first)) {
            let found = Match { form, first, last, disguised: trace.disguised || !plain, masked: trace.masks > 0, inside };
            self.best = Some((rank, end, found));
        }
    }

    fn safe(&mut self, word: u32) -> bool {
        let row = self.row;
        *self.safe.get_or_insert_with(|| !row.plain[word as usize].is_empty() && is_safe(&row.plain[word as usize]))
    }

    fn doubled_at_end(&self, end: usize) -> bool {
        end >= 2 && self.row.glyphs[end - 1].folded.letter == self.row.glyphs[end - 2].folded.letter
    }

    /// Masks may hide half of the letters, but not the first, or all but the first and the last; spellings with masks of their own say it
    /// themselves.
    fn masks_allowed(&self, text: &str, severity: f32, sense: Sense, trace: Trace) -> bool {
        let hidden = trace.masks - (text.bytes().filter(|&b| b == b'*').count() as u32).min(trace.masks);
        let known = trace.letters.saturating_sub(hidden);
        hidden == 0
            || !matches!(sense, Sense::Soft | Sense::Epithet)
                && severity >= 0.4
                && text.len() >= 4
                && known >= 2
                && (hidden * 2 <= trace.letters || hidden + 2 == trace.letters && trace.last != 0)
    }

    /// `f u c k` letter by letter, or one break in a strong word (`fu ck`) where not both pieces are words.
    fn gaps_allowed(&self, first: u32, last: u32, trace: Trace, strong: bool, phrase: bool) -> bool {
        if phrase {
            return false;
        }
        let words = &self.row.plain[first as usize..=last as usize];
        let spelled = trace.gaps + 1 >= trace.letters && trace.letters >= 3 && words.iter().all(|word| word.len() <= 1);
        let alone = |word: Option<&String>| word.is_none_or(|word| word.len() != 1);
        let alone = alone(first.checked_sub(1).and_then(|before| self.row.plain.get(before as usize)))
            && alone(self.row.plain.get(last as usize + 1));
        let broken = strong && trace.gaps == 1 && self.cues[first as usize..=last as usize].iter().any(|cues| cues & cue::SHORT == 0);
        spelled && (trace.letters >= 4 || alone) || broken
    }
}
