//! Small pictures of a run, evenly spread over it, within a budget of bytes that holds however long the run is.

use crate::media::frame::{Frame, Micros};
use crate::media::picture::{PictureError, encode_preview};

/// Longer side of a picture, in pixels.
const SIDE_MAX: u32 = 400;
const JPEG_QUALITY: u8 = 62;

/// Closest distance: eight a second play smoothly enough to follow.
const STEP_MIN: Micros = Micros::from_millis(120);

/// One moment of the run, as JPEG.
#[derive(Clone, Debug)]
pub struct Preview {
    pub at: Micros,
    /// None if the page must not show what was covered.
    pub raw: Option<Vec<u8>>,
    pub covered: Vec<u8>,
}

impl Preview {
    pub fn of(covered: &Frame, raw: Option<&Frame>) -> Result<Preview, PictureError> {
        let jpeg = |frame: &Frame| encode_preview(frame, SIDE_MAX, JPEG_QUALITY);
        Ok(Preview { at: covered.at, raw: raw.map(jpeg).transpose()?, covered: jpeg(covered)? })
    }

    fn bytes(&self) -> usize {
        self.covered.len() + self.raw.as_ref().map_or(0, Vec::len)
    }
}

/// Collects previews as frames pass by. When the budget is spent, every second one goes and the distance doubles.
#[derive(Debug)]
pub struct Previews {
    kept: Vec<Preview>,
    bytes: usize,
    bytes_max: usize,
    step: Micros,
}

impl Previews {
    /// 12 MiB of pictures make a page of 16 MiB, which a browser opens at once.
    pub const BYTES_MAX_DEFAULT: usize = 12 << 20;

    pub fn new(bytes_max: usize) -> Self {
        Self { kept: Vec::new(), bytes: 0, bytes_max, step: STEP_MIN }
    }

    /// Whether a frame at this time would be kept; asking first saves holding on to the raw one.
    pub fn wants(&self, at: Micros) -> bool {
        self.kept.last().is_none_or(|last| at >= last.at + self.step)
    }

    /// Frames are to be offered in order of time; `raw` is the same frame before it was covered.
    pub fn offer(&mut self, covered: &Frame, raw: Option<&Frame>) -> Result<(), PictureError> {
        if !self.wants(covered.at) {
            return Ok(());
        }
        let preview = Preview::of(covered, raw)?;
        self.bytes += preview.bytes();
        self.kept.push(preview);
        while self.bytes > self.bytes_max && self.kept.len() > 1 {
            self.step = Micros(self.step.0.saturating_mul(2));
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.bytes = self.kept.iter().map(Preview::bytes).sum();
        }
        Ok(())
    }

    pub fn finish(self) -> Vec<Preview> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{FrameSeq, Matrix, Range, i420_len};

    #[test]
    fn the_budget_holds_and_the_spread_is_even() {
        let mut previews = Previews::new(40_000);
        for n in 0..2000u64 {
            let frame = Frame::new(FrameSeq(n), Micros(n * 40_000), 32, 32, Range::Full, Matrix::Bt601, vec![n as u8; i420_len(32, 32)]);
            previews.offer(&frame, Some(&frame)).unwrap();
        }
        assert!(previews.bytes <= 40_000 && previews.kept.len() >= 10, "{} bytes, {}", previews.bytes, previews.kept.len());
        let kept = previews.finish();
        let gaps: Vec<u64> = kept.windows(2).map(|pair| pair[1].at.0 - pair[0].at.0).collect();
        let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
        assert!(most <= &(least * 2), "{least} to {most}");
        assert!(kept.last().unwrap().at.0 > 2000 * 40_000 * 3 / 4);
    }
}
