//! Which characters look like a letter a-z, computed from Unicode's own data: the compatibility decomposition, its marks left out (accents,
//! styles, circles), and the skeleton of UTS #39 (letters of other scripts). Run by `build.rs`; the crate carries the table. Both tables
//! of Unicode are under the Unicode License v3.

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Code and letter, in the order of the codes.
static TABLE: LazyLock<Vec<(u32, u8)>> = LazyLock::new(|| {
    let codes = (0x80..0x2_0000u32).filter_map(char::from_u32).filter(|&c| !written_by_many(c));
    codes.filter_map(|c| Some((c as u32, letter(c)?))).collect()
});

/// The letter that `code` looks like.
pub fn lookalike(code: u32) -> Option<u8> {
    TABLE.binary_search_by_key(&code, |&(code, _)| code).ok().map(|at| TABLE[at].1)
}

/// The table as Rust: `code << 8 | letter`, sorted.
pub fn constants() -> String {
    let rows: Vec<String> = TABLE.iter().map(|&(code, letter)| format!("{:#x}", code << 8 | u32::from(letter))).collect();
    format!("pub static TABLE: &[u32] = &[\n{}\n];\n", rows.join(",\n"))
}

fn letter(c: char) -> Option<u8> {
    let bare = |text: &mut dyn Iterator<Item = char>| {
        let mut letters = text.filter(|&c| !is_combining_mark(c));
        let first = letters.next()?;
        letters.next().is_none().then_some(first)
    };
    let decomposed = bare(&mut c.nfkd())?;
    let seen = match decomposed {
        seen if seen.is_ascii() => seen,
        seen => {
            let alone = seen.to_string();
            bare(&mut unicode_security::skeleton(&alone)).filter(|c| c.is_ascii_alphabetic())?
        }
    };
    seen.is_ascii_alphabetic().then(|| seen.to_ascii_lowercase() as u8)
}

/// Scripts that are written and read for themselves, in which a likeness to a Latin letter is chance: Hebrew and Arabic, Hangul, kana, Han.
fn written_by_many(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{1100}'..='\u{11ff}' | '\u{3040}'..='\u{9fff}' | '\u{ac00}'..='\u{d7ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}')
}
