//! No clicks: whatever happens to the sound, what goes out goes on from where it was.
//!
//! A gain that falls slowly enough is taken as it is. Where it falls at once (a mute that came too late, a judge that failed) not one more sample of the
//! sound may be heard, so there is nothing to fade: the last sample that went out is led to what comes instead, over as long as a ramp. A gain that rises
//! is held back to the ramp, which mutes more. Where the sound was cut, its last sample gives way to what follows, before the gain: what is muted stays
//! silent, however it was cut.

use super::mute::{RAMP, Replacement};

/// What the samples of one line have come to.
#[derive(Debug)]
pub struct Fade {
    rate: u32,
    /// Frames of a ramp.
    ramp: u32,
    /// Of the last frame.
    gain: f32,
    /// What went out last, and what of it was sound, before its gain; per channel.
    out: Vec<f32>,
    sound: Vec<f32>,
    /// What the sound was at the last cut, and for how many frames that is still heard.
    cut_from: Vec<f32>,
    cut_left: u32,
    /// By how much the last fall was off, and for how many frames that is still made good.
    fallen_from: Vec<f32>,
    fallen_left: u32,
}

impl Fade {
    pub fn new(rate: u32, channels: u32) -> Self {
        let ramp = ((u64::from(rate) * RAMP.0 / 1_000_000) as u32).max(1);
        let zeros = || vec![0.0; channels as usize];
        let (out, sound, cut_from, fallen_from) = (zeros(), zeros(), zeros(), zeros());
        Self { rate, ramp, gain: 1.0, out, sound, cut_from, cut_left: 0, fallen_from, fallen_left: 0 }
    }

    /// Whether samples would come out as they are.
    pub fn idle(&self) -> bool {
        self.gain == 1.0 && self.cut_left == 0 && self.fallen_left == 0
    }

    /// The last of frames that came out as they are.
    pub fn passed(&mut self, frame: &[i16]) {
        for (channel, &sample) in frame.iter().enumerate() {
            self.out[channel] = f32::from(sample);
            self.sound[channel] = f32::from(sample);
        }
    }

    /// One frame: its samples become what goes out. `number` is its place in what goes out; `cut`: it does not follow the one before. True if something
    /// else is heard in it.
    pub fn apply(&mut self, frame: &mut [i16], gain: f32, instead: Replacement, number: u64, cut: bool) -> bool {
        let step = 1.0 / self.ramp as f32;
        let (before, falls) = (self.gain, self.gain - gain > 1.5 * step);
        self.gain = gain.min(self.gain + step);
        let other = if self.gain < 1.0 { instead.sample(number, self.rate) * (1.0 - self.gain) } else { 0.0 };
        if cut {
            self.cut_left = self.ramp;
            // Of what was not heard nothing goes on.
            let heard = if before > 0.0 { 1.0 } else { 0.0 };
            self.cut_from.iter_mut().zip(&self.sound).for_each(|(from, sound)| *from = sound * heard);
        }
        if falls {
            self.fallen_left = self.ramp;
        }
        let (old, off) = (self.cut_left as f32 * step, self.fallen_left as f32 * step);
        for (channel, sample) in frame.iter_mut().enumerate() {
            let sound = f32::from(*sample) * (1.0 - old) + self.cut_from[channel] * old;
            let wanted = sound * self.gain + other;
            if falls {
                self.fallen_from[channel] = self.out[channel] - wanted;
            }
            let out = wanted + self.fallen_from[channel] * off;
            self.sound[channel] = sound;
            self.out[channel] = out;
            *sample = out.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16;
        }
        self.cut_left = self.cut_left.saturating_sub(1);
        self.fallen_left = self.fallen_left.saturating_sub(1);
        self.gain < 1.0
    }
}
