//! Sound on its way through the host: held back as long as the pictures, and silent where it is muted. Pure: no input, output, clock or thread;
//! samples, mutes and the time go in, samples come out.
//!
//! - [`mute::MuteTimeline`]: which times are muted, and how loud a time is.
//! - [`line::AudioLine`]: the delay line of one microphone, with the timeline applied sample by sample.
//! - [`arrivals::Arrivals`]: when the microphone heard what comes, from the count of samples and from when they come.
//! - [`SoundRule`]: what a room's settings mean for it.
//! - [`fade::Fade`]: what makes every edge in it a ramp.

pub mod arrivals;
pub mod fade;
#[cfg(test)]
mod judged_tests;
pub mod line;
#[cfg(test)]
mod line_tests;
pub mod mute;
mod offset;
mod pieces;
mod rule;

pub use line::{AudioLine, Chunk, Counts, Format, Unjudged};
pub use mute::{MuteTimeline, Replacement};
pub use rule::SoundRule;
