//! Whisper's weights, as CTranslate2 keeps them, made into two ONNX graphs: what an encoder and a decoder with a cache of keys and values
//! are to ONNX Runtime. Names and shapes of inputs and outputs are those of Hugging Face Optimum's export, with three differences:
//!
//! - the encoder takes any even number of mel frames (its position table is cut), not only 3000;
//! - the keys and values that the decoder's layers look at are outputs of the encoder, so they are computed once;
//! - the decoder also answers with `cross_attentions`: what its alignment heads look at, from which words get their times.
//!
//! The same weights give the same bytes on every machine.

mod ctranslate2;
mod decoder;
mod encoder;
mod graph;
mod layers;
mod onnx;

use ctranslate2::Weights;

/// Which of the two graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    WhisperEncoder,
    WhisperDecoder,
}

/// Layer and head of the decoder whose attention follows the sound, of tiny.en: `_ALIGNMENT_HEADS` in openai/whisper's `__init__.py`.
const ALIGNMENT_HEADS: [(usize, usize); 8] = [(1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)];
/// Layers of tiny.en's encoder, and of its decoder.
const LAYERS: usize = 4;
/// Numbers that stand for one position, and the heads that share them.
const WIDTH: usize = 384;
const HEADS: usize = 6;

/// The ONNX file of tiny.en's encoder or decoder, out of the bytes of its `model.bin`.
///
/// # Errors
/// When these are not the weights of tiny.en as CTranslate2 3 or 4 writes them.
pub fn convert(model: &[u8], part: Part) -> Result<Vec<u8>, String> {
    let weights = Weights::read(model)?;
    match part {
        Part::WhisperEncoder => encoder::graph(&weights),
        Part::WhisperDecoder => decoder::graph(&weights),
    }
}
