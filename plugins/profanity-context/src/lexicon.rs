//! The words and cues. `lexicons/*.toml` holds them; `build.rs` checks them and lays them out as constants, so that nothing is parsed
//! where the policy runs. A room's denied words make a second, small lexicon of the same form.

use std::borrow::Cow;

use crate::fold::key;
use crate::trie::{self, NONE, Node};

/// What a word does by itself; see the head of `lexicons/en.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    Vulgar,
    Insult,
    Slur,
    Claimed,
    Soft,
    Epithet,
    Mild,
    Fixed,
    /// The room's own list.
    Denied,
}

/// Which kind of harm; the contract's categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    Profanity,
    Slur,
    Sexual,
    Threat,
    Harassment,
    SelfHarm,
}

/// What a group of words has in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    pub category: Category,
    /// 0..=1, of the plain word in a neutral sentence.
    pub severity: f32,
    pub sense: Sense,
    /// Counts inside longer words too, and is looked for under heavier disguise.
    pub strong: bool,
    pub intensifier: bool,
    pub name: bool,
    pub medical: bool,
    /// Does not count as the only word.
    pub company: bool,
    /// Means this only as a recogniser's spelling of what was heard.
    pub spoken: bool,
    /// Words that, near by, show an innocent sense; sorted.
    pub cleared_by: &'static [&'static str],
}

/// One spelling.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// Small letters a-z, space, `-` and `*`.
    pub text: Cow<'static, str>,
    /// Index into [`Lexicon::entries`].
    pub entry: u16,
    /// Of several words.
    pub phrase: bool,
}

/// A word of another language: known by the hash of its [`key`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Foreign {
    pub key: u64,
    /// Index into [`Lexicon::entries`].
    pub entry: u16,
    /// Index into the table of languages.
    language: u8,
    /// A harmless word elsewhere: counts only where the utterance names this language.
    pub ambiguous: bool,
}

/// Classes of context words, as bits. `build.rs` gives them in the order of [`cue::NAMES`].
pub mod cue {
    pub const SECOND: u16 = 1;
    pub const THIRD: u16 = 1 << 1;
    pub const FIRST: u16 = 1 << 2;
    pub const BE: u16 = 1 << 3;
    pub const REPORT: u16 = 1 << 4;
    pub const CONDEMN: u16 = 1 << 5;
    pub const POSITIVE: u16 = 1 << 6;
    pub const NEGATIVE: u16 = 1 << 7;
    pub const MEDICAL: u16 = 1 << 8;
    pub const PLACE: u16 = 1 << 9;
    /// A common short word: two of them in a row are two words, not a broken one.
    pub const SHORT: u16 = 1 << 10;
    /// Announces that a word is spoken about.
    pub const NAMED: u16 = 1 << 11;
    /// A word of games: what is killed there gets up again.
    pub const PLAY: u16 = 1 << 12;
    /// Turns round what follows.
    pub const NOT: u16 = 1 << 13;
    /// What is done: will, gonna, should.
    pub const INTENT: u16 = 1 << 14;
}

/// Words of one language and the tree to find them by.
#[derive(Debug, Clone)]
pub struct Lexicon {
    pub entries: Cow<'static, [Entry]>,
    pub forms: Cow<'static, [Form]>,
    nodes: Cow<'static, [Node]>,
    /// First letters of strong forms, bit 0 for `a`: where a search inside a word may start.
    strong_starts: u32,
}

/// English as this crate carries it.
static EMBEDDED: Lexicon = Lexicon {
    entries: Cow::Borrowed(data::ENTRIES),
    forms: Cow::Borrowed(data::FORMS),
    nodes: Cow::Borrowed(data::NODES),
    strong_starts: data::STRONG_STARTS,
};

impl Lexicon {
    /// The lexicon that this crate carries.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// A room's denied words, spelled as [`plain`] spells them.
    pub fn of_denied(words: impl Iterator<Item = String>) -> Self {
        let forms: Vec<Form> = words.map(|text| Form { phrase: text.contains(' '), text: text.into(), entry: 0 }).collect();
        let spellings: Vec<&str> = forms.iter().map(|form| &*form.text).collect();
        Self { nodes: trie::build(&spellings).into(), forms: forms.into(), entries: Cow::Borrowed(&[DENIED]), strong_starts: 0 }
    }

    pub fn node(&self, at: u32) -> Node {
        self.nodes[at as usize]
    }

    pub fn child(&self, at: u32, letter: u8) -> Option<u32> {
        self.children(at).find(|&(of, _)| of == letter).map(|(_, child)| child)
    }

    pub fn children(&self, at: u32) -> impl Iterator<Item = (u8, u32)> + '_ {
        let node = self.node(at);
        let range = node.first as usize..node.first as usize + node.children as usize;
        (node.first..).zip(&self.nodes[range]).map(|(at, child)| (child.letter, at))
    }

    pub fn form_at(&self, node: u32) -> Option<u32> {
        let form = self.node(node).form;
        (form != NONE).then_some(u32::from(form))
    }

    pub fn entry_of(&self, form: u32) -> &Entry {
        &self.entries[self.forms[form as usize].entry as usize]
    }

    pub fn strong_form_starts_with(&self, letter: u8) -> bool {
        letter.is_ascii_lowercase() && self.strong_starts >> (letter - b'a') & 1 == 1
    }
}

const DENIED: Entry = Entry {
    category: Category::Profanity,
    severity: 0.9,
    sense: Sense::Denied,
    strong: false,
    intensifier: false,
    name: false,
    medical: false,
    company: false,
    spoken: false,
    cleared_by: &[],
};

/// The classes of a context word, small letters a-z.
pub fn cues(word: &str) -> u16 {
    let Some(first @ b'a'..=b'z') = word.bytes().next() else { return 0 };
    let first = usize::from(first - b'a');
    let alike = &data::CUES[usize::from(data::CUE_STARTS[first])..usize::from(data::CUE_STARTS[first + 1])];
    alike.binary_search_by_key(&word, |&(of, _)| of).map_or(0, |at| alike[at].1)
}

/// Whether a word is known to be innocent whatever its letters contain.
pub fn is_safe(word: &str) -> bool {
    data::SAFE.binary_search(&word).is_ok() || {
        let after = data::SAFE_STEMS.partition_point(|stem| *stem <= word);
        data::SAFE_STEMS[..after].last().is_some_and(|stem| word.starts_with(stem))
    }
}

/// Whether `form`, found inside `word`, is but the beginning of an innocent piece of it.
pub fn is_safe_piece(word: &str, form: &str) -> bool {
    data::SAFE_PIECES.iter().any(|piece| piece.starts_with(form) && word.contains(piece))
}

/// Shortest beginning that a stem of another language may have, characters.
const STEM_CHARS_MIN: usize = 4;

/// What `word`, one word of an utterance, is in another language than English, and that language's name. `language` is the utterance's,
/// if it says so (BCP 47).
pub fn foreign(word: &str, language: Option<&str>) -> Option<(&'static Entry, &'static str)> {
    let mut hash = key::START;
    let mut stem = None;
    for (count, letter) in key::letters(word).enumerate() {
        hash = key::feed(hash, letter);
        if count + 1 >= STEM_CHARS_MIN {
            stem = stem.or_else(|| lookup(data::FOREIGN_STEMS, hash, language));
        }
    }
    let found = lookup(data::FOREIGN, hash, language).or(stem)?;
    Some((&data::ENTRIES[found.entry as usize], data::LANGUAGES[found.language as usize].1))
}

fn lookup(words: &'static [Foreign], key: u64, language: Option<&str>) -> Option<&'static Foreign> {
    let from = words.partition_point(|word| word.key < key);
    words[from..].iter().take_while(|word| word.key == key).find(|word| {
        let told = || language.is_some_and(|tag| tag.split('-').next() == Some(data::LANGUAGES[word.language as usize].0));
        !word.ambiguous || told()
    })
}

/// Small letters a-z of a text, its words separated by single spaces.
pub fn plain(text: &str) -> String {
    let words = text
        .split_whitespace()
        .map(|word| word.chars().map(crate::fold::fold).filter(|f| f.letter != 0).map(|f| f.letter as char).collect());
    words.filter(|word: &String| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Written by `build.rs`.
mod data {
    use std::borrow::Cow;

    use super::{Category, Entry, Foreign, Form, Node, Sense};

    include!(concat!(env!("OUT_DIR"), "/lexicon.rs"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_languages_have_their_words() {
        let name = |word, language| foreign(word, language).map(|(_, name)| name);
        for (word, language) in [
            ("Arschloch!", "German"),
            ("scheiße", "German"),
            ("PENDEJO", "Spanish"),
            ("connards", "French"),
            ("caralho", "Portuguese"),
            ("vaffanculooo", "Italian"),
            ("klootzak", "Dutch"),
            ("kurwa", "Polish"),
            ("siktir", "Turkish"),
            ("jävla", "Swedish"),
            ("xуй", "Russian"),
            ("пиздец", "Russian"),
            ("🖕🏽🖕🏽", "Signs"),
        ] {
            assert_eq!(name(word, None), Some(language), "{word}");
        }
        // Harmless elsewhere: fan is a devil in Swedish alone.
        assert_eq!((name("fan", None), name("fan", Some("en")), name("fan", Some("sv-SE"))), (None, None, Some("Swedish")));
    }

    #[test]
    fn the_embedded_data_is_found() {
        let lexicon = Lexicon::embedded();
        assert!(lexicon.forms.len() > 1000 && cues("you") & cue::SECOND != 0 && cues("teapot") == 0);
        assert!(is_safe("scunthorpe") && is_safe("sniggering") && !is_safe("snig"));
        let node = "fuck".bytes().try_fold(0, |node, letter| lexicon.child(node, letter)).unwrap();
        assert_eq!(lexicon.forms[lexicon.form_at(node).unwrap() as usize].text, "fuck");
    }
}
