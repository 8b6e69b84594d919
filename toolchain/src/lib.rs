//! What set-up and `scrim plugin build` share: [`guest`] turns a plugin's crate into a component, [`assets`] fetches what Scrim does not
//! carry, [`clip`] makes a clip of it, [`python`] holds the tools that tests call, [`template`] begins a new plugin, [`whisper`] makes
//! ONNX of Whisper's weights. Nothing here runs while a
//! room is live.

#![forbid(unsafe_code)]

pub mod assets;
pub mod clip;
pub mod guest;
pub mod python;
pub mod template;
pub mod whisper;
