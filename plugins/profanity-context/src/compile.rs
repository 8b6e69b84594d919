//! The lexicons' files, checked and laid out as Rust constants. Used by `build.rs`, and by the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;

use crate::{fold, trie};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Two letters of ISO 639-1.
    language: String,
    name: String,
    license: String,
    source: String,
    group: Vec<Group>,
    #[serde(default)]
    safe: Safe,
    #[serde(default)]
    cues: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    category: String,
    severity: f32,
    sense: String,
    #[serde(default)]
    flags: BTreeSet<String>,
    #[serde(default)]
    cleared_by: BTreeSet<String>,
    #[serde(default)]
    words: Vec<String>,
    /// Of other languages: beginnings of words.
    #[serde(default)]
    stems: Vec<String>,
    /// Of other languages: words that are harmless elsewhere.
    #[serde(default)]
    ambiguous: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Safe {
    words: BTreeSet<String>,
    stems: BTreeSet<String>,
    /// Parts of words.
    pieces: BTreeSet<String>,
}

/// Shortest stem; `lexicon::foreign` looks for none that is shorter.
const STEM_CHARS_MIN: usize = 4;
const FLAGS: [&str; 7] = ["plural", "inside", "intensifier", "name", "medical", "company", "spoken"];
const CATEGORIES: [(&str, &str); 6] = [
    ("profanity", "Profanity"),
    ("slur", "Slur"),
    ("sexual", "Sexual"),
    ("threat", "Threat"),
    ("harassment", "Harassment"),
    ("self-harm", "SelfHarm"),
];
const SENSES: [(&str, &str); 8] = [
    ("vulgar", "Vulgar"),
    ("insult", "Insult"),
    ("slur", "Slur"),
    ("claimed", "Claimed"),
    ("soft", "Soft"),
    ("epithet", "Epithet"),
    ("mild", "Mild"),
    ("fixed", "Fixed"),
];
/// Bit 0 first, as `lexicon::cue` has them.
const CUES: [&str; 15] = [
    "second", "third", "first", "be", "report", "condemn", "positive", "negative", "medical", "place", "short", "named", "play", "not",
    "intent",
];

/// What is collected on the way.
#[derive(Default)]
struct Out {
    entries: Vec<String>,
    /// Spelling, entry.
    forms: Vec<(String, usize)>,
    known: BTreeSet<String>,
    strong_starts: u32,
    /// Key, language, entry, ambiguous, stem.
    foreign: BTreeMap<(u64, usize, bool), (usize, bool)>,
    /// Code and name.
    languages: Vec<(String, String)>,
}

/// The constants of the lexicons in `files`, each a name and its text, as Rust.
///
/// # Errors
/// The first fault, with the file's name.
pub fn compile(files: &[(String, String)]) -> Result<String, String> {
    let (mut out, mut english) = (Out::default(), None);
    for (name, text) in files {
        let file: File = toml::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        let in_file = |fault: String| format!("{name}: {fault}");
        if file.name.is_empty() || file.license.is_empty() || file.source.is_empty() {
            return Err(in_file("name, licence and source are needed".into()));
        }
        if file.language.len() != 2 {
            return Err(in_file(format!("{:?} is not two letters of ISO 639-1", file.language)));
        }
        if file.language != "en" {
            out.languages.push((file.language.clone(), file.name.clone()));
        }
        for group in &file.group {
            out.group(group, &file.language).map_err(in_file)?;
        }
        if file.language == "en" {
            english = Some((cues(&file.cues).map_err(in_file)?, file.safe));
        }
    }
    let (cues, safe) = english.ok_or("no file has language = \"en\"")?;
    Ok(out.write(&safe, &cues))
}

fn named(names: &[(&str, &'static str)], name: &str) -> Result<&'static str, String> {
    names.iter().find(|(of, _)| *of == name).map(|&(_, variant)| variant).ok_or_else(|| format!("{name} is unknown"))
}

impl Out {
    fn group(&mut self, group: &Group, language: &str) -> Result<(), String> {
        if let Some(unknown) = group.flags.iter().find(|flag| !FLAGS.contains(&flag.as_str())) {
            return Err(format!("flag {unknown} is unknown"));
        }
        if !(0.0..=1.0).contains(&group.severity) {
            return Err(format!("severity {} is not in 0..=1", group.severity));
        }
        let flag = |name: &str| group.flags.contains(name);
        let entry = self.entries.len();
        self.entries.push(format!(
            "Entry {{ category: Category::{}, severity: {:?}, sense: Sense::{}, strong: {}, intensifier: {}, name: {}, medical: {}, \
             company: {}, spoken: {}, cleared_by: &{:?} }}",
            named(&CATEGORIES, &group.category)?,
            group.severity,
            named(&SENSES, &group.sense)?,
            flag("inside"),
            flag("intensifier"),
            flag("name"),
            flag("medical"),
            flag("company") || group.sense == "epithet",
            flag("spoken"),
            group.cleared_by.iter().collect::<Vec<_>>()
        ));
        if language != "en" {
            return self.foreign(group, entry);
        }
        for word in &group.words {
            if word.is_empty() || !word.bytes().all(|b| b.is_ascii_lowercase() || b" -*".contains(&b)) {
                return Err(format!("{word:?} is not spelled in a-z, space, - and *"));
            }
            if flag("inside") {
                self.strong_starts |= 1 << (word.as_bytes()[0] - b'a');
            }
            self.form(word.clone(), entry);
            if flag("plural") {
                self.form(plural(word), entry);
            }
        }
        Ok(())
    }

    /// The first group that has a spelling keeps it.
    fn form(&mut self, word: String, entry: usize) {
        if self.known.insert(word.clone()) {
            self.forms.push((word, entry));
        }
    }

    fn foreign(&mut self, group: &Group, entry: usize) -> Result<(), String> {
        let all = [(&group.words, false, false), (&group.stems, false, true), (&group.ambiguous, true, false)];
        for (words, ambiguous, stem) in all {
            for word in words {
                if word.contains(char::is_whitespace) || fold::key::letters(word).count() < if stem { STEM_CHARS_MIN } else { 1 } {
                    return Err(format!("{word:?} is no word, or too short a one"));
                }
                let key = fold::key::letters(word).fold(fold::key::START, fold::key::feed);
                self.foreign.entry((key, self.languages.len() - 1, stem)).or_insert((entry, ambiguous));
            }
        }
        Ok(())
    }

    fn write(&self, safe: &Safe, cues: &BTreeMap<String, u16>) -> String {
        let spellings: Vec<&str> = self.forms.iter().map(|(text, _)| text.as_str()).collect();
        let mut code = String::new();
        let mut list = |name: &str, kind: &str, rows: Vec<String>| {
            let _ = writeln!(code, "pub static {name}: &[{kind}] = &[\n{}\n];", rows.join(",\n"));
        };
        list("ENTRIES", "Entry", self.entries.clone());
        let form = |(text, entry): &(String, usize)| {
            format!("Form {{ text: Cow::Borrowed({text:?}), entry: {entry}, phrase: {} }}", text.contains(' '))
        };
        list("FORMS", "Form", self.forms.iter().map(form).collect());
        list("NODES", "Node", trie::build(&spellings).iter().map(|node| format!("{node:?}")).collect());
        let foreign = |(&(key, language, _), &(entry, ambiguous)): (&(u64, usize, bool), &(usize, bool))| {
            format!("Foreign {{ key: {key}, entry: {entry}, language: {language}, ambiguous: {ambiguous} }}")
        };
        for (name, stems) in [("FOREIGN", false), ("FOREIGN_STEMS", true)] {
            list(name, "Foreign", self.foreign.iter().filter(|((_, _, stem), _)| *stem == stems).map(foreign).collect());
        }
        list("LANGUAGES", "(&str, &str)", self.languages.iter().map(|language| format!("{language:?}")).collect());
        list("CUES", "(&str, u16)", cues.iter().map(|cue| format!("{cue:?}")).collect());
        // Where the words of each first letter begin, and at last where those of z end.
        let before = |letter: u8| cues.keys().take_while(|word| word.as_bytes()[0] < letter).count().to_string();
        list("CUE_STARTS", "u16", (b'a'..=b'z' + 1).map(before).collect());
        list("SAFE", "&str", safe.words.iter().map(|word| format!("{word:?}")).collect());
        // Of a stem and one that begins with it the shorter says it all, and a search need look at one neighbour.
        let shortest = |stem: &&String| !safe.stems.iter().any(|other| other != *stem && stem.starts_with(other.as_str()));
        list("SAFE_STEMS", "&str", safe.stems.iter().filter(shortest).map(|stem| format!("{stem:?}")).collect());
        list("SAFE_PIECES", "&str", safe.pieces.iter().map(|piece| format!("{piece:?}")).collect());
        let _ = writeln!(code, "pub const STRONG_STARTS: u32 = {};", self.strong_starts);
        code
    }
}

fn cues(classes: &BTreeMap<String, Vec<String>>) -> Result<BTreeMap<String, u16>, String> {
    let mut cues = BTreeMap::new();
    for (class, words) in classes {
        let bit = CUES.iter().position(|name| name == class).ok_or_else(|| format!("class {class} is unknown"))?;
        for word in words {
            if word.is_empty() || !word.bytes().all(|b| b.is_ascii_lowercase()) {
                return Err(format!("{word:?}, a word of class {class}, is not spelled in a-z"));
            }
            *cues.entry(word.clone()).or_insert(0) |= 1 << bit;
        }
    }
    Ok(cues)
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

#[cfg(test)]
mod tests {
    use super::compile;

    fn with(more: &str) -> Result<String, String> {
        let english = "language = \"en\"\nname = \"English\"\nlicense = \"MIT\"\nsource = \"a test\"\n";
        compile(&[("en.toml".into(), format!("{english}{more}"))])
    }

    fn group(more: &str) -> Result<String, String> {
        with(&format!("[[group]]\ncategory = \"slur\"\nseverity = 0.5\nsense = \"insult\"\n{more}"))
    }

    #[test]
    fn words_become_constants() {
        let code = group("words = [\"spy\", \"foo bar\"]\nflags = [\"plural\", \"inside\"]\n[cues]\nbe = [\"is\"]\n").unwrap();
        for piece in ["\"spies\"", "\"foo bars\"", "phrase: true", "strong: true", "(\"is\", 8)"] {
            assert!(code.contains(piece), "{piece} is missing in {code}");
        }
    }

    #[test]
    fn a_fault_names_its_file_and_word() {
        let faults = [
            (group("words = [\"Foo\"]"), "\"Foo\" is not spelled"),
            (group("words = []\nflags = [\"loud\"]"), "flag loud is unknown"),
            (with("[[group]]\ncategory = \"slur\"\nseverity = 2.0\nsense = \"insult\""), "severity 2 is not in 0..=1"),
            (with("[[group]]\ncategory = \"rude\"\nseverity = 1.0\nsense = \"insult\""), "rude is unknown"),
            (with("group = []\n[cues]\nbeing = [\"is\"]"), "class being is unknown"),
            (with("colour = 1"), "colour"),
        ];
        for (compiled, fault) in faults {
            let told = compiled.unwrap_err();
            assert!(told.starts_with("en.toml: ") && told.contains(fault), "{told}");
        }
        assert_eq!(compile(&[]).unwrap_err(), "no file has language = \"en\"");
    }
}
