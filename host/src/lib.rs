//! Scrim's host. See ARCHITECTURE.md for how a frame travels through these modules.

pub mod geometry;
pub mod infer;
pub mod media;
pub mod plugin;
pub mod room;
pub mod vision;
