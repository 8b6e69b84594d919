//! What is measured on pictures and done to them: pure functions and plain state, no input or output.

pub mod change;
pub mod color;
pub mod cover;
pub mod detection;
pub mod sampler;
pub mod strokes;
pub mod thumbnail;
pub mod timeline;
