//! What a room's settings mean for sound.

use super::line::Unjudged;
use super::mute::Replacement;
use crate::config::{MuteWith, Room, SoundMode};
use crate::media::frame::Micros;
use crate::room::settings::FailMode;

/// What stands for what is muted, where a room wants a tone: the one of broadcasting, soft enough not to startle.
const TONE: Replacement = Replacement::Tone { hertz: 1000.0, level: 0.1 };

/// How a room treats sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoundRule {
    pub delay: Micros,
    pub unjudged: Unjudged,
    pub replacement: Replacement,
}

impl SoundRule {
    pub fn of(room: &Room) -> Self {
        Self {
            delay: room.delay_ms.micros(),
            unjudged: match (room.sound, room.fail_mode) {
                (SoundMode::Pass, _) => Unjudged::Unasked,
                (SoundMode::Judged, FailMode::Open) => Unjudged::Passes,
                (SoundMode::Judged, FailMode::Closed) => Unjudged::Silent,
            },
            replacement: match room.mute_with {
                MuteWith::Silence => Replacement::Silence,
                MuteWith::Tone => TONE,
            },
        }
    }
}
