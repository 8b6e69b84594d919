//! What set-up and `scrim plugin build` share: [`guest`] turns a plugin's crate into a component, [`assets`] fetches what Scrim does not
//! carry, [`template`] begins a new plugin, [`python`] holds the tools that tests call. Nothing here runs while a room is live.

#![forbid(unsafe_code)]

pub mod assets;
pub mod guest;
pub mod python;
pub mod template;
