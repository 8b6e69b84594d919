//! Sound on its way through the host: held back as long as the pictures, and silent where it is muted. Pure: no input, output, clock or thread;
//! samples, mutes and the time go in, samples come out.
//!
//! - [`mute::MuteTimeline`]: which times are muted, and how loud a time is.
//! - [`line::AudioLine`]: the delay line of one microphone, with the timeline applied sample by sample.
//! - [`arrivals::Arrivals`]: when the microphone heard what comes, from the count of samples and from when they come.
//! - [`SoundRule`]: what a room's settings mean for it.
//! - [`fade::Fade`]: what makes every edge in it a ramp.
//!
//! And what is heard in it, with the networks of `infer` left out:
//! - [`resample::Resampler`]: to what they take.
//! - [`segments::Segments`]: how likely speech is, to stretches of it.
//! - [`stream::Stream`]: stretches to questions, and guesses at their words to utterances with revisions.

mod agree;
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
pub mod resample;
mod rule;
pub mod segments;
pub mod stream;
mod word;

pub use line::{AudioLine, Chunk, Counts, Format, Unjudged};
pub use mute::{MuteTimeline, Replacement};
pub use rule::SoundRule;
pub use word::{Draft, HeardWord};
