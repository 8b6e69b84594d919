//! The words of an utterance as one row of folded characters, each knowing its word.

use crate::fold::{Folded, Kind, RIGHT_TO_LEFT_OVERRIDE, fold};

/// Characters of one word that are read; what follows is passed over. No word that means anything is longer.
pub const WORD_CHARS_MAX: usize = 256;
/// Words of one utterance that are read.
pub const WORDS_MAX: usize = 20_000;

/// Glyphs that room is made for at once.
const GLYPHS_RESERVED_MAX: usize = 1 << 16;

/// One folded character.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glyph {
    pub folded: Folded,
    /// Index of its word in the utterance.
    pub word: u32,
    /// A capital after a small letter, as in `#SoBad`: words may start here.
    pub hump: bool,
}

/// What one word is, beyond its letters.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shape {
    /// Where its glyphs are in [`Row::glyphs`].
    pub start: u32,
    pub end: u32,
    /// `@someone`.
    pub mention: bool,
    pub hashtag: bool,
    pub url: bool,
    pub capital: bool,
    /// Three letters or more, all of them capitals.
    pub shouted: bool,
    pub opens_quote: bool,
    pub closes_quote: bool,
    /// Ends with `.`, `!` or `?`.
    pub ends_sentence: bool,
}

/// An utterance, folded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    pub glyphs: Vec<Glyph>,
    pub shapes: Vec<Shape>,
    /// Per word, its letters a-z as they stand, no stand-ins: what cues are looked up by.
    pub plain: Vec<String>,
}

const GAP: Folded = Folded { kind: Kind::Gap, letter: 0, alternative: 0, disguised: false };
const WALL: Folded = Folded { kind: Kind::Wall, letter: 0, alternative: 0, disguised: false };

impl Row {
    pub fn new(words: &[&str]) -> Self {
        let letters = words.iter().map(|word| word.len() + 1).sum::<usize>();
        let mut row = Self {
            glyphs: Vec::with_capacity(letters.min(GLYPHS_RESERVED_MAX)),
            shapes: Vec::with_capacity(words.len().min(WORDS_MAX)),
            plain: Vec::with_capacity(words.len().min(WORDS_MAX)),
        };
        let mut reversed = Vec::new();
        for (index, text) in words.iter().take(WORDS_MAX).enumerate() {
            row.push_word(index as u32, text, &mut reversed);
        }
        row.push(WALL, 0, false);
        // What a right-to-left override shows backwards is read that way as well, apart from the rest.
        for (index, letters) in reversed {
            for folded in letters {
                row.push(folded, index, false);
            }
            row.push(WALL, index, false);
        }
        row
    }

    fn push_word(&mut self, index: u32, text: &str, reversed: &mut Vec<(u32, Vec<Folded>)>) {
        let start = self.glyphs.len();
        let mut plain = String::new();
        let (mut was_small, mut overridden) = (false, false);
        for c in text.chars().take(WORD_CHARS_MAX) {
            overridden |= c == RIGHT_TO_LEFT_OVERRIDE;
            let mut folded = fold(c);
            match folded.kind {
                Kind::Invisible => continue,
                // The caller split the text; white space within a word is a trick like any other.
                Kind::Gap => folded.kind = Kind::Separator,
                Kind::Letter => plain.push(folded.letter as char),
                _ => {}
            }
            self.push(folded, index, was_small && c.is_ascii_uppercase());
            was_small = c.is_ascii_lowercase();
        }
        if overridden {
            let letters = self.glyphs[start..].iter().rev().map(|glyph| Folded { disguised: true, ..glyph.folded }).collect();
            reversed.push((index, letters));
        }
        self.shapes.push(shape(text, start as u32, self.glyphs.len() as u32));
        self.plain.push(plain);
        self.push(GAP, index, false);
    }

    fn push(&mut self, folded: Folded, word: u32, hump: bool) {
        self.glyphs.push(Glyph { folded, word, hump });
    }
}

fn shape(text: &str, start: u32, end: u32) -> Shape {
    const OPENING: &[char] = &['"', '“', '„', '«', '‘', '\'', '('];
    const CLOSING: &[char] = &['"', '”', '»', '’', '\'', '.', ',', '!', '?', ')', ';', ':'];
    let bare = text.trim_start_matches(OPENING);
    let quotes = |c: char| matches!(c, '"' | '“' | '”' | '„' | '«' | '»' | '\'' | '‘' | '’');
    let tail = &text[text.trim_end_matches(CLOSING).len()..];
    Shape {
        start,
        end,
        mention: bare.strip_prefix('@').is_some_and(|name| name.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')),
        hashtag: bare.starts_with('#'),
        url: text.contains("://") || bare.starts_with("www."),
        capital: bare.chars().next().is_some_and(char::is_uppercase),
        shouted: bare.len() >= 3
            && bare.chars().take(WORD_CHARS_MAX).all(|c| !c.is_lowercase())
            && bare.chars().take(3).all(char::is_uppercase),
        opens_quote: text[..text.len() - bare.len()].contains(quotes),
        closes_quote: tail.contains(quotes),
        ends_sentence: tail.contains(['.', '!', '?']),
    }
}
