//! The words and cues, parsed from the data in `lexicon/` once at start, and the tree of letters that the search walks.

use std::collections::{BTreeMap, BTreeSet};

/// What a word does by itself; see the head of `lexicon/words.tsv`.
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
    /// An innocent word that contains another's letters.
    Safe,
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

/// One row of the lexicon.
#[derive(Debug, Clone, PartialEq)]
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
    /// Words that, near by, show an innocent sense.
    pub cleared_by: BTreeSet<String>,
}

/// Classes of context words, as bits.
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
    pub(super) const NAMES: [(&str, u16); 12] = [
        ("second", SECOND),
        ("third", THIRD),
        ("first", FIRST),
        ("be", BE),
        ("report", REPORT),
        ("condemn", CONDEMN),
        ("positive", POSITIVE),
        ("negative", NEGATIVE),
        ("medical", MEDICAL),
        ("place", PLACE),
        ("short", SHORT),
        ("named", NAMED),
    ];
}

/// A node of the tree: children are a linked list of siblings.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// `a..=z`, a space for a boundary of words, `-` for a separator, `*` for a mask.
    pub letter: u8,
    pub child: u32,
    pub sibling: u32,
    /// Index into [`Lexicon::forms`], or [`NONE`].
    pub form: u32,
}

/// No node, no form.
pub const NONE: u32 = u32::MAX;

/// One spelling.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    pub text: String,
    pub entry: u32,
    pub phrase: bool,
}

/// All that is known about words.
#[derive(Debug, Clone)]
pub struct Lexicon {
    pub entries: Vec<Entry>,
    pub forms: Vec<Form>,
    nodes: Vec<Node>,
    /// First letters of strong forms: where a search inside a word may start.
    strong_starts: u32,
    cues: BTreeMap<String, u16>,
    safe: BTreeSet<String>,
    safe_stems: Vec<String>,
}

/// A fault of the embedded data, by its line.
#[derive(Debug, Clone, PartialEq)]
pub struct DataError {
    pub file: &'static str,
    pub line: usize,
    pub fault: String,
}

impl std::fmt::Display for DataError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, self.fault)
    }
}

const WORDS: &str = include_str!("../lexicon/words.tsv");
const CUES: &str = include_str!("../lexicon/cues.tsv");

static EMBEDDED: std::sync::LazyLock<Lexicon> = std::sync::LazyLock::new(|| {
    Lexicon::parse(WORDS, CUES).unwrap_or_else(|fault| unreachable!("the embedded lexicon is tested: {fault}"))
});

impl Lexicon {
    /// The lexicon that this crate carries.
    pub fn embedded() -> &'static Self {
        &EMBEDDED
    }

    /// # Errors
    /// The first row that does not parse, by file and line.
    pub fn parse(words: &str, cues: &str) -> Result<Self, DataError> {
        let root = Node { letter: 0, child: NONE, sibling: NONE, form: NONE };
        let mut lexicon = Self {
            entries: Vec::new(),
            forms: Vec::new(),
            nodes: vec![root],
            strong_starts: 0,
            cues: BTreeMap::new(),
            safe: BTreeSet::new(),
            safe_stems: Vec::new(),
        };
        for (line, row) in rows(words) {
            lexicon.add_row(row).map_err(|fault| DataError { file: "words.tsv", line, fault })?;
        }
        for (line, row) in rows(cues) {
            let fault = |fault: String| DataError { file: "cues.tsv", line, fault };
            let (class, members) = row.split_once('\t').ok_or_else(|| fault("a class, a tab and its words are needed".into()))?;
            let bit = cue::NAMES.iter().find(|(name, _)| *name == class).ok_or_else(|| fault(format!("class {class} is unknown")))?.1;
            for word in members.split_whitespace() {
                *lexicon.cues.entry(word.to_owned()).or_insert(0) |= bit;
            }
        }
        Ok(lexicon)
    }

    /// The same with a room's denied words added; they win over what was there.
    pub fn with_denied<'a>(&self, denied: impl Iterator<Item = &'a str>) -> Self {
        let mut lexicon = self.clone();
        let entry = lexicon.entries.len() as u32;
        lexicon.entries.push(Entry {
            category: Category::Profanity,
            severity: 0.9,
            sense: Sense::Denied,
            strong: false,
            intensifier: false,
            name: false,
            medical: false,
            company: false,
            cleared_by: BTreeSet::new(),
        });
        for text in denied {
            let text = plain(text);
            if !text.is_empty() {
                lexicon.insert(text, entry, true);
            }
        }
        lexicon
    }

    pub fn cues(&self, word: &str) -> u16 {
        self.cues.get(word).copied().unwrap_or(0)
    }

    /// Whether a word is known to be innocent whatever its letters contain.
    pub fn is_safe(&self, word: &str) -> bool {
        self.safe.contains(word) || self.safe_stems.iter().any(|stem| word.starts_with(stem.as_str()))
    }

    pub fn node(&self, at: u32) -> Node {
        self.nodes[at as usize]
    }

    pub fn child(&self, at: u32, letter: u8) -> Option<u32> {
        self.children(at).find(|&(of, _)| of == letter).map(|(_, child)| child)
    }

    pub fn children(&self, at: u32) -> impl Iterator<Item = (u8, u32)> + '_ {
        let mut next = self.node(at).child;
        std::iter::from_fn(move || {
            let here = next;
            (here != NONE).then(|| {
                let node = self.node(here);
                next = node.sibling;
                (node.letter, here)
            })
        })
    }

    pub fn strong_form_starts_with(&self, letter: u8) -> bool {
        letter.is_ascii_lowercase() && self.strong_starts >> (letter - b'a') & 1 == 1
    }

    fn add_row(&mut self, row: &str) -> Result<(), String> {
        let columns: Vec<&str> = row.split('\t').collect();
        let [terms, category, severity, sense, flags] =
            columns.get(..5).and_then(|c| <[&str; 5]>::try_from(c).ok()).ok_or("five columns are needed")?;
        let flag = |name: &str| flags.split(',').any(|flag| flag == name);
        if let Some(unknown) = flags.split(',').find(|flag| !["s", "in", "int", "name", "med", "co", "-"].contains(flag)) {
            return Err(format!("flag {unknown} is unknown"));
        }
        let sense = parse_sense(sense).ok_or_else(|| format!("sense {sense} is unknown"))?;
        if sense == Sense::Safe {
            for term in terms.split('|') {
                match term.strip_suffix('*') {
                    Some(stem) => self.safe_stems.push(stem.to_owned()),
                    None => drop(self.safe.insert(term.to_owned())),
                }
            }
            return Ok(());
        }
        let entry = self.entries.len() as u32;
        self.entries.push(Entry {
            category: parse_category(category).ok_or_else(|| format!("category {category} is unknown"))?,
            severity: severity
                .parse()
                .ok()
                .filter(|s| (0.0..=1.0).contains(s))
                .ok_or_else(|| format!("severity {severity} is not in 0..=1"))?,
            sense,
            strong: flag("in"),
            intensifier: flag("int"),
            name: flag("name"),
            medical: flag("med"),
            company: flag("co") || sense == Sense::Epithet,
            cleared_by: columns
                .get(5)
                .into_iter()
                .flat_map(|list| list.split(','))
                .map(|word| word.trim().to_owned())
                .filter(|w| !w.is_empty())
                .collect(),
        });
        for term in terms.split('|') {
            if term.is_empty() || !term.bytes().all(|b| b.is_ascii_lowercase() || b" -*".contains(&b)) {
                return Err(format!("{term:?} is not spelled in a-z, space, - and *"));
            }
            if flag("in") {
                self.strong_starts |= 1 << (term.as_bytes()[0] - b'a');
            }
            self.insert(term.to_owned(), entry, false);
            if flag("s") {
                self.insert(plural(term), entry, false);
            }
        }
        Ok(())
    }

    /// The first row that has a spelling keeps it, unless `replace`.
    fn insert(&mut self, text: String, entry: u32, replace: bool) {
        let mut at = 0u32;
        for letter in text.bytes() {
            at = match self.child(at, letter) {
                Some(child) => child,
                None => {
                    let new = self.nodes.len() as u32;
                    let sibling = self.node(at).child;
                    self.nodes.push(Node { letter, child: NONE, sibling, form: NONE });
                    self.nodes[at as usize].child = new;
                    new
                }
            };
        }
        if replace || self.node(at).form == NONE {
            self.nodes[at as usize].form = self.forms.len() as u32;
            let phrase = text.contains(' ');
            self.forms.push(Form { text, entry, phrase });
        }
    }
}

/// Small letters a-z of a text, its words separated by single spaces.
pub fn plain(text: &str) -> String {
    let words = text
        .split_whitespace()
        .map(|word| word.chars().map(crate::fold::fold).filter(|f| f.letter != 0).map(|f| f.letter as char).collect());
    words.filter(|word: &String| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn plural(term: &str) -> String {
    if term.ends_with(['s', 'x', 'z']) || term.ends_with("ch") || term.ends_with("sh") {
        format!("{term}es")
    } else if let Some(stem) = term.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o'])) {
        format!("{stem}ies")
    } else {
        format!("{term}s")
    }
}

fn rows(data: &str) -> impl Iterator<Item = (usize, &str)> {
    data.lines().enumerate().map(|(at, row)| (at + 1, row)).filter(|(_, row)| !row.trim().is_empty() && !row.starts_with('#'))
}

fn parse_sense(name: &str) -> Option<Sense> {
    Some(match name {
        "vulgar" => Sense::Vulgar,
        "insult" => Sense::Insult,
        "slur" => Sense::Slur,
        "claimed" => Sense::Claimed,
        "soft" => Sense::Soft,
        "epithet" => Sense::Epithet,
        "mild" => Sense::Mild,
        "fixed" => Sense::Fixed,
        "safe" => Sense::Safe,
        _ => return None,
    })
}

fn parse_category(name: &str) -> Option<Category> {
    Some(match name {
        "profanity" => Category::Profanity,
        "slur" => Category::Slur,
        "sexual" => Category::Sexual,
        "threat" => Category::Threat,
        "harassment" => Category::Harassment,
        "self-harm" => Category::SelfHarm,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_data_parses() {
        let lexicon = Lexicon::parse(WORDS, CUES).unwrap();
        assert!(lexicon.forms.len() > 500 && lexicon.cues("you") & cue::SECOND != 0);
        assert!(lexicon.is_safe("scunthorpe") && lexicon.is_safe("sniggering"));
    }

    #[test]
    fn a_fault_names_its_line() {
        let fault = Lexicon::parse("# head\nfoo\tprofanity\t2\tvulgar\t-\n", "").unwrap_err();
        assert_eq!((fault.line, fault.fault.as_str()), (2, "severity 2 is not in 0..=1"));
        assert!(Lexicon::parse("foo\tprofanity\t1\tvulgar\tnonsense\n", "").is_err());
        assert!(Lexicon::parse("", "nonsense\tyou\n").is_err());
    }
}
