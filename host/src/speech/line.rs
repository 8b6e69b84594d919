//! The delay line of one microphone.
//!
//! Chunks of samples go in with the time they arrived at, for they have no other; chunks of 10 ms come out when they are due, muted where the timeline
//! says so, and where a judge that is needed has said nothing. Two times are kept apart. *When a sample was heard* is estimated ([`Arrivals`]) and says
//! what is muted. *When it goes out* is counted from a tie, so that sound goes out as it came: only where the two are more than [`DRIFT_MAX`] apart, silence
//! is put in or samples are left out.
//!
//! What always holds: a sample goes out once, in order, and, but for [`DRIFT_MAX`], not before its own time and the longest delay that was set since it
//! came; what goes out has no gaps; no sample goes out that had to be judged and was not; counted in frames (one sample a channel),
//! `in = out − underruns − inserted + overruns + dropped + held`.

use std::ops::Range;

use super::arrivals::{Arrivals, Came};
use super::fade::Fade;
use super::mute::{MuteTimeline, Replacement};
use super::pieces::{Piece, Pieces, Taken, What};
use crate::media::frame::Micros;

/// How far what goes out may be from its time before it is moved.
pub const DRIFT_MAX: Micros = Micros::from_millis(40);
/// How long is waited for a late chunk.
pub const WAIT_MAX: Micros = Micros::from_millis(60);
/// Mutes are kept for so long after what can still come.
const MUTES_KEPT: u128 = 1_000_000_000;
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
    /// Which of the samples came in, whatever became of them; the others are silence of our own.
    pub came: Vec<Range<usize>>,
}

/// What becomes of sound of which no judge has said that it is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unjudged {
    /// Nobody is asked to judge: all of it passes.
    #[default]
    Unasked,
    /// It passes, with the mutes that are known, and is counted.
    Passes,
    /// Nothing of it goes out.
    Silent,
}

/// Frames since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub taken: u64,
    pub out: u64,
    /// Of those that went out: wholly or partly something else, because of a mute.
    pub muted: u64,
    /// The same, because a judge had said nothing of them.
    pub withheld: u64,
    /// Went out though a judge had said nothing of them.
    pub unjudged: u64,
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

/// See the module.
#[derive(Debug)]
pub struct AudioLine {
    format: Format,
    /// In frames.
    delay: u64,
    held_max: u64,
    replacement: Replacement,
    timeline: MuteTimeline,
    unjudged: Unjudged,
    /// Up to when a judge has heard it, nanoseconds.
    judged: i128,
    /// For so many frames more the judge counts as late.
    late: u64,
    /// What is not heard is so because of the judge.
    withholds: bool,
    fade: Fade,
    pieces: Pieces,
    arrivals: Arrivals,
    /// When the first frame of all is due without any delay, nanoseconds; none before the first arrival.
    tie: Option<u128>,
    /// Something has gone out: what comes can no longer move the tie.
    begun: bool,
    /// The next frame's place in what goes out, counted as due times: those that come, and those that go.
    next_in: u64,
    next_out: u64,
    /// To be left out of what comes: for the clock, for the delay.
    surplus: u64,
    shorter: u64,
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
            unjudged: Unjudged::default(),
            judged: 0,
            late: 0,
            withholds: false,
            fade: Fade::new(format.rate, format.channels),
            pieces: Pieces::new(format.rate, format.channels),
            arrivals: Arrivals::new(format.rate, format.channels),
            tie: None,
            begun: false,
            next_in: 0,
            next_out: 0,
            surplus: 0,
            shorter: 0,
            starved: false,
            counts: Counts::default(),
        };
        line.delay = line.frames(delay);
        line
    }

    pub fn counts(&self) -> Counts {
        Counts { held: self.pieces.held() + self.arrivals.kept(), ..self.counts }
    }

    /// Bytes of samples that wait.
    pub fn bytes(&self) -> usize {
        (self.counts().held * 2 * u64::from(self.format.channels)) as usize
    }

    /// What is heard where it is muted.
    pub fn replace_with(&mut self, replacement: Replacement) {
        self.replacement = replacement;
    }

    /// Mutes what the microphone hears between the two. What has gone out stays; what of it has not is silent at once.
    pub fn mute(&mut self, from: Micros, to: Micros) {
        self.timeline.mute(from, to);
    }

    /// What becomes of what is not judged, from what goes out next on.
    pub fn treat(&mut self, unjudged: Unjudged) {
        self.unjudged = unjudged;
        if unjudged == Unjudged::Unasked {
            self.late = 0;
        }
    }

    /// A judge has heard all that the microphone heard until then, and has muted what it found. It does not take back what it said.
    pub fn judged(&mut self, until: Micros) {
        self.judged = self.judged.max(signed(nanos(until)));
    }

    /// Whether sound went out, within the last second of it, that a judge should have said something of and had not.
    pub fn judge_is_late(&self) -> bool {
        self.late > 0
    }

    /// Longer: silence goes out first, and all that waits goes on waiting. Shorter: what waits stays for as long as it was promised, and of what comes
    /// next the oldest is dropped.
    pub fn set_delay(&mut self, delay: Micros) {
        let delay = self.frames(delay);
        if delay != self.delay {
            self.settle();
        }
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
        self.pieces.raise(delay, more, self.tie.is_some());
        // Silence that already went out for want of sound counts for it.
        if self.tie.is_some() {
            self.next_in += more;
            self.trim();
        }
    }

    /// Takes what the microphone has sent; what is no whole frame is left out.
    pub fn push(&mut self, arrived: Micros, samples: &[i16]) {
        let channels = self.format.channels as usize;
        let frames = (samples.len() / channels) as u64;
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
        let samples = samples[..frames as usize * channels].to_vec();
        let came = self.arrivals.take(signed(arrived), samples, signed(self.span(self.delay) * 3 / 4), self.held_max / 2);
        self.place(came);
    }

    /// So many frames that the microphone sent are known to be lost; what comes next was heard after them.
    pub fn lost(&mut self, frames: u64) {
        self.settle();
        let came = self.arrivals.lost(frames);
        self.place(came);
    }

    /// What was late, and kept back until it shows whether anything is lost before it, was only late.
    pub fn settle(&mut self) {
        let came = self.arrivals.settle();
        self.place(came);
    }

    fn place(&mut self, came: Vec<Came>) {
        for came in came {
            match came {
                Came::Missing(frames) => self.missing(frames),
                Came::Sound { heard, samples } => self.sound(heard, samples),
            }
        }
        self.trim();
        // Beyond the bound the oldest goes.
        self.counts.dropped += self.pieces.make_room(self.held_max);
    }

    fn missing(&mut self, frames: u64) {
        self.pieces.missing(frames, self.delay);
        self.next_in += frames;
    }

    fn sound(&mut self, heard: i128, samples: Vec<i16>) {
        let channels = self.format.channels as usize;
        let mut frames = (samples.len() / channels) as u64;
        self.fit(heard);
        let mut gone = 0;
        for of_surplus in [true, false] {
            let (left, count) =
                if of_surplus { (&mut self.surplus, &mut self.counts.overruns) } else { (&mut self.shorter, &mut self.counts.dropped) };
            let most = (*left).min(frames);
            *left -= most;
            *count += most;
            frames -= most;
            gone += most;
        }
        if gone > 0 {
            self.pieces.cut();
        }
        if frames == 0 {
            return;
        }
        self.next_in += frames;
        let samples = samples.into_iter().skip(gone as usize * channels).collect();
        self.pieces.sound(samples, self.delay, heard + signed(self.span(gone)));
    }

    /// Holds what comes, heard then by the count, against where it would lie.
    fn fit(&mut self, heard: i128) {
        let off = heard + self.arrivals.offset() - signed(self.coming());
        if off < 0 && !self.begun {
            // The first arrivals were held up; nothing has gone out by them.
            self.tie = self.tie.map(|tie| tie.saturating_sub(off.unsigned_abs()));
        } else if off < -signed(nanos(DRIFT_MAX)) {
            self.surplus += self.frames_of(off.unsigned_abs());
        } else if off > signed(nanos(DRIFT_MAX)) {
            self.missing(self.frames_of(off.unsigned_abs()));
        }
    }

    /// Places that silence has gone out for already are no longer free: what would lie there is too late.
    fn trim(&mut self) {
        let mut over = (self.next_out + self.pieces.frames()).saturating_sub(self.next_in);
        while over > 0 {
            let (frames, sound) = self.pieces.leave_out(over);
            if frames == 0 {
                return;
            }
            if sound {
                self.counts.overruns += frames;
            }
            over -= frames;
        }
    }

    /// Ten milliseconds, if they are due.
    pub fn pop(&mut self, now: Micros) -> Option<Chunk> {
        let (now, wanted) = (nanos(now), u64::from(self.format.rate / 100));
        self.tie?;
        self.catch_up(now, wanted);
        let due = self.due(self.next_out + wanted);
        let there = self.next_in.saturating_sub(self.next_out) >= wanted;
        if now < due || (!there && now < due + nanos(WAIT_MAX)) {
            return None;
        }
        self.begun = true;
        let channels = self.format.channels as usize;
        let at = match self.pieces.front() {
            Some(Piece { what: What::Sound(_), heard, .. }) => self.own(*heard),
            piece => self.due(self.next_out).saturating_sub(self.span(piece.map_or(self.delay, |piece| piece.delay))),
        };
        let mut chunk = Chunk { at: Micros((at / 1000) as u64), samples: Vec::with_capacity(wanted as usize * channels), came: Vec::new() };
        while chunk.samples.len() < wanted as usize * channels {
            let left = wanted - (chunk.samples.len() / channels) as u64;
            self.give(left, &mut chunk);
        }
        self.forget(now);
        Some(chunk)
    }

    /// Lets go of mutes that no sound can reach any more: neither what waits, nor what comes, which may be late.
    fn forget(&mut self, now: u128) {
        let waits = self.pieces.heard().map(|heard| self.own(heard));
        // What is later than that gets another time.
        let comes = self.arrivals.coming().map_or(0, unsigned).max(now.saturating_sub(MUTES_KEPT));
        let oldest = waits.map_or(comes, |waits| waits.min(comes)).saturating_sub(MUTES_KEPT);
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
            let (frames, sound) = self.pieces.leave_out(over);
            if sound {
                self.counts.dropped += frames;
            }
            if frames == 0 {
                return;
            }
            self.begun = true;
            self.next_out += frames;
            over -= frames;
        }
        // Of what never came, silence is not made good either.
        if there == 0 {
            self.next_out += self.frames_of(now.saturating_sub(self.due(self.next_out + wanted)));
        }
    }

    /// Gives up to so many frames of the front piece, or silence where there is none.
    fn give(&mut self, most: u64, chunk: &mut Chunk) {
        let channels = self.format.channels as usize;
        let from = chunk.samples.len();
        let Some(Taken { frames, cut, sound, missing }) = self.pieces.take(most) else {
            self.counts.underruns += most;
            let cut = !std::mem::replace(&mut self.starved, true);
            chunk.samples.resize(from + most as usize * channels, 0);
            return self.cover(&mut chunk.samples[from..], None, cut);
        };
        let cut = cut | std::mem::take(&mut self.starved);
        let heard = sound.as_ref().map(|(_, heard)| *heard);
        match sound {
            Some((samples, _)) => {
                chunk.came.push(from..from + samples.len());
                chunk.samples.extend(samples);
            }
            None => {
                *(if missing { &mut self.counts.underruns } else { &mut self.counts.inserted }) += frames;
                chunk.samples.resize(from + frames as usize * channels, 0);
            }
        }
        self.cover(&mut chunk.samples[from..], heard, cut);
    }

    /// Replaces what must not be heard of what goes out: sound that was heard then by the count, or silence of our own.
    fn cover(&mut self, samples: &mut [i16], heard: Option<i128>, cut: bool) {
        let channels = self.format.channels as usize;
        let frames = (samples.len() / channels) as u64;
        let begin = heard.map_or_else(|| self.due(self.next_out).saturating_sub(self.span(self.delay)), |heard| self.own(heard));
        let judged = self.judged_of(begin, frames);
        if heard.is_some() && self.unjudged != Unjudged::Unasked {
            let late = if judged < frames { u64::from(self.format.rate) } else { self.late.saturating_sub(frames) };
            self.late = late;
            self.counts.unjudged += if self.unjudged == Unjudged::Passes { frames - judged } else { 0 };
        }
        let heard_until = if self.unjudged == Unjudged::Silent { judged } else { frames };
        let micros = |at: u128| Micros((at / 1000) as u64);
        let touched = heard_until < frames || self.timeline.touches(micros(begin), micros(begin + self.span(frames)) + Micros(1));
        if !touched && !cut && self.fade.idle() {
            if let Some(last) = samples.chunks(channels).next_back() {
                self.fade.passed(last);
            }
        } else {
            for (number, frame) in samples.chunks_mut(channels).enumerate() {
                let number = number as u64;
                let gain = if number < heard_until { self.timeline.gain_at_nanos(begin + self.span(number)) } else { 0.0 };
                if gain < 1.0 {
                    self.withholds = number >= heard_until;
                }
                if self.fade.apply(frame, gain, self.replacement, self.counts.out + number, cut && number == 0) {
                    *(if self.withholds { &mut self.counts.withheld } else { &mut self.counts.muted }) += 1;
                }
            }
        }
        self.next_out += frames;
        self.counts.out += frames;
    }

    /// How many of these frames are judged, or need not be.
    fn judged_of(&self, begin: u128, frames: u64) -> u64 {
        if self.unjudged == Unjudged::Unasked {
            return frames;
        }
        let span = unsigned(self.judged - signed(begin));
        ((span * u128::from(self.format.rate)).div_ceil(1_000_000_000) as u64).min(frames)
    }

    /// A time by the count, by the host's clock.
    fn own(&self, heard: i128) -> u128 {
        unsigned(heard + self.arrivals.offset())
    }

    /// When what comes next should have been heard, whether it will be left out or not, to go out when it will, nanoseconds.
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

fn signed(nanos: u128) -> i128 {
    i128::try_from(nanos).unwrap_or(i128::MAX)
}

fn unsigned(nanos: i128) -> u128 {
    u128::try_from(nanos).unwrap_or(0)
}
