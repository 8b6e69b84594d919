//! Spellings that hide a word from a filter and not from a reader, made here: words × tricks. The rules were mended against it: it
//! says what must not get worse. What other packages' own tests hold is measured apart (`scrim-bench evasion`).

use profanity_context::config::Config;
use profanity_context::judge::{Judge, Said};

/// Words that nobody writes by chance.
const WORDS: [&str; 16] = [
    "fuck",
    "shit",
    "bitch",
    "cunt",
    "asshole",
    "faggot",
    "nigger",
    "motherfucker",
    "bullshit",
    "whore",
    "slut",
    "dickhead",
    "retard",
    "pussy",
    "fucking",
    "bastard",
];

type Trick = fn(&str) -> String;

fn spread(word: &str, by: &str) -> String {
    word.chars().map(String::from).collect::<Vec<_>>().join(by)
}

fn each(word: &str, change: impl Fn(char) -> char) -> String {
    word.chars().map(change).collect()
}

/// The letter of an alphabet that begins at `a`, such as the circled one.
fn alphabet(word: &str, a: u32) -> String {
    each(word, |c| char::from_u32(a + c as u32 - 'a' as u32).unwrap_or(c))
}

fn swap(word: &str, pairs: &[(char, char)]) -> String {
    each(word, |c| pairs.iter().find(|(from, _)| *from == c).map_or(c, |&(_, to)| to))
}

/// `with` after the first letter.
fn after_first(word: &str, with: &str) -> String {
    format!("{}{with}{}", &word[..1], &word[1..])
}

fn double_at(word: &str, at: usize, times: usize) -> String {
    format!("{}{}{}", &word[..at], word[at..=at].repeat(times), &word[at + 1..])
}

const TRICKS: [(&str, Trick); 34] = [
    ("as it is", |w| w.to_owned()),
    ("capitals", |w| w.to_uppercase()),
    ("turns of case", |w| w.chars().enumerate().map(|(at, c)| if at % 2 == 0 { c } else { c.to_ascii_uppercase() }).collect()),
    ("dots", |w| spread(w, ".")),
    ("hyphens", |w| spread(w, "-")),
    ("underscores", |w| spread(w, "_")),
    ("spaces", |w| spread(w, " ")),
    ("wide spaces", |w| spread(w, "   ")),
    ("slashes", |w| spread(w, "/")),
    ("tildes", |w| spread(w, "~")),
    ("stars between", |w| spread(w, "*")),
    ("a letter of a script that hides it", |w| format!("{}\u{10d2}{}", &w[..w.len() - 2], &w[w.len() - 1..])),
    ("bullets", |w| spread(w, "•")),
    ("zero-width spaces", |w| spread(w, "\u{200b}")),
    ("zero-width joiners", |w| spread(w, "\u{200d}")),
    ("soft hyphen", |w| after_first(w, "\u{ad}")),
    ("word joiner", |w| after_first(w, "\u{2060}")),
    ("accents put on", |w| spread(w, "\u{301}")),
    ("struck through", |w| spread(w, "\u{336}")),
    ("right to left", |w| format!("\u{202e}{}\u{202c}", w.chars().rev().collect::<String>())),
    ("full width", |w| alphabet(w, 0xff41)),
    ("circled", |w| alphabet(w, 0x24d0)),
    ("bold", |w| alphabet(w, 0x1d41a)),
    ("fraktur", |w| alphabet(w, 0x1d586)),
    ("monospace", |w| alphabet(w, 0x1d68a)),
    ("squared", |w| alphabet(w, 0x1f130)),
    ("cyrillic", |w| swap(w, &[('a', 'а'), ('c', 'с'), ('e', 'е'), ('o', 'о'), ('i', 'і'), ('s', 'ѕ'), ('u', 'ц'), ('t', 'т')])),
    ("accented letters", |w| swap(w, &[('a', 'á'), ('c', 'ç'), ('e', 'é'), ('o', 'ö'), ('i', 'ï'), ('u', 'ü'), ('n', 'ñ')])),
    ("digits", |w| swap(w, &[('a', '4'), ('e', '3'), ('i', '1'), ('o', '0'), ('s', '5'), ('t', '7')])),
    ("signs", |w| swap(w, &[('a', '@'), ('i', '!'), ('s', '$'), ('t', '+')])),
    ("stretched", |w| double_at(w, 1, 5)),
    ("end stretched", |w| double_at(w, w.len() - 1, 4)),
    ("a star for a vowel", |w| match w[1..].find(['a', 'e', 'i', 'o', 'u']) {
        Some(at) => format!("{}*{}", &w[..=at], &w[at + 2..]),
        None => w.to_owned(),
    }),
    ("hashtag", |w| format!("#{}{}This", w[..1].to_uppercase(), &w[1..])),
];

const FRAMES: [&str; 3] = ["{}", "you are such a {} and everybody knows", "well, {}!"];

#[test]
fn what_a_reader_sees_is_found() {
    let judge = Judge::new(Config::default());
    let (mut all, mut missed) = (0, Vec::new());
    for word in WORDS {
        for (name, trick) in TRICKS {
            for frame in FRAMES {
                let text = frame.replace("{}", &trick(word));
                let words: Vec<&str> = text.split_whitespace().collect();
                all += 1;
                if judge.judge(Said { words: &words, ..Said::default() }).is_empty() {
                    missed.push(format!("{name}: {text}"));
                }
            }
        }
    }
    println!("{all} texts, {} missed", missed.len());
    assert!(all >= 400 && missed.len() * 50 <= all, "{} of {all} missed:\n{}", missed.len(), missed.join("\n"));
}
