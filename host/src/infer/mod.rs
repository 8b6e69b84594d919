//! Inference: a frame goes in, detections come out; sound goes in, speech and its words come out. This is the only importer of `ort`.
//!
//! A [`model::ModelSpec`] (declared in TOML) says how a network is fed and read; [`onnx::OnnxDetector`] does so for one session.
//! The room speaks to the [`batcher`], never to a detector: looks wait in [`queue`], pure and bounded, until a worker takes a batch.
//! Nothing here keeps state from one frame to the next, so a look's answer depends on its frame alone.

pub mod alone;
pub mod batcher;
pub mod classifier;
pub mod cost;
pub mod desk;
pub mod detector;
pub mod error;
mod fixed;
pub mod hearing;
pub mod meter;
pub mod model;
pub mod ocr;
pub mod onnx;
pub mod preprocess;
pub mod provider;
pub mod queue;
pub mod registry;
pub mod runtime;
pub mod vad;
pub mod whisper;
mod workers;
pub mod yolo;

pub use detector::Detector;
pub use error::InferError;
