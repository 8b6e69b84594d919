//! Tokens to text: the byte-level pieces of `tokenizer.json` (Hugging Face's format), Whisper's special tokens, and which tokens make a word.
//! Pure.

use std::collections::HashMap;

use serde::Deserialize;

/// Whisper's names of what it needs.
const END: &str = "<|endoftext|>";
const START: &str = "<|startoftranscript|>";
const NO_TIMESTAMPS: &str = "<|notimestamps|>";
const BEFORE: &str = "<|startofprev|>";
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
    merges: Vec<Merge>,
}

/// Both forms that `tokenizer.json` has had.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Text(String),
    Pair(String, String),
}

/// See the module.
pub struct Tokens {
    /// What each stands for; nothing for the special ones.
    pieces: Vec<Vec<u8>>,
    /// Which two pieces are put together, and how early.
    merges: HashMap<(Vec<u8>, Vec<u8>), usize>,
    pub end: u32,
    /// What the decoder begins with, in order.
    pub prompt: Vec<u32>,
    /// Comes before what was said before; most models have it.
    before: Option<u32>,
    /// How likely it is after the first of the prompt says whether anything is said.
    pub no_speech: Option<u32>,
}

/// What was said before, with what is listened for in it. In sentences: after a list of words the decoder writes lists, and makes up twice as much (of 285
/// sentences of comments 7 had a bad word put in after nine words with commas, 4 after ten in sentences). Chosen by seed 2 of `scrim-bench speech`,
/// 150 sentences: recall 0.93 with these nine words, 0.87 with six; in 12.6 minutes of ordinary speech one word is made up, but four where "dickhead"
/// is among them ("the tickets"). It costs a twentieth of the time.
const SAID: [&str; 4] = ["What the *, you *.", "That * is a * and a *.", "That * is a *.", "This is * *."];

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
        let raw = |text: &str| text.chars().map(|character| bytes.get(&character).copied()).collect::<Option<Vec<u8>>>();
        let merge = |merge: &Merge| match merge {
            Merge::Text(text) => text.split_once(' ').and_then(|(one, other)| Some((raw(one)?, raw(other)?))),
            Merge::Pair(one, other) => Some((raw(one)?, raw(other)?)),
        };
        let merges = file.model.merges.iter().enumerate().filter_map(|(at, text)| Some((merge(text)?, at))).collect();
        Ok(Self { pieces, merges, end, prompt, before: known(BEFORE), no_speech: NO_SPEECH.into_iter().find_map(known) })
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

    /// What makes the decoder believe that the first nine of these words were said before. Words like those that were said are likelier to
    /// be heard (`initial_prompt` in openai/whisper's `transcribe.py`).
    pub fn said_before(&self, words: &[String]) -> Vec<u32> {
        let (Some(before), mut words, mut said) = (self.before, words, Vec::new()) else { return Vec::new() };
        for sentence in SAID {
            let (here, later) = words.split_at(words.len().min(sentence.matches('*').count()));
            let tokens: Option<Vec<_>> = filled(sentence, here).split_whitespace().map(|part| self.written(part)).collect();
            let Some(tokens) = tokens else { break };
            said.extend(tokens.concat());
            words = later;
        }
        if said.is_empty() { said } else { [vec![before], said].concat() }
    }

    /// A word after a space, and the sign at its end apart from it.
    fn written(&self, word: &str) -> Option<Vec<u32>> {
        let (bare, sign) = word.split_at(word.trim_end_matches(['.', ',']).len());
        Some([self.spelling(format!(" {bare}").as_bytes())?, self.spelling(sign.as_bytes())?].concat())
    }

    /// How a word is written after a space, in small letters and with a capital.
    pub fn spellings(&self, word: &str) -> Vec<Vec<u32>> {
        let lower = word.to_lowercase();
        let mut rest = lower.chars();
        let capital: String = rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default();
        [lower, capital].iter().filter_map(|form| self.spelling(format!(" {form}").as_bytes())).collect()
    }

    /// As the network has learned it: of all neighbours that can be put together, always the two that come first in the list.
    fn spelling(&self, bytes: &[u8]) -> Option<Vec<u32>> {
        let mut parts: Vec<Vec<u8>> = bytes.iter().map(|byte| vec![*byte]).collect();
        loop {
            let early = |(at, two): (usize, &[Vec<u8>])| Some((*self.merges.get(&(two[0].clone(), two[1].clone()))?, at));
            let Some((_, at)) = parts.windows(2).enumerate().filter_map(early).min() else { break };
            let other = parts.remove(at + 1);
            parts[at].extend(other);
        }
        let token = |part: &Vec<u8>| (0..).zip(&self.pieces).find(|(_, piece)| *piece == part).map(|(token, _)| token);
        parts.iter().map(token).collect()
    }

    /// By token: whether a word begins with it.
    pub fn begins(&self) -> Vec<bool> {
        self.pieces.iter().map(|piece| piece.first() == Some(&b' ')).collect()
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

/// A sentence with these words in the places of its first stars, as far as the last of them; nothing without a word.
fn filled(sentence: &str, words: &[String]) -> String {
    let text: String = sentence.split('*').zip(words).map(|(before, word)| before.to_owned() + &word.to_lowercase()).collect();
    if text.is_empty() { text } else { text + "." }
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
        for (piece, id) in [("Ġyou", 256), ("Ġfu", 257), ("Ġfuck", 258), ("ing", 259), ("Ġ\"", 260), ("uck", 261), ("Ġfucki", 262)] {
            vocab.insert(piece.to_owned(), id);
        }
        // No way leads to the longest.
        let merges = ["u c", "uc k", "i n", "in g", "Ġ f", "Ġf uck"].map(|merge| serde_json::json!(merge));
        let merges = [&merges[..], &[serde_json::json!(["Ġf", "u"])]].concat();
        let added = [(ENGLISH_END, END), (50_257, START), (50_360, BEFORE), (50_361, NO_SPEECH[1]), (50_362, NO_TIMESTAMPS)];
        let added: Vec<_> = added.iter().map(|(id, content)| serde_json::json!({ "id": id, "content": content })).collect();
        for piece in ["uc", "in", "Ġf"] {
            let id = vocab.len() as u32;
            vocab.insert(piece.to_owned(), id);
        }
        Tokens::read(&serde_json::json!({ "added_tokens": added, "model": { "vocab": vocab, "merges": merges } }).to_string()).unwrap()
    }

    fn spelled(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    #[test]
    fn english_begins_without_a_language() {
        let tokens = tokens();
        assert_eq!((tokens.prompt.as_slice(), tokens.end, tokens.no_speech), (&[50_257, 50_362][..], 50_256, Some(50_361)));
        assert!(Tokens::read("{}").is_err());
        assert!(Tokens::read(r#"{"added_tokens":[],"model":{"vocab":{},"merges":[]}}"#).err().unwrap().contains(END));
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
    fn what_is_listened_for_was_said_before() {
        let tokens = tokens();
        let of = |words: &[&str]| tokens.said_before(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let text = |words: &[&str]| {
            let said = of(words);
            (said.first().copied(), tokens.text(said.get(1..).unwrap_or_default()))
        };
        assert_eq!(text(&["Fucking", "b"]), (Some(50_360), " What the fucking, you b.".to_owned()));
        assert!(of(&["fucking", "b"]).windows(2).any(|two| two == [258, 259]));
        assert!(of(&[]).is_empty());
        // The last sentence ends with the last word, and there is no place for a tenth.
        assert_eq!(text(&["a"]).1, " What the a.");
        let all = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let long = " What the a, you b. That c is a d and a e. That f is a g. This is h";
        assert_eq!(text(&all[..4]).1, " What the a, you b. That c is a d.");
        assert_eq!(text(&all[..8]).1, format!("{long}."));
        assert_eq!((text(&all[..9]).1, text(&all).1), (format!("{long} i."), format!("{long} i.")));
    }

    #[test]
    fn words_are_spelled_as_the_network_has_learned_it() {
        let tokens = tokens();
        let capital = |rest: &[u32]| [spelled(" F"), rest.to_vec()].concat();
        assert_eq!(tokens.spellings("Fucking"), [vec![258, 259], capital(&[261, 259])]);
        assert_eq!(tokens.spellings("fun")[0], [257, u32::from(b'n')]);
        assert!(tokens.spellings("fu\u{e9}").iter().all(|spelling| tokens.text(spelling).to_lowercase() == " fu\u{e9}"));
        assert_eq!(tokens.begins().iter().filter(|begins| **begins).count(), 7);
    }
}
