//! Whether somebody speaks: Silero's network (version 6, its graph for 16 kHz), one chunk of 32 ms after the other.

use std::path::Path;

use ort::session::Session;
use ort::value::TensorRef;

use super::InferError;
use super::runtime::Runtime;

/// Samples of a chunk, at 16 kHz.
pub const CHUNK: usize = 512;
/// Samples of the chunk before that the network hears again (`context_size` in silero-vad's `utils_vad.py`).
const CONTEXT: usize = 64;
/// Samples a second.
const RATE: i64 = 16_000;
/// Numbers that it remembers.
const STATE: [usize; 3] = [2, 1, 128];

/// One source's: it remembers what it has heard.
pub struct Vad {
    session: Session,
    name: String,
    heard: [f32; CONTEXT + CHUNK],
    state: Vec<f32>,
}

impl Vad {
    /// # Errors
    /// When the file is missing or cannot be opened, or is another network.
    pub fn new(runtime: &Runtime, name: &str, file: &Path) -> Result<Self, InferError> {
        if !file.is_file() {
            return Err(InferError::ModelMissing { model: name.to_owned(), path: file.to_path_buf() });
        }
        let model = |reason: String| InferError::Model { model: name.to_owned(), reason };
        let session = runtime.session(file, 1).map_err(model)?;
        let inputs: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
        if inputs != ["input", "state", "sr"] {
            return Err(model(format!("takes {}; Silero's network takes input, state, sr", inputs.join(", "))));
        }
        Ok(Self { session, name: name.to_owned(), heard: [0.0; CONTEXT + CHUNK], state: vec![0.0; STATE.iter().product()] })
    }

    /// How likely it is that somebody speaks in this chunk (16 kHz, −1..=1), which follows the one before: 0..=1.
    ///
    /// # Errors
    /// When the network could not run.
    pub fn hear(&mut self, chunk: &[f32; CHUNK]) -> Result<f32, InferError> {
        self.heard.copy_within(CHUNK.., 0);
        self.heard[CONTEXT..].copy_from_slice(chunk);
        self.run().map_err(|reason| InferError::Heard { model: self.name.clone(), reason })
    }

    /// Forgets what it has heard: what comes next does not follow it.
    pub fn forget(&mut self) {
        self.heard.fill(0.0);
        self.state.fill(0.0);
    }

    fn run(&mut self) -> Result<f32, String> {
        let input = TensorRef::from_array_view(([1, CONTEXT + CHUNK], &self.heard[..])).map_err(|error| error.to_string())?;
        let state = TensorRef::from_array_view((STATE, self.state.as_slice())).map_err(|error| error.to_string())?;
        let rate = TensorRef::from_array_view(([0_usize; 0], &[RATE][..])).map_err(|error| error.to_string())?;
        let outputs =
            self.session.run(ort::inputs! { "input" => input, "state" => state, "sr" => rate }).map_err(|error| error.to_string())?;
        let next = outputs.get("stateN").ok_or("it gives no stateN")?.try_extract_tensor::<f32>().map_err(|error| error.to_string())?.1;
        let speech = outputs.get("output").ok_or("it gives no output")?.try_extract_tensor::<f32>().map_err(|error| error.to_string())?.1;
        if next.len() != self.state.len() {
            return Err(format!("its state has {} numbers", next.len()));
        }
        self.state.copy_from_slice(next);
        speech.first().copied().filter(|speech| speech.is_finite()).ok_or_else(|| "it gives no number".to_owned())
    }
}
