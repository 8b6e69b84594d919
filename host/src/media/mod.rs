//! Frames in and out.

pub mod card;
pub mod ffmpeg;
pub mod file;
pub mod frame;
mod matroska;
pub mod picture;
pub mod small;
pub mod sound;
pub mod turn;
pub mod wire;
mod y4m;
