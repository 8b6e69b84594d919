//! What a line says, from the recognition network's answer: for each step along the line, the chance of each character. Pure.
//!
//! The network was trained by CTC (Graves and others, 2006): of each step the likeliest symbol counts, repetitions are one, and a blank
//! separates. Where a symbol stands in the steps is where it stands in the line.

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

/// The steps of a character lie within it, not at its edges, so a word reaches on both sides by half of what its characters are apart, but
/// not beyond the middle of the space beside it.
fn word(all: &[Character], range: std::ops::Range<usize>) -> Span {
    let own = &all[range.clone()];
    let (first, last) = (own[0].centre(), own[own.len() - 1].centre());
    let low = range.start.checked_sub(1).map_or(0.0, |space| all[space].centre());
    let high = all.get(range.end).map_or(1.0, Character::centre);
    let pitch = if own.len() > 1 { (last - first) / (own.len() - 1) as f32 } else { high - low };
    Span {
        text: own.iter().map(|character| character.text).collect(),
        confidence: mean(own),
        from: (own[0].from.min(first - pitch / 2.0)).clamp(low, high),
        to: (own[own.len() - 1].to.max(last + pitch / 2.0)).clamp(low, high),
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
    fn a_words_area_is_where_its_characters_stand() {
        let reading = read(&chances("--a-b-c-  --a-b-c---", 0.9), &alphabet(), 1.0);
        let [first, second] = &reading.words[..] else { panic!("{reading:?}") };
        assert!(first.from <= 0.1 && first.to >= 0.35 && first.to <= 0.45, "{first:?}");
        assert!(second.from >= 0.45 && second.from <= 0.6 && second.to >= 0.85 && second.to <= 0.95, "{second:?}");
        // Where the last steps are padding, the same steps are further along the line.
        let padded = read(&chances("--a-b-c-  --a-b-c---", 0.9), &alphabet(), 0.95);
        assert!((padded.words[0].to - first.to / 0.95).abs() < 0.01 && (padded.words[1].from - second.from / 0.95).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn words_are_in_order_apart_and_inside(steps in "[-abc ]{1,60}") {
            let reading = read(&chances(&steps, 0.7), &alphabet(), 1.0);
            prop_assert!((0.0..=1.0).contains(&reading.confidence));
            let mut reached = 0.0;
            for word in &reading.words {
                prop_assert!(word.from >= reached && word.to > word.from && word.to <= 1.0, "{reading:?}");
                prop_assert!(!word.text.is_empty() && !word.text.contains(' '));
                reached = word.to;
            }
            // What CTC collapses to, worked out another way.
            let mut collapsed: Vec<char> = steps.chars().collect();
            collapsed.dedup();
            let text: String = collapsed.into_iter().filter(|symbol| *symbol != '-').collect();
            prop_assert_eq!(texts(&reading), text.split_whitespace().collect::<Vec<_>>());
        }
    }
}
