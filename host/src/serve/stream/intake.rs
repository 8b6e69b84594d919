//! The way in: what a publisher sends, in a bounded queue, decoded on a thread of its own into the frame path.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Shown, Stream};
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::media::picture::Limits;
use crate::media::wire::{self, Control, Extent, Verdict};
use crate::room::policies::Policies;
use crate::serve::meter;
use crate::serve::room::{Room, lock};

/// Messages that wait to be decoded, at most.
pub const QUEUE_MAX: usize = 10;
/// A publisher's clock further off than this is tied anew.
const CLOCK_DRIFT_MAX: Micros = Micros::from_millis(1000);

/// What a publisher gives.
pub enum Offered {
    /// One binary message of the socket's format.
    Message(Bytes),
    /// A decoded frame, numbered and timed by its own source.
    Frame(Frame),
}

#[derive(Default)]
pub(super) struct Inbox {
    /// Each with whether its publisher was away before it.
    pub(super) waiting: VecDeque<(Offered, bool)>,
    pub(super) resumes: bool,
    pub(super) closed: bool,
}

impl Stream {
    /// Takes what a publisher sent. Never waits: with a full queue the oldest goes.
    pub fn offer(&self, offered: Offered) {
        metrics::counter!(meter::FRAMES_IN, "way" => self.origin.way.as_str()).increment(1);
        let mut inbox = lock(&self.inbox);
        let full = inbox.waiting.len() >= QUEUE_MAX;
        if full
            && let Some((_, true)) = inbox.waiting.pop_front()
            && let Some((_, resumed)) = inbox.waiting.front_mut()
        {
            *resumed = true;
        }
        let resumed = std::mem::take(&mut inbox.resumes);
        inbox.waiting.push_back((offered, resumed));
        let waiting = inbox.waiting.len();
        drop(inbox);
        self.arrived.notify_one();
        lock(&self.tally).received += 1;
        if full {
            self.dropped(1, "queue");
            // Half of what came cannot be kept up with: half of the rate is a start.
            let _ = self.control.send(Control::SlowDown { queue: waiting as u32, frames_per_second: self.rate_hint() });
        }
    }

    fn rate_hint(&self) -> f32 {
        let tally = lock(&self.tally);
        let kept = tally.received.saturating_sub(tally.dropped).max(1) as f32;
        (30.0 * kept / tally.received.max(1) as f32).max(1.0)
    }

    fn next_offered(&self) -> Option<(Offered, bool)> {
        let mut inbox = lock(&self.inbox);
        loop {
            if let Some(offered) = inbox.waiting.pop_front() {
                return Some(offered);
            }
            if inbox.closed {
                return None;
            }
            inbox = self.arrived.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The decoding thread.
    pub(super) fn decode(&self, room: &Weak<Room>, policies: &Policies, to: &mpsc::Sender<Frame>) {
        let (mut seq, mut clock, mut admitted) = (0, None::<(u64, Micros)>, None);
        let (mut last_at, mut resumes) = (Micros::ZERO, false);
        while let Some((offered, resumed)) = self.next_offered() {
            resumes |= resumed;
            let Some(room) = room.upgrade() else { return };
            let shared = &room.shared;
            let since = Instant::now();
            let decoded = match offered {
                Offered::Message(bytes) => unpacked(&bytes),
                Offered::Frame(frame) => Ok((frame.seq.0, frame.at.0, frame)),
            };
            let (sequence, capture_us, mut frame) = match decoded {
                Ok(decoded) => decoded,
                Err(detail) => {
                    let _ = self.control.send(Control::Error { title: "frame not usable".to_owned(), detail });
                    self.dropped(1, "undecodable");
                    continue;
                }
            };
            metrics::histogram!(meter::STAGE, "stage" => "decode").record(since.elapsed());
            if lock(&self.publisher).last_sequence.is_some_and(|last| sequence <= last) {
                self.dropped(1, "order");
                continue;
            }
            let size = (frame.width, frame.height);
            if admitted != Some(size) {
                if let Err(error) = self.admit(shared, size) {
                    let _ = self.control.send(Control::Error { title: "stream refused".to_owned(), detail: error.to_string() });
                    self.dropped(1, "refused");
                    continue;
                }
                admitted = Some(size);
                lock(&self.tally).size = Some(size);
            }
            let now = shared.clock.now();
            let at = self.host_time(&mut clock, capture_us, now).max(last_at + Micros(1));
            last_at = at;
            frame.seq = FrameSeq(seq);
            frame.at = at;
            seq += 1;
            frame.resumed = std::mem::take(&mut resumes);
            lock(&self.publisher).last_sequence = Some(sequence);
            lock(&self.names).push_back((frame.seq, sequence, capture_us));
            policies.captured(at);
            if let Some(raw) = self.raw.as_ref().filter(|raw| raw.receiver_count() > 0) {
                let verdict = Verdict { judged: false, cover: Extent::Clear, reason: None, masks: Vec::new(), shot: 0 };
                let _ = raw.send(Arc::new(Shown::new(sequence, capture_us, frame.clone(), verdict)));
            }
            drop(room);
            // The frame path never stops taking; should it be gone, so is the stream.
            if to.blocking_send(frame).is_err() {
                return;
            }
        }
    }

    /// When a frame was captured, by the host's clock: as far from the last tie as by the publisher's own, never in the future.
    fn host_time(&self, clock: &mut Option<(u64, Micros)>, capture_us: u64, now: Micros) -> Micros {
        let (theirs, ours) = *clock.get_or_insert((capture_us, now));
        let at = Micros((ours.0 + capture_us).saturating_sub(theirs));
        // A publisher that resumes may have another clock; one that runs away is held to ours.
        let off = if at > now { at.saturating_sub(now) } else { now.saturating_sub(at) };
        if at > now || off > CLOCK_DRIFT_MAX {
            *clock = Some((capture_us, now));
            return now;
        }
        at
    }
}

/// A publisher's message: its number, its capture time, its frame, or what is wrong with it.
fn unpacked(message: &[u8]) -> Result<(u64, u64, Frame), String> {
    let limits = Limits::default();
    let inbound = wire::parse_inbound(message, limits).map_err(|error| error.to_string())?;
    let frame = wire::frame_of(&inbound, inbound.head.capture, limits).map_err(|error| error.to_string())?;
    Ok((inbound.head.sequence, inbound.head.capture.0, frame))
}
