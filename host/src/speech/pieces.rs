//! What waits in a delay line: stretches of sound, and of silence in the place of what is missing, one after the other.
//!
//! What always holds: `held` is the frames of sound that wait; what does not go on from what was before it is marked as cut.

use std::collections::VecDeque;

/// What a stretch is.
#[derive(Debug)]
pub enum What {
    /// Interleaved samples.
    Sound(VecDeque<i16>),
    /// Never came.
    Missing,
    /// Silence for which nothing is missing: the delay grew, or there was no room.
    Waiting,
}

/// A stretch of what follows.
#[derive(Debug)]
pub struct Piece {
    pub what: What,
    pub frames: u64,
    /// For how long it was promised to wait, in frames.
    pub delay: u64,
    /// It does not go on from the one before.
    pub cut: bool,
    /// When its first frame was heard, by the count, nanoseconds; of sound alone.
    pub heard: i128,
}

/// What is taken from the front.
#[derive(Debug, Default)]
pub struct Taken {
    pub frames: u64,
    pub cut: bool,
    /// Of sound: the samples, and when the first was heard, by the count.
    pub sound: Option<(Vec<i16>, i128)>,
    /// Of silence: it never came.
    pub missing: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Pieces {
    rate: u32,
    channels: usize,
    queue: VecDeque<Piece>,
    held: u64,
    /// What comes next does not go on from what came.
    cut: bool,
}

impl Pieces {
    pub fn new(rate: u32, channels: u32) -> Self {
        Self { rate, channels: channels as usize, queue: VecDeque::new(), held: 0, cut: false }
    }

    /// Frames of sound that wait.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// All frames that wait.
    pub fn frames(&self) -> u64 {
        self.queue.iter().map(|piece| piece.frames).sum()
    }

    pub fn front(&self) -> Option<&Piece> {
        self.queue.front()
    }

    /// When the sound that goes next was heard, by the count.
    pub fn heard(&self) -> Option<i128> {
        self.queue.iter().find(|piece| matches!(piece.what, What::Sound(_))).map(|piece| piece.heard)
    }

    /// What comes next does not go on from what came.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// Silence in the place of so many frames that never came.
    pub fn missing(&mut self, frames: u64, delay: u64) {
        self.queue.push_back(Piece { what: What::Missing, frames, delay, cut: true, heard: 0 });
        self.cut = true;
    }

    pub fn sound(&mut self, samples: VecDeque<i16>, delay: u64, heard: i128) {
        let (frames, cut) = ((samples.len() / self.channels) as u64, std::mem::take(&mut self.cut));
        self.held += frames;
        self.queue.push_back(Piece { what: What::Sound(samples), frames, delay, cut, heard });
    }

    /// All that waits waits for at least `delay`, but for `more` at most; so does what comes next, if anything has come.
    pub fn raise(&mut self, delay: u64, more: u64, begun: bool) {
        let (mut shifted, mut queue) = (0, VecDeque::new());
        let waiting = |frames| Piece { what: What::Waiting, frames, delay, cut: true, heard: 0 };
        for mut piece in self.queue.drain(..) {
            // What came under a longer delay lies before what came under a shorter one.
            let shift = delay.saturating_sub(piece.delay).min(more).max(shifted);
            if shift > shifted {
                queue.push_back(waiting(shift - shifted));
                piece.cut = true;
            }
            shifted = shift;
            piece.delay = piece.delay.max(delay);
            queue.push_back(piece);
        }
        if more > shifted && begun {
            queue.push_back(waiting(more - shifted));
            self.cut = true;
        }
        self.queue = queue;
    }

    /// Takes up to so many frames of the front piece; none if nothing waits.
    pub fn take(&mut self, most: u64) -> Option<Taken> {
        let piece = self.queue.front_mut()?;
        let frames = piece.frames.min(most);
        piece.frames -= frames;
        let mut taken = Taken { frames, cut: std::mem::take(&mut piece.cut), sound: None, missing: matches!(piece.what, What::Missing) };
        if let What::Sound(samples) = &mut piece.what {
            taken.sound = Some((samples.drain(..frames as usize * self.channels).collect(), piece.heard));
            piece.heard += i128::from(frames) * 1_000_000_000 / i128::from(self.rate);
            self.held -= frames;
        }
        if piece.frames == 0 {
            self.queue.pop_front();
        }
        Some(taken)
    }

    /// Leaves up to so many frames of the front piece out: how many, and whether they were sound.
    pub fn leave_out(&mut self, most: u64) -> (u64, bool) {
        let Some(taken) = self.take(most) else { return (0, false) };
        match self.queue.front_mut() {
            Some(next) => next.cut = true,
            None => self.cut = true,
        }
        (taken.frames, taken.sound.is_some())
    }

    /// Beyond so many frames the oldest sound becomes silence in its place: how much of it.
    pub fn make_room(&mut self, most: u64) -> u64 {
        let (mut cut, mut dropped) = (false, 0);
        for piece in &mut self.queue {
            piece.cut |= std::mem::take(&mut cut);
            if self.held <= most {
                return dropped;
            }
            if matches!(piece.what, What::Sound(_)) {
                self.held -= piece.frames;
                dropped += piece.frames;
                piece.what = What::Waiting;
                piece.cut = true;
                cut = true;
            }
        }
        self.cut |= cut;
        dropped
    }
}
