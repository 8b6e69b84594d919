//! Frames in and out.

pub mod ffmpeg;
pub mod file;
pub mod frame;
mod matroska;
mod y4m;
