//! What a room's settings mean for sound.

use super::line::Unjudged;
use super::mute::Replacement;
use crate::config::{Config, MuteWith, SoundMode};
use crate::media::frame::Micros;
use crate::room::settings::FailMode;

/// What stands for what is muted, where a room wants a tone: the one of broadcasting, soft enough not to startle.
const TONE: Replacement = Replacement::Tone { hertz: 1000.0, level: 0.1 };

/// How a room treats sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoundRule {
    pub delay: Micros,
    /// Speech in it is listened to.
    pub listens: bool,
    pub unjudged: Unjudged,
    pub replacement: Replacement,
}

impl SoundRule {
    pub fn of(config: &Config) -> Self {
        let room = &config.room;
        let judged = config.speech.listen || room.sound == SoundMode::Judged;
        Self {
            delay: config.delay().micros(),
            listens: config.speech.listen,
            unjudged: match (judged, room.fail_mode) {
                (false, _) => Unjudged::Unasked,
                (true, FailMode::Open) => Unjudged::Passes,
                (true, FailMode::Closed) => Unjudged::Silent,
            },
            replacement: match room.mute_with {
                MuteWith::Silence => Replacement::Silence,
                MuteWith::Tone => TONE,
            },
        }
    }
}
