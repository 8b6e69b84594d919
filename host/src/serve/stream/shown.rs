//! Frames as viewers get them, encoded once for all who want them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Stream;
use crate::media::frame::{Frame, Micros};
use crate::media::wire::{self, Format, Origin, Verdict};

/// Of the JPEG pictures that viewers get.
const JPEG_QUALITY: u8 = 85;

/// A frame as viewers get it.
pub struct Shown {
    /// The publisher's own number and capture time.
    pub sequence: u64,
    pub capture_us: u64,
    /// Covered.
    pub frame: Frame,
    pub verdict: Verdict,
    jpeg: OnceLock<Bytes>,
    i420: OnceLock<Bytes>,
}

impl Shown {
    pub(super) fn new(sequence: u64, capture_us: u64, frame: Frame, verdict: Verdict) -> Self {
        Self { sequence, capture_us, frame, verdict, jpeg: OnceLock::new(), i420: OnceLock::new() }
    }

    /// The socket's message; empty if it can't be encoded.
    pub fn message(&self, format: Format) -> &Bytes {
        let once = match format {
            Format::Jpeg => &self.jpeg,
            Format::I420 => &self.i420,
        };
        once.get_or_init(|| {
            let origin = Origin { sequence: self.sequence, capture: Micros(self.capture_us) };
            wire::cover_message(&self.frame, format, JPEG_QUALITY, origin, self.verdict.clone()).unwrap_or_else(|error| {
                tracing::warn!(%error, "a covered frame cannot be encoded");
                Bytes::new()
            })
        })
    }
}

/// A viewer's wish, for as long as it lives.
pub struct Wanted {
    pub(super) stream: Arc<Stream>,
    pub(super) want: Option<Format>,
}

impl Wanted {
    pub(super) fn count(&self) -> Option<&AtomicUsize> {
        self.want.map(|format| &self.stream.wants[format as usize])
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if let Some(count) = self.count() {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
