//! What can go wrong between a frame and its detections.

use std::path::PathBuf;

use super::model::Fault;
use super::provider::Tried;

#[derive(Debug, thiserror::Error)]
pub enum InferError {
    #[error("onnx runtime not found: looked at {}; run `cargo xtask fetch`, or point ORT_DYLIB_PATH at libonnxruntime.so", list(.looked_at))]
    RuntimeMissing { looked_at: Vec<PathBuf> },
    #[error("onnx runtime at {} cannot be used: {reason}", path.display())]
    Runtime { path: PathBuf, reason: String },
    #[error("execution provider {} was asked for but cannot be used: {}", .0.provider, .0.why_not)]
    Provider(Tried),
    #[error("{} fault(s) in model declarations:\n{}", .0.len(), lines(.0))]
    Declarations(Vec<Fault>),
    #[error("no model is called {name}; known: {}", known.join(", "))]
    UnknownModel { name: String, known: Vec<String> },
    #[error("model {model}: {} is missing; run `cargo xtask fetch`, or correct the path in its declaration or in `speech.model`", path.display())]
    ModelMissing { model: String, path: PathBuf },
    #[error("model {model}: {} has sha256 {found}, its declaration says {declared}; fetch it again or correct the declaration", path.display())]
    ModelChanged { model: String, path: PathBuf, declared: String, found: String },
    #[error("model {model}: {reason}")]
    Model { model: String, reason: String },
    #[error("model {model} failed on {frames} frame(s): {reason}")]
    Run { model: String, frames: usize, reason: String },
    #[error("model {model} failed on a piece of sound: {reason}")]
    Heard { model: String, reason: String },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n")
}
