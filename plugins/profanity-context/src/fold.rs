//! One character to what a reader sees in it: a plain letter, a stand-in for one, a mask, a separator, or nothing at all.
//! Pure tables; every character has an answer.

use crate::confusables;

/// What a character is to the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads as a letter.
    Letter,
    /// A digit that can stand for a letter.
    Digit,
    /// A sign that can stand for a letter (`@`, `$`, `!`).
    Sign,
    /// Hides any letter (`*`, `#`).
    Mask,
    /// Stands between letters: hyphen, dot, and every other sign.
    Separator,
    Apostrophe,
    /// A letter of another script, which among Latin ones hides one of them, or a digit that stands for none.
    Other,
    /// A boundary of words.
    Gap,
    /// The end of what may be read together.
    Wall,
    /// Not seen by a reader: zero-width, bidi control, combining mark.
    Invisible,
}

/// A folded character. `letter` and `alternative` are `b'a'..=b'z'`, or 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    pub kind: Kind,
    pub letter: u8,
    pub alternative: u8,
    /// Not the plain ASCII letter: someone took trouble to write it.
    pub disguised: bool,
}

/// Right-to-left override: what follows is shown backwards.
pub const RIGHT_TO_LEFT_OVERRIDE: char = '\u{202e}';

const fn folded(kind: Kind, letter: u8, alternative: u8, disguised: bool) -> Folded {
    Folded { kind, letter, alternative, disguised }
}

/// What a reader sees in `c`.
pub fn fold(c: char) -> Folded {
    match c {
        'a'..='z' => folded(Kind::Letter, c as u8, 0, false),
        'A'..='Z' => folded(Kind::Letter, c.to_ascii_lowercase() as u8, 0, false),
        '0' => folded(Kind::Digit, b'o', 0, true),
        '1' => folded(Kind::Digit, b'i', b'l', true),
        '3' => folded(Kind::Digit, b'e', 0, true),
        '4' => folded(Kind::Digit, b'a', 0, true),
        '5' => folded(Kind::Digit, b's', 0, true),
        '6' | '9' => folded(Kind::Digit, b'g', 0, true),
        '7' => folded(Kind::Digit, b't', 0, true),
        '8' => folded(Kind::Digit, b'b', 0, true),
        '2' => folded(Kind::Other, 0, 0, false),
        '@' => folded(Kind::Sign, b'a', 0, true),
        '$' | '§' => folded(Kind::Sign, b's', 0, true),
        '!' | '¡' => folded(Kind::Sign, b'i', 0, true),
        '|' => folded(Kind::Sign, b'i', b'l', true),
        '€' => folded(Kind::Sign, b'e', 0, true),
        '£' => folded(Kind::Sign, b'l', 0, true),
        '¥' => folded(Kind::Sign, b'y', 0, true),
        '¢' => folded(Kind::Sign, b'c', 0, true),
        '+' => folded(Kind::Sign, b't', 0, true),
        '*' | '#' | '%' | '&' | '^' => folded(Kind::Mask, 0, 0, true),
        '\'' | '\u{2019}' | '\u{2018}' | '`' | '´' => folded(Kind::Apostrophe, 0, 0, false),
        _ if c.is_ascii() => folded(if c.is_whitespace() { Kind::Gap } else { Kind::Separator }, 0, 0, false),
        _ => fold_beyond_ascii(c),
    }
}

fn fold_beyond_ascii(c: char) -> Folded {
    if invisible(c) {
        return folded(Kind::Invisible, 0, 0, true);
    }
    match lookalike(c) {
        Some(letter) => folded(Kind::Letter, letter, 0, true),
        None if c.is_whitespace() => folded(Kind::Gap, 0, 0, false),
        // The raised finger is a word of its own.
        None if c == '🖕' => folded(Kind::Other, 0, 0, false),
        None if c.is_alphanumeric() => folded(Kind::Other, 0, 0, true),
        None => folded(Kind::Separator, 0, 0, false),
    }
}

fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        // Combining marks.
        | '\u{300}'..='\u{34e}' | '\u{350}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20f0}' | '\u{fe20}'..='\u{fe2f}')
}

/// The squared letters and the regional indicators, which Unicode decomposes to nothing: the codes of their `A`.
const ALPHABETS: [u32; 4] = [0x1f130, 0x1f150, 0x1f170, 0x1f1e6];

/// What people write for a letter and Unicode's tables do not know as like it, or know as like another.
const LOOKALIKES: [(u8, &str); 26] = [
    (b'a', "àáâãäåāăąǎǟǡǻȁȃȧḁạảấầẩẫậắằẳẵặªÀÁÂÃÄÅĀĂĄǍẠẢẤẦАаΑαᴀɑⱥȺꭺ∂ᗩ"),
    (b'b', "ƀɓḃḅḇВвΒβʙьЬßƁḂᏴᗷбƄƅ"),
    (b'c', "çćĉċčƈȼСсϹϲᴄÇĆĈĊČⅽⅭᏟℂℭ"),
    (b'd', "ďđḋḍḏḑḓɗԁᴅĎĐḊḌⅾⅮᎠðÐ"),
    (b'e', "èéêëēĕėęěȅȇȩḕḗẹẻẽếềểễệЕеЁёΕεεᴇÈÉÊËĒĔĖĘĚẸẺẼєЄℯℰ∈ɛəЭэ"),
    (b'f', "ƒḟꜰϝғҒᖴℱſ"),
    (b'g', "ĝğġģǧǵḡɡɢĜĞĠĢԌցℊ"),
    (b'h', "ĥħȟḣḥḧḩḫНнΗʜһҺĤĦⱨℎℋℌℍᏂ"),
    (b'i', "ìíîïĩīĭįıǐȉȋḭḯỉịІіЇїΙιɪÌÍÎÏĨĪĬĮİⅰⅠӏӀℐℑ"),
    (b'j', "ĵǰȷɉЈјϳᴊĴ"),
    (b'k', "ķĸƙǩḱḳḵКкΚκᴋĶКⱪҚқK"),
    (b'l', "ĺļľŀłḷḹḻḽʟĹĻĽŁⅼⅬℓℒ"),
    (b'm', "ḿṁṃМмΜᴍⅿⅯℳ"),
    (b'n', "ñńņňŉǹṅṇṉṋΝɴÑŃŅŇпИиηŋΠȠℕ"),
    (b'o', "òóôõöøōŏőơǒǫǭǿȍȏȫȭȯȱṍṏṑṓọỏốồổỗộớờởỡợОоΟοᴏÒÓÔÕÖØŌŎŐỌσθ◯○●ºОℴ"),
    (b'p', "ṕṗƥРрΡρᴘÞþⲣℙ"),
    (b'q', "ɋʠԛℚ"),
    (b'r', "ŕŗřȑȓṙṛṝṟʀгГŔŖŘяЯℛℜℝᴦ"),
    (b's', "śŝşšșṡṣṥṧṩЅѕꜱŚŜŞŠȘƽ"),
    (b't', "ţťŧțṫṭṯṱẗТтΤτᴛŢŤŦȚ†"),
    (b'u', "ùúûüũūŭůűųưǔǖǘǚǜȕȗṳṵṷṹṻụủứừửữựᴜÙÚÛÜŨŪŬŮŰŲυцЦսμµʊ∪"),
    (b'v', "ṽṿνѵᴠⅴⅤ∨Ѵ"),
    (b'w', "ŵẁẃẅẇẉẘԝᴡŴωшШщѡ"),
    (b'x', "ẋẍХхΧχⅹⅩ×"),
    (b'y', "ýÿŷȳẏẙỳỵỷỹУуΥγʏÝŸŶүҮў"),
    (b'z', "źżžẑẓẕƶΖᴢŹŻŽℤ"),
];

fn lookalike(c: char) -> Option<u8> {
    let code = c as u32;
    if let Some(first) = ALPHABETS.iter().find(|&&first| (first..first + 26).contains(&code)) {
        return Some(b'a' + (code - first) as u8);
    }
    HAND.binary_search_by_key(&code, |&(code, _)| code).ok().map(|at| HAND[at].1).or_else(|| confusables::lookalike(code))
}

/// [`LOOKALIKES`] by code.
static HAND: std::sync::LazyLock<Vec<(u32, u8)>> = std::sync::LazyLock::new(|| {
    let mut table: Vec<(u32, u8)> = LOOKALIKES.iter().flat_map(|&(letter, all)| all.chars().map(move |c| (c as u32, letter))).collect();
    table.sort_unstable();
    table.dedup_by_key(|&mut (code, _)| code);
    table
});

/// Words of any script as hashes: what looks alike has the same. Separators and what is not seen do not count, nor does stretching.
pub mod key {
    use super::{Kind, fold};

    /// The hash of no letters.
    pub const START: u64 = 0xcbf2_9ce4_8422_2325;

    /// One step of FNV-1a, of 64 bits: with 32 a word of the dictionary met a German one.
    pub fn feed(hash: u64, letter: char) -> u64 {
        (hash ^ letter as u64).wrapping_mul(0x0100_0000_01b3)
    }

    /// Longest word that has letters here, in letters; of a longer one there are none.
    pub const LETTERS_MAX: usize = 40;

    /// The letters that the hash is made of: three and more of one in a row are one.
    pub fn letters(word: &str) -> impl Iterator<Item = char> {
        let (mut all, mut len, mut run) = (['\0'; LETTERS_MAX], 0, 1);
        let mut before = None;
        for c in word.trim_matches(|c: char| !c.is_alphanumeric() && fold(c).kind != Kind::Other).chars() {
            let folded = fold(c);
            let small = c.to_lowercase().next();
            let letter = match folded.kind {
                Kind::Other => small,
                _ => (folded.letter != 0).then_some(folded.letter as char),
            };
            let Some(letter) = letter else { continue };
            run = if small == before { run + 1 } else { 1 };
            before = small;
            match run {
                3 => len -= 1,
                4.. => {}
                _ if len == LETTERS_MAX => {
                    len = 0;
                    break;
                }
                _ => {
                    all[len] = letter;
                    len += 1;
                }
            }
        }
        all.into_iter().take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        text.chars().map(fold).filter(|f| f.letter != 0).map(|f| f.letter as char).collect()
    }

    #[test]
    fn alphabets_read_as_plain_letters() {
        for text in
            ["fuck", "FUCK", "ｆｕｃｋ", "𝐟𝐮𝐜𝐤", "𝕗𝕦𝕔𝕜", "𝓯𝓾𝓬𝓴", "ⓕⓤⓒⓚ", "🅵🆄🅲🅺", "🇫🇺🇨🇰", "ꜰᴜᴄᴋ", "fùčķ", "fu\u{200b}c\u{300}k", "ғцск"]
        {
            assert_eq!(read(text), "fuck", "{text}");
        }
        assert_eq!(read("5h1+"), "shit");
        assert_eq!(read("日本"), "");
    }

    #[test]
    fn words_of_any_script_have_letters() {
        for (word, letters) in [("Pu-ta!!", "puta"), ("mooose", "mose"), ("moose", "moose"), ("\u{200b}日本", "日本"), ("aaaaab", "ab")]
        {
            assert_eq!(key::letters(word).collect::<String>(), letters, "{word}");
        }
        assert_eq!(key::letters(&"ab".repeat(40)).count(), 0);
    }

    #[test]
    fn the_repeated_alphabets_end_where_unicode_ends_them() {
        assert_eq!(fold('ｚ').letter, b'z');
        assert_eq!(fold('\u{ff5b}').kind, Kind::Separator);
        assert_eq!(fold('𝚣').letter, b'z');
    }
}
