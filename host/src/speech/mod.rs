//! Sound on its way through the host: held back as long as the pictures, and silent where it is muted. Pure: no input, output, clock or thread;
//! samples, mutes and the time go in, samples come out.
//!
//! - [`mute::MuteTimeline`]: which times are muted, and how loud a time is.
//! - [`line::AudioLine`]: the delay line of one microphone, with the timeline applied sample by sample.
//! - [`fade::Fade`]: what makes every edge in it a ramp.

pub mod fade;
pub mod line;
#[cfg(test)]
mod line_tests;
pub mod mute;

pub use line::{AudioLine, Chunk, Counts, Format};
pub use mute::{MuteTimeline, Replacement};
