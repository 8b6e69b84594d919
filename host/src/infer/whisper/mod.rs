//! Whisper: a stretch of speech goes in, words with times come out. Nothing is kept from one stretch to the next.
//!
//! [`mel`] makes the sound what the network hears, [`network`] runs it, [`decode`] chooses tokens, [`tokens`] makes words of them and [`align`]
//! finds when they were said.

mod align;
mod decode;
mod guard;
mod mel;
mod network;
mod rules;
mod tokens;
mod way;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::align::Attention;
use self::decode::{Decoded, Rules};
use self::mel::{HOP, Mel, RATE};
use self::network::{FRAMES_MAX, FRAMES_PER_POSITION, Network, Past};
use self::tokens::Tokens;
use self::way::Way;
use super::InferError;
use super::runtime::Runtime;
use crate::media::frame::Micros;
use crate::speech::{Draft, HeardWord};

/// The longest stretch that is heard at once, in samples.
pub const SAMPLES_MAX: usize = (FRAMES_MAX - SILENCE) * HOP;
/// Frames of silence that are put after the sound: Whisper has learned that sound ends in it, and goes astray without. One second.
const SILENCE: usize = 100;
/// Windows are a multiple of this long, so that there are few shapes. Half a second.
const STRIDE: usize = 50;
/// The decoder looks at the middle of a word when it begins to write it, so its attention comes after the word's beginning, and a little after its end.
/// Medians of `scrim-bench speech --seed 2` before this was taken off: 170 ms and 70 ms, of which some is left, so that ends are late rather than early.
const BEGINS_LATE: Micros = Micros::from_millis(170);
const ENDS_LATE: Micros = Micros::from_millis(50);

/// Where a model's parts are.
#[derive(Clone, Debug)]
pub struct Files {
    pub encoder: PathBuf,
    pub decoder: PathBuf,
    pub tokenizer: PathBuf,
    /// `generation_config.json`, or CTranslate2's `config.json`.
    pub settings: PathBuf,
}

impl Files {
    /// tiny.en in the folder that set-up fills.
    pub fn tiny_en(folder: &Path) -> Self {
        let [encoder, decoder, tokenizer, settings] =
            ["encoder.onnx", "decoder.onnx", "tokenizer.json", "config.json"].map(|name| folder.join(format!("whisper-tiny.en-{name}")));
        Self { encoder, decoder, tokenizer, settings }
    }

    /// Of a folder that Hugging Face's Optimum has exported a Whisper to.
    pub fn optimum(folder: &Path) -> Self {
        let [encoder, decoder, tokenizer, settings] =
            ["encoder_model.onnx", "decoder_model_merged.onnx", "tokenizer.json", "generation_config.json"].map(|name| folder.join(name));
        Self { encoder, decoder, tokenizer, settings }
    }
}

/// What is read of the settings; the first names are those of Hugging Face, the others those of CTranslate2.
#[derive(Deserialize)]
struct Settings {
    #[serde(alias = "suppress_ids")]
    suppress_tokens: Option<Vec<u32>>,
    #[serde(alias = "suppress_ids_begin")]
    begin_suppress_tokens: Option<Vec<u32>>,
    /// Layer and head of the decoder's that follow the sound.
    alignment_heads: Option<Vec<(usize, usize)>>,
}

/// Words that are listened for. The decoder is made to believe that the first nine of them were said before.
#[derive(Clone, Debug, Default)]
pub struct Favoured {
    pub words: Vec<String>,
    /// A stretch of speech with one of them may be e^`bonus` times less likely than without, as a whole, for it to be heard.
    pub bonus: f32,
    /// And e^`margin` times less likely to a decoder that does not believe that they were said before; what it was less likely to the one that does
    /// counts twice against it.
    pub margin: f32,
}

impl Favoured {
    /// The strong English words that are listened for where a host says nothing else.
    pub fn shipped() -> Vec<String> {
        include_str!("favoured.txt").lines().map(str::to_owned).collect()
    }
}

/// What was heard in a stretch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// In order; times count from the stretch's beginning. A word may begin up to 120 ms before the one before it ends.
    pub words: Vec<HeardWord>,
    /// For the next time that the stretch is heard, with more at its end. Nothing of it is settled.
    pub draft: Draft,
}

/// See the module. One thread.
pub struct Recogniser {
    name: String,
    network: Network,
    mel: Mel,
    tokens: Tokens,
    /// What the decoder begins with.
    prompt: Vec<u32>,
    rules: Rules,
}

impl Recogniser {
    /// Opens the model; `name` is for messages.
    ///
    /// # Errors
    /// When a file is missing, or they are not those of a Whisper.
    pub fn new(runtime: &Runtime, name: &str, files: &Files, favoured: &Favoured) -> Result<Self, InferError> {
        for path in [&files.encoder, &files.decoder, &files.tokenizer, &files.settings] {
            if !path.is_file() {
                return Err(InferError::ModelMissing { model: name.to_owned(), path: path.clone() });
            }
        }
        let model = |reason: String| InferError::Model { model: name.to_owned(), reason };
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| model(format!("{}: {error}", path.display())));
        let tokens = Tokens::read(&read(&files.tokenizer)?).map_err(model)?;
        let settings: Settings = serde_json::from_str(&read(&files.settings)?).map_err(|error| model(format!("its settings: {error}")))?;
        let before = tokens.said_before(&favoured.words);
        let rules = Rules {
            end: tokens.end,
            no_speech: tokens.no_speech,
            start: before.len(),
            suppressed: settings.suppress_tokens.unwrap_or_default(),
            suppressed_first: settings.begin_suppress_tokens.unwrap_or_default(),
            begins: tokens.begins(),
            favoured: favoured.words.iter().flat_map(|word| tokens.spellings(word)).collect(),
            bonus: favoured.bonus,
            margin: favoured.margin,
        };
        let alignment = settings.alignment_heads.unwrap_or_default();
        let network = Network::open(runtime, &files.encoder, &files.decoder, &alignment).map_err(model)?;
        if !network.aligned() {
            tracing::warn!(
                model = name,
                "it does not say where it looks: when each word was said is guessed, and mutes miss (docs/words.md)"
            );
        }
        let prompt = [before.as_slice(), &tokens.prompt].concat();
        Ok(Self { name: name.to_owned(), network, mel: Mel::new(), tokens, prompt, rules })
    }

    /// The words in a stretch of speech, 16 kHz, −1..=1; of what is longer than [`SAMPLES_MAX`], the beginning.
    ///
    /// # Errors
    /// When the network could not run.
    pub fn recognise(&mut self, samples: &[f32]) -> Result<Vec<HeardWord>, InferError> {
        Ok(self.hear(samples, &Draft::default())?.words)
    }

    /// The same, quicker where `draft`, what was heard in this stretch when it was shorter, is still right. What is settled of it is not heard anew.
    ///
    /// # Errors
    /// When the network could not run.
    pub fn hear(&mut self, samples: &[f32], draft: &Draft) -> Result<Heard, InferError> {
        let samples = &samples[..samples.len().min(SAMPLES_MAX)];
        if samples.is_empty() {
            return Ok(Heard::default());
        }
        let decoded = self.decode(samples, draft).map_err(|reason| InferError::Heard { model: self.name.clone(), reason })?;
        if !decoded.is_said() {
            return Ok(Heard::default());
        }
        let (words, ends) = self.words(&decoded.way, samples.len()).into_iter().unzip();
        Ok(Heard { words, draft: Draft { tokens: decoded.way.tokens, ends, settled: 0 } })
    }

    /// Of the window for so many samples.
    fn frames(&self, samples: usize) -> usize {
        let frames = (samples.div_ceil(HOP) + SILENCE).next_multiple_of(STRIDE).min(FRAMES_MAX);
        self.network.frames_for(frames)
    }

    fn decode(&mut self, samples: &[f32], draft: &Draft) -> Result<Decoded, String> {
        let frames = self.frames(samples.len());
        let mel = self.mel.spectrogram(samples, frames);
        let mut sound = self.network.hear(&mel, frames)?;
        let mut past = Past::default();
        let seconds = samples.len() as f32 / RATE as f32;
        let network = &mut self.network;
        let mut step = |tokens: &[u32], kept| network.step(&mut sound, &mut past, tokens, kept);
        let decoded = decode::decode(&self.prompt, &draft.tokens, draft.settled, seconds, &self.rules, &mut step)?;
        decode::confirmed(decoded, &self.tokens.prompt, draft.settled, seconds, &self.rules, step)
    }

    /// With the number of tokens up to each one's end.
    fn words(&self, decoded: &Way, samples: usize) -> Vec<(HeardWord, usize)> {
        let position = HOP * FRAMES_PER_POSITION;
        let content = samples.div_ceil(position);
        let begins = match self.network.aligned() {
            true => {
                let rows: Vec<&[f32]> = decoded.attention.iter().map(Vec::as_slice).collect();
                let positions = self.frames(samples) / FRAMES_PER_POSITION;
                let heads = rows.first().map_or(0, |row| row.len() / positions.max(1));
                align::begins(&Attention { heads, positions, rows }, content)
            }
            false => self.evenly(&decoded.tokens, content),
        };
        let at = |token: usize| {
            let samples = (begins[token] * position).min(samples);
            Micros(samples as u64 * 1_000_000 / u64::from(RATE))
        };
        // What has no time was not said: it is made up after the sound has ended.
        let said = |word: &tokens::Word| !word.text.is_empty() && begins[word.from] < begins[word.to];
        let words = self.tokens.words(&decoded.tokens).into_iter().filter(said);
        words
            .map(|word| {
                let mean = decoded.log_probabilities[word.from..word.to].iter().sum::<f32>() / (word.to - word.from) as f32;
                let heard = HeardWord {
                    text: word.text,
                    confidence: mean.exp(),
                    from: at(word.from).saturating_sub(BEGINS_LATE),
                    to: at(word.to).saturating_sub(ENDS_LATE),
                };
                (heard, word.to)
            })
            .collect()
    }

    /// Of a network that does not say where it looks: each token takes as long as its letters are many.
    fn evenly(&self, tokens: &[u32], content: usize) -> Vec<usize> {
        let lengths: Vec<usize> = tokens.iter().map(|token| self.tokens.text(&[*token]).chars().count()).collect();
        let all = lengths.iter().sum::<usize>().max(1);
        let ends = lengths.iter().scan(0, |sum, length| {
            *sum += length;
            Some(*sum * content / all)
        });
        std::iter::once(0).chain(ends).collect()
    }
}
