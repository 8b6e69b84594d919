//! The delay line of one microphone.
//!
//! Chunks of samples go in with the time they arrived at, for they have no other; chunks of 10 ms come out when they are due, muted where the timeline
//! says so. A sample's own time is counted from a tie: the first arrival. Arrivals that are off by more than [`DRIFT_MAX`] move it: what is missing becomes
//! silence, what is too much is dropped.
//!
//! What always holds: a sample goes out once, in order, and not before its own time and the longest delay that was set since it came; what goes out has
//! no gaps; counted in frames (one sample a channel), `in = out − underruns − inserted + overruns + dropped + held`.

use std::collections::VecDeque;

use super::fade::Fade;
use super::mute::{MuteTimeline, Replacement};
use crate::media::frame::Micros;

/// How far sample count and arrivals may be apart before one is made to fit the other; also how long is waited for a late chunk.
pub const DRIFT_MAX: Micros = Micros::from_millis(60);
/// For so long arrivals must all be later than that: a chunk that is held up, and the burst after it, are no gap.
const LATE_FOR: Micros = Micros::from_millis(200);
/// One that is later than this is one at once.
const GAP: Micros = Micros::from_millis(250);
/// What is not fetched for so long after it was due is dropped, up to what is due now: sound that is behind its pictures stays behind.
pub const BEHIND_MAX: Micros = Micros::from_millis(120);

/// How sound is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Hertz; a multiple of 100, so that 10 ms are whole.
    pub rate: u32,
    pub channels: u32,
}

/// Ten milliseconds that go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// When its first sample was heard by the microphone.
    pub at: Micros,
    /// Interleaved.
    pub samples: Vec<i16>,
}

/// Frames since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub taken: u64,
    pub out: u64,
    /// Of those that went out: wholly or partly something else.
    pub replaced: u64,
    /// Silence that went out where nothing had come.
    pub underruns: u64,
    /// Silence that went out because the delay grew, or for what there was no room.
    pub inserted: u64,
    /// Left out: more than the clock says can have been, or too late.
    pub overruns: u64,
    /// Left out: the delay shrank, nobody fetched it, or there was no room.
    pub dropped: u64,
    /// Came and have not gone yet.
    pub held: u64,
}

#[derive(Debug)]
enum What {
    Sound(VecDeque<i16>),
    Missing,
    Waiting,
}

/// What follows in the line.
#[derive(Debug)]
struct Piece {
    what: What,
    frames: u64,
    /// In frames.
    delay: u64,
    /// It does not go on from the one before.
    cut: bool,
}

/// See the module.
#[derive(Debug)]
pub struct AudioLine {
    format: Format,
    /// In frames.
    delay: u64,
    held_max: u64,
    replacement: Replacement,
    timeline: MuteTimeline,
    closed: bool,
    fade: Fade,
    pieces: VecDeque<Piece>,
    /// When the first frame of all is due without any delay, nanoseconds; none before the first arrival.
    tie: Option<u128>,
    /// The next frame's place in what goes out, counted as due times: those that come, and those that go.
    next_in: u64,
    next_out: u64,
    /// To be left out of what comes: for the clock, for the delay.
    surplus: u64,
    shorter: u64,
    /// Since when arrivals are late: frames, and by how many frames at least.
    late: Option<(u64, u64)>,
    /// What comes next does not go on from what came.
    cut: bool,
    /// What went out last was silence of our own.
    starved: bool,
    counts: Counts,
}

impl AudioLine {
    /// Holds at most so many bytes of samples; beyond it the oldest go.
    ///
    /// # Panics
    /// When the format has no channel or no whole 10 ms.
    pub fn new(format: Format, delay: Micros, bytes_max: usize) -> Self {
        assert!(format.channels > 0 && format.rate > 0 && format.rate.is_multiple_of(100), "{format:?}");
        let mut line = Self {
            format,
            delay: 0,
            held_max: bytes_max as u64 / (2 * u64::from(format.channels)),
            replacement: Replacement::default(),
            timeline: MuteTimeline::default(),
            closed: false,
            fade: Fade::new(format.rate, format.channels),
            pieces: VecDeque::new(),
            tie: None,
            next_in: 0,
            next_out: 0,
            surplus: 0,
            shorter: 0,
            late: None,
            cut: false,
            starved: false,
            counts: Counts::default(),
        };
        line.delay = line.frames(delay);
        line
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes of samples that wait.
    pub fn bytes(&self) -> usize {
        (self.counts.held * 2 * u64::from(self.format.channels)) as usize
    }

    /// What is heard where it is muted.
    pub fn replace_with(&mut self, replacement: Replacement) {
        self.replacement = replacement;
    }

    /// Mutes what the microphone hears between the two. What has gone out stays; what of it has not is silent at once.
    pub fn mute(&mut self, from: Micros, to: Micros) {
        self.timeline.mute(from, to);
    }

    /// While it is set nothing goes out that came in: a judge that is needed is late or gone.
    pub fn fail_closed(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// Longer: silence goes out first, and all that waits goes on waiting. Shorter: what waits stays for as long as it was promised, and of what comes
    /// next the oldest is dropped.
    pub fn set_delay(&mut self, delay: Micros) {
        let delay = self.frames(delay);
        if delay < self.delay {
            self.shorter += self.delay - delay;
        } else {
            let spared = self.shorter.min(delay - self.delay);
            self.shorter -= spared;
            self.raise(delay, delay - self.delay - spared);
        }
        self.delay = delay;
    }

    /// What comes waits longer by `more`, what waits at least for `delay`.
    fn raise(&mut self, delay: u64, more: u64) {
        let (mut shifted, mut pieces) = (0, VecDeque::new());
        let waiting = |frames| Piece { what: What::Waiting, frames, delay, cut: true };
        for mut piece in self.pieces.drain(..) {
            // What came under a longer delay lies before what came under a shorter one.
            let shift = delay.saturating_sub(piece.delay).min(more).max(shifted);
            if shift > shifted {
                pieces.push_back(waiting(shift - shifted));
                piece.cut = true;
            }
            shifted = shift;
            piece.delay = piece.delay.max(delay);
            pieces.push_back(piece);
        }
        if more > shifted && self.tie.is_some() {
            pieces.push_back(waiting(more - shifted));
            self.cut = true;
        }
        self.pieces = pieces;
        // Silence that already went out for want of sound counts for it.
        if self.tie.is_some() {
            self.next_in += more;
            self.trim();
        }
    }

    /// Takes what the microphone has sent; what is no whole frame is left out.
    pub fn push(&mut self, arrived: Micros, samples: &[i16]) {
        let channels = self.format.channels as usize;
        let mut frames = (samples.len() / channels) as u64;
        let mut samples = &samples[..frames as usize * channels];
        if frames == 0 {
            return;
        }
        self.counts.taken += frames;
        let arrived = nanos(arrived);
        if self.tie.is_none() {
            self.tie = Some(arrived.saturating_sub(self.span(frames)));
            self.next_in = self.delay;
            self.next_out = self.delay;
            self.shorter = 0;
        }
        self.fit(arrived, frames);
        for of_surplus in [true, false] {
            let (left, count) =
                if of_surplus { (&mut self.surplus, &mut self.counts.overruns) } else { (&mut self.shorter, &mut self.counts.dropped) };
            let gone = (*left).min(frames);
            *left -= gone;
            *count += gone;
            frames -= gone;
            samples = &samples[gone as usize * channels..];
            self.cut |= gone > 0;
        }
        if frames == 0 {
            return;
        }
        let cut = std::mem::take(&mut self.cut);
        self.next_in += frames;
        self.counts.held += frames;
        self.pieces.push_back(Piece { what: What::Sound(samples.iter().copied().collect()), frames, delay: self.delay, cut });
        self.trim();
        self.make_room();
    }

    /// Holds arrival and sample count against each other.
    fn fit(&mut self, arrived: u128, frames: u64) {
        let heard = self.coming() + self.span(frames);
        if arrived + nanos(DRIFT_MAX) < heard {
            self.surplus += self.frames_of(heard - arrived);
            self.late = None;
            return;
        }
        let late = arrived.saturating_sub(heard);
        if late <= nanos(DRIFT_MAX) {
            self.late = None;
            return;
        }
        let by = self.frames_of(late);
        let (since, least) = self.late.map_or((frames, by), |(since, least)| (since + frames, least.min(by)));
        let missing = if late > nanos(GAP) { by } else { least };
        if late > nanos(GAP) || since >= self.frames(LATE_FOR) {
            self.late = None;
            self.pieces.push_back(Piece { what: What::Missing, frames: missing, delay: self.delay, cut: true });
            self.next_in += missing;
            self.cut = true;
            self.trim();
        } else {
            self.late = Some((since, least));
        }
    }

    /// Places that silence has gone out for already are no longer free: what would lie there is too late.
    fn trim(&mut self) {
        let waiting: u64 = self.pieces.iter().map(|piece| piece.frames).sum();
        let mut over = (self.next_out + waiting).saturating_sub(self.next_in);
        while over > 0 {
            let (frames, sound) = self.leave_out(over);
            if frames == 0 {
                return;
            }
            if sound {
                self.counts.overruns += frames;
            }
            over -= frames;
        }
    }

    /// Takes up to so many frames from the front piece away: how many, and whether they were sound.
    fn leave_out(&mut self, most: u64) -> (u64, bool) {
        let channels = self.format.channels as usize;
        let Some(piece) = self.pieces.front_mut() else { return (0, false) };
        let frames = piece.frames.min(most);
        piece.frames -= frames;
        piece.cut = true;
        let sound = if let What::Sound(samples) = &mut piece.what {
            samples.drain(..frames as usize * channels);
            self.counts.held -= frames;
            true
        } else {
            false
        };
        if piece.frames == 0 {
            self.pieces.pop_front();
            match self.pieces.front_mut() {
                Some(next) => next.cut = true,
                None => self.cut = true,
            }
        }
        (frames, sound)
    }

    /// Beyond the bound the oldest sound becomes silence in its place.
    fn make_room(&mut self) {
        let mut cut = false;
        for piece in &mut self.pieces {
            piece.cut |= std::mem::take(&mut cut);
            if self.counts.held <= self.held_max {
                return;
            }
            if matches!(piece.what, What::Sound(_)) {
                self.counts.held -= piece.frames;
                self.counts.dropped += piece.frames;
                piece.what = What::Waiting;
                piece.cut = true;
                cut = true;
            }
        }
        self.cut |= cut;
    }

    /// Ten milliseconds, if they are due.
    pub fn pop(&mut self, now: Micros) -> Option<Chunk> {
        let (now, wanted) = (nanos(now), u64::from(self.format.rate / 100));
        self.tie?;
        self.catch_up(now, wanted);
        let due = self.due(self.next_out + wanted);
        let there = self.next_in.saturating_sub(self.next_out) >= wanted;
        if now < due || (!there && now < due + nanos(DRIFT_MAX)) {
            return None;
        }
        let channels = self.format.channels as usize;
        let first_delay = self.pieces.front().map_or(self.delay, |piece| piece.delay);
        let at = self.due(self.next_out).saturating_sub(self.span(first_delay));
        let mut samples = Vec::with_capacity(wanted as usize * channels);
        while samples.len() < wanted as usize * channels {
            let left = wanted - (samples.len() / channels) as u64;
            self.give(left, &mut samples);
        }
        self.forget(now);
        Some(Chunk { at: Micros((at / 1000) as u64), samples })
    }

    /// Lets go of mutes that no sound can reach any more: neither what waits, nor what comes, which may be late.
    fn forget(&mut self, now: u128) {
        let oldest = match self.pieces.front() {
            Some(piece) => self.due(self.next_out).saturating_sub(self.span(piece.delay)),
            // What is later than that gets another time.
            None => self.coming().max(now.saturating_sub(4 * nanos(GAP))),
        };
        self.timeline.forget_before(Micros((oldest / 1000) as u64));
    }

    /// Drops what nobody fetched in time.
    fn catch_up(&mut self, now: u128, wanted: u64) {
        let behind = now.saturating_sub(self.due(self.next_out + wanted));
        let there = self.next_in.saturating_sub(self.next_out);
        if behind <= nanos(BEHIND_MAX) {
            return;
        }
        let mut over = self.frames_of(behind).min(there);
        while over > 0 {
            let (frames, sound) = self.leave_out(over);
            if sound {
                self.counts.dropped += frames;
            }
            if frames == 0 {
                return;
            }
            self.next_out += frames;
            over -= frames;
        }
        // Of what never came, silence is not made good either.
        if there == 0 {
            self.next_out += self.frames_of(now.saturating_sub(self.due(self.next_out + wanted)));
        }
    }

    /// Gives up to so many frames of the front piece, or silence where there is none.
    fn give(&mut self, most: u64, out: &mut Vec<i16>) {
        let channels = self.format.channels as usize;
        let from = out.len();
        let (frames, delay, cut, over) = match self.pieces.front_mut() {
            Some(piece) => {
                let frames = piece.frames.min(most);
                piece.frames -= frames;
                let length = frames as usize * channels;
                match &mut piece.what {
                    What::Sound(samples) => {
                        out.extend(samples.drain(..length));
                        self.counts.held -= frames;
                    }
                    What::Missing => self.counts.underruns += frames,
                    What::Waiting => self.counts.inserted += frames,
                }
                let cut = std::mem::take(&mut piece.cut) | std::mem::take(&mut self.starved);
                (frames, piece.delay, cut, piece.frames == 0)
            }
            None => {
                self.counts.underruns += most;
                (most, self.delay, !std::mem::replace(&mut self.starved, true), false)
            }
        };
        out.resize(from + frames as usize * channels, 0);
        if over {
            self.pieces.pop_front();
        }
        self.cover(&mut out[from..], delay, cut);
        self.next_out += frames;
        self.counts.out += frames;
    }

    /// Mutes what goes out.
    fn cover(&mut self, samples: &mut [i16], delay: u64, cut: bool) {
        let channels = self.format.channels as usize;
        let frames = (samples.len() / channels) as u64;
        let begin = self.due(self.next_out).saturating_sub(self.span(delay));
        let micros = |at: u128| Micros((at / 1000) as u64);
        let touched = self.closed || self.timeline.touches(micros(begin), micros(begin + self.span(frames)) + Micros(1));
        if !touched && !cut && self.fade.idle() {
            if let Some(last) = samples.chunks(channels).next_back() {
                self.fade.passed(last);
            }
            return;
        }
        for (number, frame) in samples.chunks_mut(channels).enumerate() {
            let number = number as u64;
            let gain = if self.closed { 0.0 } else { self.timeline.gain_at_nanos(begin + self.span(number)) };
            let replaced = self.fade.apply(frame, gain, self.replacement, self.counts.out + number, cut && number == 0);
            self.counts.replaced += u64::from(replaced);
        }
    }

    /// When the microphone heard what comes next, whether it will be left out or not, nanoseconds.
    fn coming(&self) -> u128 {
        self.due(self.next_in).saturating_sub(self.span(self.delay + self.shorter + self.surplus))
    }

    /// When the frame at this place is due, nanoseconds.
    fn due(&self, place: u64) -> u128 {
        self.tie.unwrap_or(0) + self.span(place)
    }

    fn span(&self, frames: u64) -> u128 {
        u128::from(frames) * 1_000_000_000 / u128::from(self.format.rate)
    }

    fn frames(&self, span: Micros) -> u64 {
        self.frames_of(nanos(span))
    }

    fn frames_of(&self, nanos: u128) -> u64 {
        ((nanos * u128::from(self.format.rate) + 500_000_000) / 1_000_000_000) as u64
    }
}

fn nanos(at: Micros) -> u128 {
    u128::from(at.0) * 1000
}
