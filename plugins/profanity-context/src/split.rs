//! A plain text to words, as the core reads them.

/// Words of a text with their places in it, in bytes: separated by white space, and by what is left of HTML in scraped texts
/// (`&amp;`, `&#8220;`).
pub fn split(text: &str) -> Vec<(std::ops::Range<usize>, &str)> {
    let mut words = Vec::new();
    let mut start = None;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let entity = if c == '&' { entity_len(&text[at..]) } else { 0 };
        if entity > 0 || c.is_whitespace() {
            if let Some(from) = start.take() {
                words.push((from..at, &text[from..at]));
            }
        } else if start.is_none() {
            start = Some(at);
        }
        at += entity.max(c.len_utf8());
    }
    if let Some(from) = start {
        words.push((from..at, &text[from..]));
    }
    words
}

/// Bytes of the HTML entity that `text` begins with, 0 if it begins with none.
fn entity_len(text: &str) -> usize {
    let Some(end) = text.bytes().take(10).position(|b| b == b';') else { return 0 };
    let name = &text[1..end];
    let number = name.strip_prefix('#').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric()));
    if number || matches!(name, "amp" | "lt" | "gt" | "quot" | "nbsp" | "apos") { end + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_and_entities() {
        let words = |text| split(text).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
        assert_eq!(words("  a\u{a0}b &amp; c&#8220;d&x e "), ["a", "b", "c", "d&x", "e"]);
        assert_eq!(words(""), Vec::<&str>::new());
    }

    proptest! {
        #[test]
        fn places_are_where_the_words_are(text in ".{0,80}") {
            let mut last = 0;
            for (place, word) in split(&text) {
                prop_assert!(place.start >= last && !word.is_empty());
                prop_assert_eq!(&text[place.clone()], word);
                last = place.end;
            }
        }
    }
}
