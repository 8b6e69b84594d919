//! A plain text to the words that a text policy judges, and back to the places in the text. Pure; used where text is typed or read from
//! a file. A plugin is given words and needs none of this. Spans are in bytes of the text and never cut a character.

use std::ops::Range;

/// One word of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<'a> {
    pub text: &'a str,
    /// Bytes of the text.
    pub start: usize,
    pub end: usize,
}

/// The words of a text: what white space separates, and what is left of HTML in scraped texts (`&amp;`, `&#8220;`).
pub fn split(text: &str) -> Vec<Span<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let entity = if c == '&' { entity_len(&text[at..]) } else { 0 };
        if entity > 0 || c.is_whitespace() {
            words.extend(start.take().map(|from| span(text, from, at)));
        } else if start.is_none() {
            start = Some(at);
        }
        at += entity.max(c.len_utf8());
    }
    words.extend(start.map(|from| span(text, from, text.len())));
    words
}

fn span(text: &str, start: usize, end: usize) -> Span<'_> {
    Span { text: &text[start..end], start, end }
}

/// Bytes of the HTML entity that `text` begins with; 0 if it begins with none.
fn entity_len(text: &str) -> usize {
    const ENTITY_BYTES_MAX: usize = 10;
    let Some(end) = text.bytes().take(ENTITY_BYTES_MAX).position(|byte| byte == b';') else { return 0 };
    let name = &text[1..end];
    let number = name.strip_prefix('#').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if number || matches!(name, "amp" | "lt" | "gt" | "quot" | "nbsp" | "apos") { end + 1 } else { 0 }
}

/// The bytes of the text that words `first .. first + count` take, from the first's start to the last's end; none if there are no such
/// words.
pub fn place(words: &[Span<'_>], first: u32, count: u32) -> Option<Range<usize>> {
    let first = first as usize;
    let last = first.checked_add(count as usize)?.checked_sub(1).filter(|&last| last >= first)?;
    Some(words.get(first)?.start..words.get(last)?.end)
}

/// Words as they may be shown: the first letter, stars for the other letters and digits, the rest as it stands (`f***!`, `f * * *`). What
/// would stand as before (a single letter, signs, a picture) is stars throughout.
pub fn mask(words: &str) -> String {
    let mut shown = false;
    let star = |c: char| match c.is_alphanumeric() {
        true if std::mem::replace(&mut shown, true) => '*',
        _ => c,
    };
    let masked: String = words.chars().map(star).collect();
    if masked != words { masked } else { words.chars().map(|c| if c.is_whitespace() { c } else { '*' }).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_and_entities() {
        let words = |text| split(text).into_iter().map(|word| word.text).collect::<Vec<_>>();
        assert_eq!(words("  a\u{a0}b &amp; c&#8220;d&x e "), ["a", "b", "c", "d&x", "e"]);
        assert_eq!(words(" "), Vec::<&str>::new());
    }

    #[test]
    fn places_and_masks() {
        let words = split("so f u c k that");
        assert_eq!(place(&words, 1, 4), Some(3..10));
        assert_eq!((place(&words, 1, 0), place(&words, 5, 2), place(&words, u32::MAX, u32::MAX)), (None, None, None));
        assert_eq!((mask("Fuck!").as_str(), mask("«été»").as_str(), mask("--").as_str()), ("F***!", "«é**»", "**"));
        assert_eq!((mask("f u c k").as_str(), mask("x").as_str(), mask("🖕 🖕").as_str()), ("f * * *", "*", "* *"));
    }

    proptest! {
        #[test]
        fn words_lie_in_order_where_they_say(text in ".{0,80}") {
            let mut last = 0;
            for word in split(&text) {
                prop_assert!(word.start >= last && word.end > word.start);
                prop_assert_eq!(&text[word.start..word.end], word.text);
                last = word.end;
            }
            prop_assert_eq!(mask(&text).chars().count(), text.chars().count());
        }
    }
}
