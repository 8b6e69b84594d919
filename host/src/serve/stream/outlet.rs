//! The way out: what leaves the delay line, in a bounded queue, covered and encoded on a thread of its own, to viewers and the auditor.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::{FRAME_NOMINAL, Shown, Stream};
use crate::censor::areas;
use crate::media::frame::{FrameSeq, Micros};
use crate::media::wire::{Extent, Format, Verdict};
use crate::room::channel::Unjudged;
use crate::room::judges::Judges;
use crate::room::published::{Cover, Published};
use crate::room::source::Source;
use crate::serve::audit::Audit;
use crate::serve::room::{Room, lock};
use crate::serve::{meter, word};
use crate::vision::cover::cover;

/// Published frames that wait to be covered, at most.
const OUT_MAX: usize = 8;

#[derive(Default)]
pub(super) struct Outbox {
    pub(super) waiting: VecDeque<(Published, u64, u64)>,
    pub(super) closed: bool,
}

impl Stream {
    /// A frame leaves the delay line; must not wait.
    pub(super) fn published(&self, source: &Source, published: Published, judges: &Judges, now: Micros) {
        judges.policies().published(self.number, published.frame.at);
        let due = published.frame.at + published.settings.delay;
        metrics::histogram!(meter::LATENESS).record(Duration::from(now.saturating_sub(due)));
        self.bytes.store(source.bytes() as u64, Ordering::Relaxed);
        let (sequence, capture_us) = self.name_of(published.frame.seq);
        let mut tally = lock(&self.tally);
        tally.path = source.counts().clone();
        // Later than a frame's length is late to a viewer.
        tally.late += u64::from(now.saturating_sub(due) > FRAME_NOMINAL);
        drop(tally);
        let mut outbox = lock(&self.outbox);
        let full = outbox.waiting.len() >= OUT_MAX;
        if full {
            outbox.waiting.pop_front();
        }
        outbox.waiting.push_back((published, sequence, capture_us));
        drop(outbox);
        self.left.notify_one();
        if full {
            self.dropped(1, "output");
        }
    }

    fn name_of(&self, seq: FrameSeq) -> (u64, u64) {
        let mut names = lock(&self.names);
        let (mut left_out, mut found) = (0, (seq.0, 0));
        while let Some((named, sequence, capture_us)) = names.pop_front() {
            if named == seq {
                found = (sequence, capture_us);
                break;
            }
            left_out += 1;
        }
        drop(names);
        if left_out > 0 {
            // The delay became shorter.
            self.dropped(left_out, "shortened");
        }
        found
    }

    fn next_published(&self) -> Option<(Published, u64, u64)> {
        let mut outbox = lock(&self.outbox);
        loop {
            if let Some(next) = outbox.waiting.pop_front() {
                return Some(next);
            }
            if outbox.closed {
                return None;
            }
            outbox = self.left.wait(outbox).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The covering thread.
    pub(super) fn cover_all(&self, room: &Weak<Room>) {
        let mut count = 0_u64;
        while let Some((published, sequence, capture_us)) = self.next_published() {
            let Some(room) = room.upgrade() else { return };
            let Published { mut frame, cover: how, pending, passed_unjudged, shot, settings } = published;
            let since = Instant::now();
            cover(&mut frame, areas(&how), settings.style);
            metrics::histogram!(meter::STAGE, "stage" => "cover").record(since.elapsed());
            let verdict = verdict_of(&how, passed_unjudged, shot);
            self.count(&verdict);
            metrics::counter!(meter::FRAMES_PENDING).increment(u64::from(!pending.is_empty()));
            count += 1;
            let every = u64::from(room.shared.host.config.serve.audit_every);
            if every > 0 && count.is_multiple_of(every) {
                let masks = areas(&how).to_vec();
                room.shared.auditor.look_at(Audit {
                    frame: frame.clone(),
                    masks,
                    settings,
                    room: Arc::downgrade(&room),
                    session: self.session,
                });
            }
            let shown = Arc::new(Shown::new(sequence, capture_us, frame, verdict));
            let since = Instant::now();
            for format in [Format::Jpeg, Format::I420] {
                if self.wants[format as usize].load(Ordering::Relaxed) > 0 {
                    shown.message(format);
                }
            }
            metrics::histogram!(meter::STAGE, "stage" => "encode").record(since.elapsed());
            // Nobody watching is no fault.
            let _ = self.shown.send(shown);
        }
    }

    fn count(&self, verdict: &Verdict) {
        metrics::counter!(meter::FRAMES_OUT, "cover" => word(&verdict.cover)).increment(1);
        if let Some(reason) = &verdict.reason {
            let name = if verdict.cover == Extent::Full { meter::FULL_COVERS } else { meter::PASSED_UNJUDGED };
            metrics::counter!(name, "reason" => reason.clone()).increment(1);
        }
        let mut tally = lock(&self.tally);
        tally.shown += 1;
        tally.covered += u64::from(verdict.cover != Extent::Clear);
    }
}

fn verdict_of(how: &Cover, passed_unjudged: Option<Unjudged>, shot: u32) -> Verdict {
    let (judged, cover, reason) = match how {
        Cover::Full { reason, .. } => (false, Extent::Full, Some(word(reason))),
        Cover::Masks(masks) => {
            let cover = if masks.is_empty() { Extent::Clear } else { Extent::Masked };
            (passed_unjudged.is_none(), cover, passed_unjudged.as_ref().map(word))
        }
    };
    Verdict { judged, cover, reason, masks: areas(how).to_vec(), shot }
}
