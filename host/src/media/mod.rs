//! Frames in and out.

pub mod frame;
