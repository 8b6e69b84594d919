//! Whisper's two sessions: sound into what the decoder looks at, and one step of the decoder with what it knows of the steps before.
//!
//! Inputs and outputs have the names of Hugging Face Optimum's export. Two kinds of file are told apart by them: those that set-up makes of
//! tiny.en, whose encoder takes windows of any length and gives the layers' keys and values itself, and Optimum's own (`encoder_model.onnx`,
//! `decoder_model_merged.onnx`), whose encoder takes 30 s and whose decoder makes the keys and values in its first step. Optimum's own differ by the
//! version of transformers that made them (`cache_position`, order), and say where they look only if they were told to (`examples/export_whisper.py`).

use std::path::Path;

use ort::memory::Allocator;
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Tensor, TensorRef};

use super::mel::BANDS;
use super::way::Step;
use crate::infer::runtime::Runtime;

/// Mel frames of the window that Whisper was trained with.
pub const FRAMES_MAX: usize = 3000;
/// Positions of the sound for each two frames of it.
pub const FRAMES_PER_POSITION: usize = 2;

/// How much a token may change what is made of the one before it, as a share of how far the logits are apart. Eight bits make it 0.04, a decoder that
/// lets tokens see those after them 0.44.
const IN_ORDER: f32 = 0.2;

/// See the module.
pub struct Network {
    encoder: Session,
    decoder: Session,
    layers: usize,
    /// `[1, heads, 0, numbers of a head]`: of what is known before the first token.
    nothing: [usize; 4],
    /// Optimum's decoder, which has a branch for its first step.
    merged: bool,
    /// It is told where its tokens stand: exports of transformers 4.43 to 4.45.
    placed: bool,
    /// Of several tokens that come after others each sees only those before it. In exports of transformers before 4.43 it sees all of them.
    in_order: bool,
    looks: Looks,
}

/// Where the decoder says what it looks at.
enum Looks {
    Nowhere,
    /// `cross_attentions`, `[heads, tokens, positions]`, of the heads that follow the sound; as set-up makes it.
    Together,
    /// `cross_attentions.{layer}`, `[1, heads, tokens, positions]`; layer and head of those that follow the sound.
    Apart(Vec<(usize, usize)>),
}

/// What the decoder looks at.
pub struct Sound {
    /// By the name of the decoder's input; without those that the first step makes.
    inputs: Vec<(String, DynValue)>,
    positions: usize,
}

/// What the decoder knows of its tokens, by the name of its input.
#[derive(Default)]
pub struct Past(Vec<(String, DynValue)>);

impl Network {
    /// `alignment`: layer and head of the decoder's that follow the sound; none, if that is not known.
    ///
    /// # Errors
    /// When the files cannot be opened, or are not a Whisper's encoder and decoder.
    pub fn open(runtime: &Runtime, encoder: &Path, decoder: &Path, alignment: &[(usize, usize)]) -> Result<Self, String> {
        let (encoder, decoder) = (runtime.session(encoder, 1)?, runtime.session(decoder, 1)?);
        let layers = decoder.inputs().iter().filter(|input| input.name().ends_with(".decoder.key")).count();
        let Some(shape) = decoder
            .inputs()
            .iter()
            .find(|input| input.name() == "past_key_values.0.decoder.key")
            .and_then(|input| input.dtype().tensor_shape())
        else {
            return Err("its decoder has no past_key_values.0.decoder.key: export it with the cache of keys and values".to_owned());
        };
        let [_, heads, _, width] = shape[..] else { return Err(format!("its decoder's past has the shape {shape:?}")) };
        let (Ok(heads), Ok(width)) = (usize::try_from(heads), usize::try_from(width)) else {
            return Err("its decoder does not say how many heads it has".to_owned());
        };
        let takes = |name: &str| decoder.inputs().iter().any(|input| input.name() == name);
        let (merged, placed) = (takes("use_cache_branch"), takes("cache_position"));
        let Some(input) = encoder.inputs().first().filter(|input| input.name() == "input_features") else {
            return Err("its encoder does not take input_features".to_owned());
        };
        match input.dtype().tensor_shape().map(|shape| &shape[..]) {
            Some(&[_, bands, _]) if bands > 0 && bands != BANDS as i64 => {
                return Err(format!(
                    "its encoder hears {bands} bands of sound, as large-v3 and its kin do; only those that hear {BANDS} can be used"
                ));
            }
            _ => {}
        }
        let looks = Looks::of(&decoder, layers, heads, alignment)?;
        let mut network = Self { encoder, decoder, layers, nothing: [1, heads, 0, width], merged, placed, in_order: true, looks };
        network.in_order = !merged || network.sees_in_order()?;
        Ok(network)
    }

    /// Says where it looks.
    pub fn aligned(&self) -> bool {
        !matches!(self.looks, Looks::Nowhere)
    }

    /// Whether the second of two tokens changes what is made of the first.
    fn sees_in_order(&mut self) -> Result<bool, String> {
        let [_, heads, _, width] = self.nothing;
        let quiet = Tensor::<f32>::from_array(([1, 1, heads * width], vec![0.0; heads * width])).map_err(text)?;
        let mut sound = Sound { inputs: vec![("encoder_hidden_states".to_owned(), quiet.into_dyn())], positions: 1 };
        let mut past = Past::default();
        self.step(&mut sound, &mut past, &[0], 0)?;
        let one = self.step(&mut sound, &mut past, &[0, 1], 1)?.logits;
        let other = self.step(&mut sound, &mut past, &[0, 2], 1)?.logits;
        let first = &one[..one.len() / 2];
        let apart = first.iter().zip(&other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        let (least, most) = first.iter().fold((f32::MAX, f32::MIN), |(least, most), logit| (least.min(*logit), most.max(*logit)));
        Ok(apart <= IN_ORDER * (most - least))
    }

    /// The number of frames that the encoder is given for so many of sound.
    pub fn frames_for(&self, frames: usize) -> usize {
        if self.merged { FRAMES_MAX } else { frames }
    }

    /// `mel`: `[BANDS, frames]`.
    pub fn hear(&mut self, mel: &[f32], frames: usize) -> Result<Sound, String> {
        let input = TensorRef::from_array_view(([1, BANDS, frames], mel)).map_err(text)?;
        let mut outputs = self.encoder.run(ort::inputs! { "input_features" => input }).map_err(text)?;
        let inputs = if self.merged {
            vec![("encoder_hidden_states".to_owned(), taken(&mut outputs, "last_hidden_state")?)]
        } else {
            presents(&mut outputs, self.layers, "encoder")?
        };
        Ok(Sound { inputs, positions: frames / FRAMES_PER_POSITION })
    }

    /// What the decoder makes of `tokens`, which follow the first `kept` that `past` knows; `past` then knows them too.
    pub fn step(&mut self, sound: &mut Sound, past: &mut Past, tokens: &[u32], kept: usize) -> Result<Step, String> {
        if tokens.len() > 1 && kept > 0 && !self.in_order {
            let mut all = Step { logits: Vec::new(), attention: Vec::new() };
            for (token, kept) in tokens.iter().zip(kept..) {
                let one = self.step(sound, past, &[*token], kept)?;
                all.logits.extend(one.logits);
                all.attention.extend(one.attention);
            }
            return Ok(all);
        }
        let ids: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
        let first = kept == 0;
        match first {
            true => *past = self.no_past()?,
            false => past.keep(kept)?,
        }
        let mut inputs: Vec<(&str, SessionInputValue)> = Vec::new();
        inputs.push(("input_ids", TensorRef::from_array_view(([1, ids.len()], ids.as_slice())).map_err(text)?.into()));
        inputs.extend(past.0.iter().map(|(name, value)| (name.as_str(), value.into())));
        inputs.extend(sound.inputs.iter().map(|(name, value)| (name.as_str(), value.into())));
        let places: Vec<i64> = (kept as i64..).take(ids.len()).collect();
        if self.placed {
            inputs.push(("cache_position", TensorRef::from_array_view(([places.len()], places.as_slice())).map_err(text)?.into()));
        }
        let cached = [!first];
        if self.merged {
            inputs.push(("use_cache_branch", TensorRef::from_array_view(([1], &cached[..])).map_err(text)?.into()));
        }
        let mut outputs = self.decoder.run(inputs).map_err(text)?;
        let (_, logits) = outputs["logits"].try_extract_tensor::<f32>().map_err(text)?;
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err("its scores are no numbers".to_owned());
        }
        let logits = logits.to_vec();
        let attention = self.looks.rows(&outputs, tokens.len(), sound.positions)?;
        *past = Past(presents(&mut outputs, self.layers, "decoder")?);
        if self.merged && first {
            sound.inputs.truncate(1);
            sound.inputs.extend(presents(&mut outputs, self.layers, "encoder")?);
        }
        Ok(Step { logits, attention })
    }

    fn no_past(&self) -> Result<Past, String> {
        let mut past = Vec::new();
        let parts: &[&str] = if self.merged { &["decoder", "encoder"] } else { &["decoder"] };
        for (part, layer) in parts.iter().flat_map(|part| (0..self.layers).map(move |layer| (part, layer))) {
            for what in ["key", "value"] {
                let empty = Tensor::<f32>::new(&Allocator::default(), self.nothing).map_err(text)?;
                past.push((format!("past_key_values.{layer}.{part}.{what}"), empty.into_dyn()));
            }
        }
        Ok(Past(past))
    }
}

impl Looks {
    fn of(decoder: &Session, layers: usize, heads: usize, alignment: &[(usize, usize)]) -> Result<Self, String> {
        let gives = |name: &str| decoder.outputs().iter().any(|output| output.name() == name);
        if gives("cross_attentions") {
            return Ok(Self::Together);
        }
        let says = |layer: usize| gives(&format!("cross_attentions.{layer}"));
        if !(0..layers).any(says) {
            return Ok(Self::Nowhere);
        }
        // As openai/whisper's `model.py`: where nothing is known, all of the later half.
        let chosen: Vec<(usize, usize)> = match alignment {
            [] => (layers / 2..layers).flat_map(|layer| (0..heads).map(move |head| (layer, head))).collect(),
            known => known.to_vec(),
        };
        match chosen.iter().find(|(layer, head)| *head >= heads || !says(*layer)) {
            Some((layer, head)) => {
                Err(format!("its decoder does not say where head {head} of layer {layer} looks, one of its alignment_heads"))
            }
            None => Ok(Self::Apart(chosen)),
        }
    }

    /// Of each token: `[heads, positions]`.
    fn rows(&self, outputs: &SessionOutputs, tokens: usize, positions: usize) -> Result<Vec<Vec<f32>>, String> {
        let values = |name: &str| outputs[name].try_extract_tensor::<f32>().map(|(_, values)| values).map_err(text);
        match self {
            Self::Nowhere => Ok(vec![Vec::new(); tokens]),
            Self::Together => Ok(rows(values("cross_attentions")?, tokens, positions)),
            Self::Apart(chosen) => {
                let mut all = Vec::with_capacity(chosen.len() * tokens * positions);
                for (layer, head) in chosen {
                    let values = values(&format!("cross_attentions.{layer}"))?;
                    let of_head = values.chunks_exact(tokens * positions).nth(*head);
                    all.extend_from_slice(of_head.ok_or_else(|| format!("its cross_attentions.{layer} end early"))?);
                }
                Ok(rows(&all, tokens, positions))
            }
        }
    }
}

impl Past {
    /// Forgets what comes after the first `kept` tokens.
    fn keep(&mut self, kept: usize) -> Result<(), String> {
        for (_, value) in &mut self.0 {
            let (shape, values) = value.try_extract_tensor::<f32>().map_err(text)?;
            let [_, heads, known, width] = shape[..] else { return Err(format!("its past has the shape {shape:?}")) };
            let (heads, known, width) = (heads.max(0) as usize, known.max(0) as usize, width.max(0) as usize);
            if known > kept {
                let left: Vec<f32> = values.chunks_exact(known * width).flat_map(|head| &head[..kept * width]).copied().collect();
                *value = Tensor::from_array(([1, heads, kept, width], left)).map_err(text)?.into_dyn();
            }
        }
        Ok(())
    }
}

/// Of `[heads, tokens, positions]`: `[heads, positions]` for each token.
fn rows(attention: &[f32], tokens: usize, positions: usize) -> Vec<Vec<f32>> {
    let row = |token: usize| {
        attention.chunks_exact(tokens * positions).flat_map(|head| &head[token * positions..][..positions]).copied().collect()
    };
    (0..tokens).map(row).collect()
}

/// What the layers give, under the names by which they take it back.
fn presents(outputs: &mut SessionOutputs, layers: usize, part: &str) -> Result<Vec<(String, DynValue)>, String> {
    let names = (0..layers).flat_map(|layer| ["key", "value"].map(|what| format!("{layer}.{part}.{what}")));
    names.map(|name| Ok((format!("past_key_values.{name}"), taken(outputs, &format!("present.{name}"))?))).collect()
}

fn taken(outputs: &mut SessionOutputs, name: &str) -> Result<DynValue, String> {
    outputs.remove(name).ok_or_else(|| format!("it gives no {name}"))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
