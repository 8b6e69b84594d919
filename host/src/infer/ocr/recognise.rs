//! What a line says, from the recognition network's answer: for each step along the line, the chance of each character. Pure.
//!
//! The network was trained by CTC (Graves and others, 2006): of each step the likeliest symbol counts, repetitions are one, and a blank
//! separates. Where a symbol stands in the steps is where it stands in the line.

use std::ops::Range;

/// The network's symbols: a blank, the characters of its metadata, a space.
pub struct Alphabet {
    characters: Vec<String>,
}

impl Alphabet {
    /// From the metadata's `character`: one a line.
    pub fn parse(text: &str) -> Self {
        // Some "lines" of the dictionary are separators to Unicode, but not to those who wrote it.
        let characters = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned());
        let mut characters: Vec<String> = characters.collect();
        if characters.last().is_some_and(String::is_empty) {
            characters.pop();
        }
        Self { characters }
    }

    /// How many symbols the network's answer should have a step.
    pub fn symbols(&self) -> usize {
        self.characters.len() + 2
    }

    /// `None` for the blank.
    fn symbol(&self, index: usize) -> Option<&str> {
        match index {
            0 => None,
            _ => Some(self.characters.get(index - 1).map_or(" ", String::as_str)),
        }
    }
}

/// A line as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub words: Vec<Span>,
    /// Mean of the characters', 0..=1; 0 if there are none.
    pub confidence: f32,
}

/// A word, between two shares of the line's length.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub text: String,
    /// Mean of the characters', 0..=1.
    pub confidence: f32,
    pub from: f32,
    pub to: f32,
}

/// A character; where its steps begin and end, as shares of the line.
struct Character<'a> {
    text: &'a str,
    confidence: f32,
    from: f32,
    to: f32,
}

impl Character<'_> {
    fn centre(&self) -> f32 {
        f32::midpoint(self.from, self.to)
    }

    fn is_space(&self) -> bool {
        self.text.chars().all(char::is_whitespace)
    }
}

/// Reads `chances`, one row of [`Alphabet::symbols`] values a step. The line takes up the first `used` (0..=1) of the steps.
pub fn read(chances: &[f32], alphabet: &Alphabet, used: f32) -> Reading {
    let characters = characters(chances, alphabet, used);
    let mut words = Vec::new();
    let mut begin = 0;
    for (end, apart) in characters.iter().map(Character::is_space).chain([true]).enumerate() {
        if apart {
            if begin < end {
                words.push(word(&characters, begin..end));
            }
            begin = end + 1;
        }
    }
    Reading { words, confidence: mean(&characters) }
}

fn characters<'a>(chances: &[f32], alphabet: &'a Alphabet, used: f32) -> Vec<Character<'a>> {
    let steps = chances.len() / alphabet.symbols();
    let share = |step: usize| (step as f32 / (steps as f32 * used)).min(1.0);
    let mut characters: Vec<Character> = Vec::new();
    let mut before = 0;
    for (step, chances) in chances.chunks_exact(alphabet.symbols()).enumerate() {
        let (best, chance) = likeliest(chances);
        match (alphabet.symbol(best), characters.last_mut()) {
            (Some(_), Some(last)) if best == before => last.to = share(step + 1),
            (Some(text), _) => characters.push(Character { text, confidence: chance, from: share(step), to: share(step + 1) }),
            (None, _) => {}
        }
        before = best;
    }
    characters
}

fn likeliest(chances: &[f32]) -> (usize, f32) {
    let most = chances.iter().copied().fold(f32::MIN, f32::max);
    (chances.iter().position(|&chance| chance == most).unwrap_or(0), most)
}

fn mean(characters: &[Character]) -> f32 {
    let sum: f32 = characters.iter().map(|character| character.confidence).sum();
    if characters.is_empty() { 0.0 } else { sum / characters.len() as f32 }
}

/// How far a word reaches beyond the centres of its outer characters, in units of what characters are apart: somewhat more than half.
const REACH: f32 = 0.65;

/// The steps of a character lie within it, not at its edges, and now and then a little aside. So a word reaches beyond its outer ones, but
/// not over its neighbours' letters.
fn word(all: &[Character], range: Range<usize>) -> Span {
    let own = &all[range.clone()];
    let letters =
        |characters: &[Character]| characters.iter().filter(|character| !character.is_space()).map(Character::centre).collect::<Vec<_>>();
    let before = letters(&all[..range.start]).last().copied().unwrap_or(0.0);
    let after = letters(&all[range.end..]).first().copied().unwrap_or(1.0);
    let pitch = if own.len() > 1 { pitch(own).max(pitch(all)) } else { pitch(all) };
    let reach = REACH * pitch;
    Span {
        text: own.iter().map(|character| character.text).collect(),
        confidence: mean(own),
        from: own[0].from.min(own[0].centre() - reach).max(before),
        to: own[own.len() - 1].to.max(own[own.len() - 1].centre() + reach).min(after),
    }
}

/// What characters are apart in the mean; one alone has all the room there is.
fn pitch(characters: &[Character]) -> f32 {
    match characters {
        [first, .., last] => (last.centre() - first.centre()) / (characters.len() - 1) as f32,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alphabet() -> Alphabet {
        Alphabet::parse("a\nb\nc\n")
    }

    /// Steps of one sure symbol each: `-` is the blank.
    fn chances(steps: &str, sure: f32) -> Vec<f32> {
        steps
            .chars()
            .flat_map(|symbol| {
                let index = "-abc ".find(symbol).unwrap();
                (0..5).map(move |i| if i == index { sure } else { (1.0 - sure) / 4.0 })
            })
            .collect()
    }

    fn texts(reading: &Reading) -> Vec<&str> {
        reading.words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn repetitions_are_one_and_blanks_separate() {
        assert_eq!(alphabet().symbols(), 5);
        assert_eq!(texts(&read(&chances("aab-b--c", 0.9), &alphabet(), 1.0)), ["abbc"]);
        let reading = read(&chances("-a- -bb--c ", 0.8), &alphabet(), 1.0);
        assert_eq!(texts(&reading), ["a", "bc"]);
        assert!((reading.confidence - 0.8).abs() < 1e-6);
        assert_eq!(read(&chances("----", 0.9), &alphabet(), 1.0), Reading::default());
        assert_eq!(texts(&read(&chances("  - ", 0.9), &alphabet(), 1.0)), [""; 0]);
    }

    #[test]
    fn a_lone_letter_is_as_wide_as_its_surroundings_allow() {
        let reading = read(&chances("-a-- -b-- -c--", 0.9), &alphabet(), 1.0);
        assert!(reading.words.iter().all(|word| (0.15..0.3).contains(&(word.to - word.from))), "{reading:?}");
        let alone = read(&chances("---a--", 0.9), &alphabet(), 1.0);
        assert_eq!((alone.words[0].from, alone.words[0].to), (0.0, 1.0));
    }

    #[test]
    fn a_words_area_is_where_its_characters_stand() {
        let reading = read(&chances("--a-b-c-  --a-b-c---", 0.9), &alphabet(), 1.0);
        let [first, second] = &reading.words[..] else { panic!("{reading:?}") };
        // Letters are at 0.125, 0.225, 0.325 and at 0.625, 0.725, 0.825.
        assert!(first.from <= 0.08 && first.to >= 0.37 && first.to <= 0.5, "{first:?}");
        assert!(second.from >= 0.45 && second.from <= 0.58 && second.to >= 0.87 && second.to < 1.0, "{second:?}");
        // Where the last steps are padding, the same steps are further along the line.
        let padded = read(&chances("--a-b-c-  --a-b-c---", 0.9), &alphabet(), 0.95);
        assert!((padded.words[0].to - first.to / 0.95).abs() < 0.01 && (padded.words[1].from - second.from / 0.95).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn words_are_in_order_apart_and_inside(steps in "[-abc ]{1,60}") {
            let reading = read(&chances(&steps, 0.7), &alphabet(), 1.0);
            prop_assert!((0.0..=1.0).contains(&reading.confidence));
            for word in &reading.words {
                prop_assert!(word.from >= 0.0 && word.to > word.from && word.to <= 1.0, "{reading:?}");
                prop_assert!(!word.text.is_empty() && !word.text.contains(' '));
            }
            // Neighbours may share the space between them, no more.
            for pair in reading.words.windows(2) {
                prop_assert!(pair[0].from < pair[1].from && pair[0].to < pair[1].to, "{reading:?}");
            }
            // What CTC collapses to, worked out another way.
            let mut collapsed: Vec<char> = steps.chars().collect();
            collapsed.dedup();
            let text: String = collapsed.into_iter().filter(|symbol| *symbol != '-').collect();
            prop_assert_eq!(texts(&reading), text.split_whitespace().collect::<Vec<_>>());
        }
    }
}
