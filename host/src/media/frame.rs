//! A frame: planar I420 with what its numbers mean (invariant 9), immutable once made, shared by reference.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds of a stream's clock, or a span of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Micros(pub u64);

impl Micros {
    pub const ZERO: Micros = Micros(0);
    pub const MAX: Micros = Micros(u64::MAX);

    pub const fn from_millis(ms: u64) -> Self {
        Micros(ms * 1000)
    }

    pub fn saturating_sub(self, other: Micros) -> Micros {
        Micros(self.0.saturating_sub(other.0))
    }

    pub fn as_secs_f32(self) -> f32 {
        self.0 as f32 / 1e6
    }
}

impl std::ops::Add for Micros {
    type Output = Micros;
    fn add(self, other: Micros) -> Micros {
        Micros(self.0.saturating_add(other.0))
    }
}

impl From<Micros> for Duration {
    fn from(at: Micros) -> Duration {
        Duration::from_micros(at.0)
    }
}

/// Number of a frame within its stream, counted at capture, without gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FrameSeq(pub u64);

/// Whether luma spans 16..=235 (WebRTC, most files) or 0..=255 (JPEG).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Range {
    Limited,
    Full,
}

/// Luma coefficients of the Y'CbCr conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matrix {
    Bt601,
    Bt709,
}

/// One captured picture. Planes lie one behind the other without padding: `y` (width × height), then `cb`, then `cr`
/// (⌈width/2⌉ × ⌈height/2⌉ each).
#[derive(Clone)]
pub struct Frame {
    pub seq: FrameSeq,
    /// Capture time.
    pub at: Micros,
    pub width: usize,
    pub height: usize,
    pub range: Range,
    pub matrix: Matrix,
    /// Its publisher was cut off before it: a new shot begins with it, however short the gap was.
    pub resumed: bool,
    data: Arc<Vec<u8>>,
}

/// Width and height of a chroma plane.
pub const fn chroma_size(width: usize, height: usize) -> (usize, usize) {
    (width.div_ceil(2), height.div_ceil(2))
}

/// Bytes of an I420 picture.
pub const fn i420_len(width: usize, height: usize) -> usize {
    let (cw, ch) = chroma_size(width, height);
    width * height + 2 * cw * ch
}

impl Frame {
    /// # Panics
    /// If `data` is not [`i420_len`] bytes: the media side checks what comes from outside.
    pub fn new(seq: FrameSeq, at: Micros, width: usize, height: usize, range: Range, matrix: Matrix, data: Vec<u8>) -> Self {
        assert_eq!(data.len(), i420_len(width, height), "an I420 frame of {width}x{height}");
        Self { seq, at, width, height, range, matrix, resumed: false, data: Arc::new(data) }
    }

    /// Luma, Cb, Cr.
    pub fn planes(&self) -> [&[u8]; 3] {
        let (cw, ch) = chroma_size(self.width, self.height);
        let (y, chroma) = self.data.split_at(self.width * self.height);
        let (cb, cr) = chroma.split_at(cw * ch);
        [y, cb, cr]
    }

    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The planes, to be changed; copies them first if somebody else still holds this picture.
    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let (cw, ch) = chroma_size(self.width, self.height);
        let (y, chroma) = Arc::make_mut(&mut self.data).split_at_mut(self.width * self.height);
        let (cb, cr) = chroma.split_at_mut(cw * ch);
        [y, cb, cr]
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} at {} us, {}x{})", self.seq.0, self.at.0, self.width, self.height)
    }
}
