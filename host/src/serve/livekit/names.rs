//! Display names: what may be one, and which look alike. Pure.
//!
//! What a name says is the room's text policy's business; here it is about how it is written: nothing that can't be seen, nothing that turns
//! the text around it, and no two names that a reader would take for one another.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_security::confusable_detection::skeleton;

/// Characters of a display name.
pub const CHARS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name needs at least one character that can be seen: give 1 to {CHARS_MAX}")]
    Empty,
    #[error("the name has {0} characters: give 1 to {CHARS_MAX}")]
    Long(usize),
    /// Its code point alone: the character itself would turn the message around.
    #[error("character {at} of the name (U+{code:04X}) is {what}: leave it out")]
    Character { at: usize, code: u32, what: &'static str },
}

/// The name as others see it: trimmed, in Unicode's normal form C.
///
/// # Errors
/// When it is empty or too long, or has a character that can't be seen or that changes how its neighbours are shown.
pub fn display_name(given: &str) -> Result<String, NameError> {
    for (at, c) in given.trim().chars().enumerate() {
        if let Some(what) = unseen(c) {
            return Err(NameError::Character { at: at + 1, code: c.into(), what });
        }
    }
    let name: String = given.trim().nfc().collect();
    match name.chars().count() {
        0 => Err(NameError::Empty),
        count if count > CHARS_MAX => Err(NameError::Long(count)),
        _ if looks(&name).is_empty() => Err(NameError::Empty),
        _ => Ok(name),
    }
}

/// What a character is that no name may have.
fn unseen(c: char) -> Option<&'static str> {
    match c.general_category() {
        GeneralCategory::Control => Some("a control character"),
        GeneralCategory::Format => Some("a format character, which is not seen and may turn the text around it"),
        GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => Some("a line's end"),
        GeneralCategory::PrivateUse | GeneralCategory::Unassigned | GeneralCategory::Surrogate => Some("no character that has a meaning"),
        // Letters and marks by category that are blank all the same.
        _ if matches!(
            c,
            '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{3164}' | '\u{FFA0}' | '\u{E0100}'
                ..='\u{E01EF}' | '\u{2800}'
        ) =>
        {
            Some("a character that is not seen")
        }
        _ => None,
    }
}

/// The same for names that a reader would take for one another, whatever their script, case and spaces (Unicode's UTS 39).
pub fn looks(name: &str) -> String {
    // Which of two pictures a sign is shown as says nothing of who bears it.
    let compatible: String = name.nfkc().filter(|c| !('\u{FE00}'..='\u{FE0F}').contains(c)).collect();
    let once: String = skeleton(&compatible).collect();
    let lower = once.to_lowercase();
    skeleton(&lower).filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_trimmed_and_composed() {
        assert_eq!(display_name("  Ann \n"), Ok("Ann".to_owned()));
        assert_eq!(display_name("Zoe\u{308}"), Ok("Zo\u{eb}".to_owned()));
        for fine in ["x", "李小龙", "Ольга", "محمد", "José 🎥", "I ❤\u{fe0f} it", &"a".repeat(64)] {
            assert_eq!(display_name(fine).as_deref(), Ok(fine));
        }
    }

    #[test]
    fn what_is_not_seen_is_told_by_its_place() {
        for (bad, at, code) in [
            ("An\u{202e}n", 3, 0x202e),
            ("\u{200b}Ann", 1, 0x200b),
            ("A\u{7}", 2, 7),
            ("a\u{2028}b", 2, 0x2028),
            ("a\u{3164}b", 2, 0x3164),
            ("a\u{e000}", 2, 0xe000),
        ] {
            let Err(NameError::Character { at: told, code: point, .. }) = display_name(bad) else { panic!("{bad:?} is taken") };
            assert_eq!((told, point), (at, code));
        }
        let error = display_name("An\u{202e}n").expect_err("turned around").to_string();
        assert!(error.contains("character 3") && error.contains("U+202E") && error.is_ascii(), "{error}");
        assert_eq!(display_name(" \t "), Err(NameError::Empty));
        assert_eq!(display_name("\u{fe0f}"), Err(NameError::Empty));
        assert_eq!(display_name(&"a".repeat(65)), Err(NameError::Long(65)));
    }

    #[test]
    fn names_that_read_alike_look_the_same() {
        for (one, two) in [("Ann", "ann"), ("Ann", "Аnn"), ("paypal", "рауpal"), ("Bill", "BiII"), ("Ann B", "AnnB"), ("Ａｎｎ", "Ann")]
        {
            assert_eq!(looks(one), looks(two), "{one} {two}");
        }
        for (one, two) in [("Ann", "Anna"), ("Bob", "Rob"), ("李", "季")] {
            assert_ne!(looks(one), looks(two), "{one} {two}");
        }
    }
}
