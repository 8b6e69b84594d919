//! Tokens to text: the byte-level pieces of `tokenizer.json` (Hugging Face's format), Whisper's special tokens, and which tokens make a word.
//! Pure.

use std::collections::HashMap;

use serde::Deserialize;

/// Whisper's names of what it needs.
const END: &str = "<|endoftext|>";
const START: &str = "<|startoftranscript|>";
const NO_TIMESTAMPS: &str = "<|notimestamps|>";
/// The newer name of it, and the older one.
const NO_SPEECH: [&str; 2] = ["<|nospeech|>", "<|nocaptions|>"];
/// Where the ordinary tokens of the English models end; those of others have one more.
const ENGLISH_END: u32 = 50_256;
/// What belongs to the word before it though it stands alone (`merge_punctuations` in openai/whisper's `timing.py`).
const CLOSING: &str = "\"'.。,，!！?？:：”)]}、%";
const OPENING: &str = "\"'“¿([{-$";

#[derive(Deserialize)]
struct File {
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
}

/// See the module.
pub struct Tokens {
    /// What each stands for; nothing for the special ones.
    pieces: Vec<Vec<u8>>,
    pub end: u32,
    /// What the decoder begins with, in order.
    pub prompt: Vec<u32>,
    /// How likely it is after the first of the prompt says whether anything is said.
    pub no_speech: Option<u32>,
}

/// Tokens that make one word, as a range, and its text without spaces around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub from: usize,
    pub to: usize,
}

impl Tokens {
    /// Of the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// When it is none, or not one of a Whisper.
    pub fn read(json: &str) -> Result<Self, String> {
        let file: File = serde_json::from_str(json).map_err(|error| format!("its tokenizer cannot be read: {error}"))?;
        let special: HashMap<&str, u32> = file.added_tokens.iter().map(|added| (added.content.as_str(), added.id)).collect();
        let known = |name: &str| special.get(name).copied().or_else(|| file.model.vocab.get(name).copied());
        let needed = |name: &str| known(name).ok_or_else(|| format!("its tokenizer has no {name}"));
        let end = needed(END)?;
        let mut prompt = vec![needed(START)?];
        if end != ENGLISH_END {
            prompt.extend([needed("<|en|>")?, needed("<|transcribe|>")?]);
        }
        prompt.push(needed(NO_TIMESTAMPS)?);
        let bytes = bytes_of_characters();
        let mut pieces = vec![Vec::new(); end as usize];
        for (text, id) in &file.model.vocab {
            if let Some(piece) = pieces.get_mut(*id as usize) {
                let known = text.chars().map(|character| bytes.get(&character).copied());
                *piece = known.collect::<Option<_>>().ok_or_else(|| format!("its tokenizer's piece {text:?} is not made of bytes"))?;
            }
        }
        Ok(Self { pieces, end, prompt, no_speech: NO_SPEECH.into_iter().find_map(known) })
    }

    /// The text of these, special ones left out; what is no UTF-8 is replaced.
    pub fn text(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().filter_map(|token| self.pieces.get(*token as usize)).flatten().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The words in order; together they have every token (`split_tokens_on_spaces` in openai/whisper's `tokenizer.py`).
    pub fn words(&self, tokens: &[u32]) -> Vec<Word> {
        let mut words: Vec<(usize, usize)> = Vec::new();
        let mut opens = false;
        for (from, to) in self.characters(tokens) {
            let text = self.text(&tokens[from..to]);
            let bare = text.trim();
            let closes = !bare.is_empty() && !text.starts_with(' ') && bare.chars().all(|character| CLOSING.contains(character));
            let begins = text.starts_with(' ') && !opens;
            match words.last_mut() {
                Some(word) if opens || closes || !begins => word.1 = to,
                _ => words.push((from, to)),
            }
            // A sign that opens belongs to what follows it, if it stands apart from what is before it.
            opens = text.starts_with(' ') && !bare.is_empty() && bare.chars().all(|character| OPENING.contains(character));
        }
        let word = |(from, to): (usize, usize)| Word { text: self.text(&tokens[from..to]).trim().to_owned(), from, to };
        words.into_iter().map(word).collect()
    }

    /// How a word is written after a space, in small letters and with a capital: each time the longest piece that fits, which is how the byte-level
    /// code mostly has it.
    pub fn spellings(&self, word: &str) -> Vec<Vec<u32>> {
        let lower = word.to_lowercase();
        let mut rest = lower.chars();
        let capital: String = rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default();
        [lower, capital].iter().filter_map(|form| self.spelling(format!(" {form}").as_bytes())).collect()
    }

    fn spelling(&self, mut bytes: &[u8]) -> Option<Vec<u32>> {
        let mut tokens = Vec::new();
        while !bytes.is_empty() {
            let fits = (0..).zip(&self.pieces).filter(|(_, piece)| !piece.is_empty() && bytes.starts_with(piece));
            let (token, piece) = fits.max_by_key(|(_, piece)| piece.len())?;
            tokens.push(token);
            bytes = &bytes[piece.len()..];
        }
        Some(tokens)
    }

    /// Tokens that only together are whole characters.
    fn characters(&self, tokens: &[u32]) -> Vec<(usize, usize)> {
        let mut parts = Vec::new();
        let (mut from, mut bytes) = (0, Vec::new());
        for (at, token) in tokens.iter().enumerate() {
            bytes.extend(self.pieces.get(*token as usize).into_iter().flatten().copied());
            if std::str::from_utf8(&bytes).is_ok() || at + 1 == tokens.len() {
                parts.push((from, at + 1));
                bytes.clear();
                from = at + 1;
            }
        }
        parts
    }
}

/// GPT-2's printable stand-ins for bytes (`bytes_to_unicode` in openai/gpt-2's `encoder.py`): those that are printable stand for themselves.
fn bytes_of_characters() -> HashMap<char, u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=255_u8).filter(|byte| !printable(byte));
    let own = (0..=255_u8).filter(printable).map(|byte| (char::from(byte), byte));
    own.chain(others.zip(0x100_u32..).filter_map(|(byte, code)| Some((char::from_u32(code)?, byte)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One token a byte, and a few longer ones.
    fn tokens() -> Tokens {
        let mut vocab: HashMap<String, u32> = HashMap::new();
        for (character, byte) in bytes_of_characters() {
            vocab.insert(character.to_string(), u32::from(byte));
        }
        for (piece, id) in [("Ġyou", 256), ("Ġfu", 257), ("Ġfuck", 258), ("ing", 259), ("Ġ\"", 260)] {
            vocab.insert(piece.to_owned(), id);
        }
        let added = [(ENGLISH_END, END), (50_257, START), (50_361, NO_SPEECH[1]), (50_362, NO_TIMESTAMPS)];
        let added: Vec<_> = added.iter().map(|(id, content)| serde_json::json!({ "id": id, "content": content })).collect();
        Tokens::read(&serde_json::json!({ "added_tokens": added, "model": { "vocab": vocab } }).to_string()).unwrap()
    }

    fn spelled(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    #[test]
    fn english_begins_without_a_language() {
        let tokens = tokens();
        assert_eq!((tokens.prompt.as_slice(), tokens.end, tokens.no_speech), (&[50_257, 50_362][..], 50_256, Some(50_361)));
        assert!(Tokens::read("{}").is_err());
        assert!(Tokens::read(r#"{"added_tokens":[],"model":{"vocab":{}}}"#).err().unwrap().contains(END));
    }

    #[test]
    fn every_text_comes_back() {
        let tokens = tokens();
        for text in [" it's a naïve \u{1f600} test.", "", " \t\n\u{0}\u{ad}"] {
            assert_eq!(tokens.text(&spelled(text)), text);
        }
        assert_eq!(tokens.text(&[258, 259, 50_256, 60_000]), " fucking");
    }

    #[test]
    fn words_take_their_signs_with_them_and_leave_no_token_out() {
        let tokens = tokens();
        let all = [spelled(" Well, "), vec![258, 259], spelled("!"), vec![260], spelled("na\u{ef}ve\""), vec![256]].concat();
        let words = tokens.words(&all);
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["Well,", "", "fucking!", "\"na\u{ef}ve\"", "you"]);
        assert_eq!((words[0].from, words[words.len() - 1].to), (0, all.len()));
        assert!(words.windows(2).all(|pair| pair[0].to == pair[1].from));
    }

    #[test]
    fn words_are_spelled_with_their_longest_pieces() {
        let tokens = tokens();
        assert_eq!(tokens.spellings("Fucking"), [vec![258, 259], spelled(" Fuck").into_iter().chain([259]).collect()]);
        assert_eq!(tokens.spellings("fun")[0], [257, u32::from(b'n')]);
        assert!(tokens.spellings("fu\u{e9}").iter().all(|spelling| tokens.text(spelling).to_lowercase() == " fu\u{e9}"));
    }
}
