//! Frames in and out.

pub mod ffmpeg;
pub mod file;
pub mod frame;
mod matroska;
pub mod picture;
pub mod wire;
mod y4m;
