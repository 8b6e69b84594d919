//! What two guesses at the same speech have in common. Pure.

use super::HeardWord;

/// At the seam between what is sure and a new guess, so many words may be heard twice.
const SEAM: usize = 4;

/// How many words the two begin with alike, whatever signs stand at them and however they are written.
pub fn shared(before: &[HeardWord], now: &[HeardWord]) -> usize {
    before.iter().zip(now).take_while(|(before, now)| same(&before.text, &now.text)).count()
}

/// The words of a guess that come after those that are sure.
pub fn beyond(sure: &[HeardWord], guess: Vec<HeardWord>) -> Vec<HeardWord> {
    let Some(last) = sure.last() else { return guess };
    let later = |word: &HeardWord| word.from.0 / 2 + word.to.0 / 2 >= last.to.0;
    let first = guess.iter().position(later).unwrap_or(guess.len());
    // Where the guess has the same words as what is sure, they end there, whatever the times say. The nearest such place counts.
    let ends = (first.saturating_sub(SEAM)..=(first + SEAM).min(guess.len())).filter(|end| {
        let tail = SEAM.min(sure.len()).min(*end);
        tail > 0 && shared(&sure[sure.len() - tail..], &guess[end - tail..*end]) == tail
    });
    let end = ends.min_by_key(|end| end.abs_diff(first)).unwrap_or(first);
    guess.into_iter().skip(end).collect()
}

fn same(one: &str, other: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = char> {
        text.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase)
    }
    letters(one).eq(letters(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::Micros;

    /// A word each 100 ms.
    fn said(text: &str, from: u64) -> Vec<HeardWord> {
        let word = |(at, text): (u64, &str)| HeardWord {
            text: text.to_owned(),
            confidence: 1.0,
            from: Micros::from_millis(from + at * 100),
            to: Micros::from_millis(from + at * 100 + 100),
        };
        (0..).zip(text.split(' ')).map(word).collect()
    }

    fn texts(words: &[HeardWord]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn signs_and_capitals_are_no_difference() {
        assert_eq!(shared(&said("Well, he said", 0), &said("well he says so", 0)), 2);
        assert_eq!(shared(&said("a b", 0), &said("b a b", 0)), 0);
    }

    #[test]
    fn what_is_sure_is_not_heard_twice() {
        let sure = said("so he said", 0);
        assert_eq!(texts(&beyond(&sure, said("so he said it all", 0))), ["it", "all"]);
        // Times that are off by a word do not matter while the words are the same.
        assert_eq!(texts(&beyond(&sure, said("so he said it all", 120))), ["it", "all"]);
        assert_eq!(texts(&beyond(&sure, said("he said it all", 0))), ["it", "all"]);
        // Other words: the times say what is new.
        assert_eq!(texts(&beyond(&sure, said("sew hay set it all", 0))), ["it", "all"]);
        assert_eq!(texts(&beyond(&[], said("so it", 0))), ["so", "it"]);
        assert_eq!(texts(&beyond(&sure, said("it all", 300))), ["it", "all"]);
    }

    #[test]
    fn a_word_that_is_said_again_is_said_again() {
        assert_eq!(texts(&beyond(&said("no no", 0), said("no no no no", 0))), ["no", "no"]);
    }
}
