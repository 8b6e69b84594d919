//! The small picture that a cascade looks at: at most 320 × 180, 4:2:0, full range BT.601 whatever the frame was.
//!
//! Always holds: width and height are even and keep the frame's aspect to a pixel pair; every frame pixel has its share in the average
//! (no pixel is skipped, so nothing small hides between samples); the same frame gives the same bytes on any machine.

use std::ops::Range as Span;

use serde::{Deserialize, Serialize};

use crate::media::frame::{Frame, chroma_size};
use crate::vision::color;

/// Largest width and height.
pub const WIDTH_MAX: usize = 320;
pub const HEIGHT_MAX: usize = 180;

/// Rows without padding.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    width: u32,
    height: u32,
    y: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

/// Width and height of the thumbnail of a `width` × `height` frame; a smaller frame is not enlarged but to even sides.
///
/// # Panics
/// If a side is 0.
pub fn thumbnail_size(width: usize, height: usize) -> (usize, usize) {
    assert!(width > 0 && height > 0, "a picture of {width}x{height}");
    let scale = (WIDTH_MAX as f64 / width as f64).min(HEIGHT_MAX as f64 / height as f64).min(1.0);
    let side = |pixels: usize| (((pixels as f64 * scale / 2.0).round() as usize) * 2).max(2);
    (side(width).min(WIDTH_MAX), side(height).min(HEIGHT_MAX))
}

impl Thumbnail {
    /// The whole frame, every pixel averaged in.
    pub fn of(frame: &Frame) -> Thumbnail {
        let (width, height) = thumbnail_size(frame.width, frame.height);
        let [y, cb, cr] = frame.planes();
        let chroma = chroma_size(frame.width, frame.height);
        let mut y = averaged(y, (frame.width, frame.height), (width, height));
        let mut cb = averaged(cb, chroma, (width / 2, height / 2));
        let mut cr = averaged(cr, chroma, (width / 2, height / 2));
        color::to_full_bt601(&mut y, &mut cb, &mut cr, width, frame.range, frame.matrix);
        Thumbnail { width: width as u32, height: height as u32, y, cb, cr }
    }

    /// `y` is width × height bytes, `cb` and `cr` ⌈width/2⌉ × ⌈height/2⌉ each.
    ///
    /// # Panics
    /// If a plane has another size: thumbnails are made by the host.
    pub fn new(width: u32, height: u32, y: Vec<u8>, cb: Vec<u8>, cr: Vec<u8>) -> Self {
        let thumbnail = Self { width, height, y, cb, cr };
        assert!(thumbnail.is_whole(), "planes of a {width}x{height} thumbnail");
        thumbnail
    }

    /// One colour everywhere.
    pub fn uniform(width: u32, height: u32, y: u8, cb: u8, cr: u8) -> Self {
        let (cw, ch) = chroma_size(width as usize, height as usize);
        Self::new(width, height, vec![y; width as usize * height as usize], vec![cb; cw * ch], vec![cr; cw * ch])
    }

    /// Whether the planes have the sizes that width and height ask for. False only for what came from a file.
    pub fn is_whole(&self) -> bool {
        let (cw, ch) = chroma_size(self.width as usize, self.height as usize);
        self.y.len() == self.width as usize * self.height as usize && self.cb.len() == cw * ch && self.cr.len() == cw * ch
    }

    pub fn width(&self) -> u32 {
        self.width
    }

    pub fn height(&self) -> u32 {
        self.height
    }

    /// Luma, Cb, Cr.
    pub fn planes(&self) -> [&[u8]; 3] {
        [&self.y, &self.cb, &self.cr]
    }
}

impl std::fmt::Debug for Thumbnail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Thumbnail({}x{})", self.width, self.height)
    }
}

/// Sum of one output sample's weights, along each axis. 255 × 256 still fits 16 bits, which keeps the row sums narrow and fast.
const UNIT: u32 = 256;

/// Which input samples make one output sample, and how much each counts; the weights' sum is [`UNIT`].
struct Taps {
    span: Span<usize>,
    weights: Vec<u16>,
}

/// Each output sample covers `from / to` input samples; those at its ends count by the part that it covers.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    (0..to)
        .map(|out| {
            // In units of 1/to input samples, so that all is exact.
            let (start, end) = (out * from, (out + 1) * from);
            let span = start / to..end.div_ceil(to);
            let shares = span.clone().map(|i| end.min((i + 1) * to) - start.max(i * to));
            // Rounding the running sum, not the weight, keeps the total exact.
            let (mut share_sum, mut given) = (0, 0);
            let weights = shares.map(|share| {
                share_sum += share;
                let weight = share_sum * UNIT as usize / from - given;
                given += weight;
                weight as u16
            });
            Taps { weights: weights.collect(), span }
        })
        .collect()
}

fn averaged(plane: &[u8], (width, height): (usize, usize), (to_width, to_height): (usize, usize)) -> Vec<u8> {
    let columns = taps(width, to_width);
    // The common ratios get loops of fixed length.
    match columns.iter().map(|column| column.weights.len()).max().unwrap_or(0) {
        0..=2 => averaged_by::<2>(plane, width, height, &columns, to_height),
        3..=4 => averaged_by::<4>(plane, width, height, &columns, to_height),
        5..=8 => averaged_by::<8>(plane, width, height, &columns, to_height),
        _ => down(plane, (width, height), to_height, width, |sums, out| {
            out.extend(columns.iter().map(|column| {
                let parts = sums[column.span.clone()].iter().zip(&column.weights);
                rounded(parts.map(|(&sum, &weight)| u32::from(sum) * u32::from(weight)).sum())
            }));
        }),
    }
}

/// Where no output sample has more than `N` input samples a row.
fn averaged_by<const N: usize>(plane: &[u8], width: usize, height: usize, columns: &[Taps], to_height: usize) -> Vec<u8> {
    let columns: Vec<(usize, [u16; N])> =
        columns.iter().map(|column| (column.span.start, std::array::from_fn(|i| column.weights.get(i).copied().unwrap_or(0)))).collect();
    down(plane, (width, height), to_height, width + N, |sums, out| {
        out.extend(columns.iter().map(|(first, weights)| {
            let parts = sums[*first..*first + N].iter().zip(weights);
            rounded(parts.map(|(&sum, &weight)| u32::from(sum) * u32::from(weight)).sum())
        }));
    })
}

fn rounded(sum: u32) -> u8 {
    ((sum + UNIT * UNIT / 2) / (UNIT * UNIT)) as u8
}

/// Sums the rows of each output row, then lets `across` make its samples of them. `room` is at least the width; sums past it are 0.
fn down(
    plane: &[u8],
    (width, height): (usize, usize),
    to_height: usize,
    room: usize,
    mut across: impl FnMut(&[u16], &mut Vec<u8>),
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sums = vec![0u16; room];
    for row in taps(height, to_height) {
        sums.fill(0);
        let rows = &plane[row.span.start * width..row.span.end * width];
        // Four rows at a time, so that the sums are loaded and stored a quarter as often.
        let (fours, weights) = (rows.chunks_exact(4 * width), row.weights.as_chunks::<4>());
        let ones = fours.remainder().chunks_exact(width).zip(weights.1);
        for (rows, weights) in fours.zip(weights.0) {
            let ((a, b), (c, d)) = (rows[..2 * width].split_at(width), rows[2 * width..].split_at(width));
            let [wa, wb, wc, wd] = *weights;
            for ((((sum, &a), &b), &c), &d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *sum += u16::from(a) * wa + u16::from(b) * wb + u16::from(c) * wc + u16::from(d) * wd;
            }
        }
        for (source, &weight) in ones {
            for (sum, &sample) in sums.iter_mut().zip(source) {
                *sum += u16::from(sample) * weight;
            }
        }
        across(&sums, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::frame::{FrameSeq, Matrix, Micros, Range, i420_len};

    fn frame(width: usize, height: usize, range: Range, matrix: Matrix, data: Vec<u8>) -> Frame {
        Frame::new(FrameSeq(0), Micros::ZERO, width, height, range, matrix, data)
    }

    #[test]
    fn sizes_fit_and_keep_the_aspect() {
        for (from, to) in [
            ((1280, 720), (320, 180)),
            ((1920, 1080), (320, 180)),
            ((640, 480), (240, 180)),
            ((720, 1280), (102, 180)),
            ((1080, 1080), (180, 180)),
            ((176, 144), (176, 144)),
            ((3840, 1600), (320, 134)),
            ((5, 3), (6, 4)),
            ((4000, 1), (320, 2)),
            ((1, 1), (2, 2)),
        ] {
            assert_eq!(thumbnail_size(from.0, from.1), to, "of {from:?}");
        }
    }

    #[test]
    fn a_checkerboard_averages_to_grey() {
        let (width, height) = (1280, 720);
        let mut data: Vec<u8> = (0..width * height).map(|i| if (i % width + i / width) % 2 == 0 { 200 } else { 100 }).collect();
        data.resize(i420_len(width, height), 128);
        let small = Thumbnail::of(&frame(width, height, Range::Full, Matrix::Bt601, data));
        assert!(small.y.iter().all(|&y| y == 150));
        assert!(small.cb.iter().chain(&small.cr).all(|&c| c == 128));
    }

    #[test]
    fn every_width_of_step_averages_exactly() {
        let plane: Vec<u8> = (0..96u32 * 8).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for to in [96, 48, 24, 12, 6] {
            let n = 96 / to;
            let wanted: Vec<u8> = (0..4 * to)
                .map(|i| {
                    let part = |row: usize| plane[row * 96 + i % to * n..][..n].iter().map(|&v| u32::from(v)).sum::<u32>();
                    let sum = part(i / to * 2) + part(i / to * 2 + 1);
                    ((sum + n as u32) / (2 * n as u32)) as u8
                })
                .collect();
            assert_eq!(averaged(&plane, (96, 8), (to, 4)), wanted, "96 to {to}");
        }
    }

    #[test]
    fn limited_and_bt709_come_out_full_and_bt601() {
        for (range, matrix) in [(Range::Limited, Matrix::Bt601), (Range::Limited, Matrix::Bt709), (Range::Full, Matrix::Bt709)] {
            for rgb in [[255, 255, 255], [0, 0, 0], [194, 150, 130], [70, 148, 73], [56, 61, 150], [175, 54, 60]] {
                let pixels: Vec<u8> = rgb.into_iter().cycle().take(800 * 450 * 3).collect();
                let small = Thumbnail::of(&color::frame_from_rgb(FrameSeq(0), Micros::ZERO, 800, 450, &pixels, range, matrix));
                let want = color::ycbcr_of(color::Rgb(rgb), Range::Full, Matrix::Bt601);
                let got = [small.y[1000], small.cb[1000], small.cr[1000]];
                assert!(got.iter().zip(want).all(|(a, b)| a.abs_diff(b) <= 2), "{range:?} {matrix:?} {rgb:?}: {got:?}, not {want:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_mean_is_kept(width in 1usize..700, height in 1usize..400, seed in any::<u32>()) {
            let mut state = seed;
            let data: Vec<u8> = (0..i420_len(width, height)).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }).collect();
            let frame = frame(width, height, Range::Full, Matrix::Bt601, data);
            let small = Thumbnail::of(&frame);
            prop_assert!(small.is_whole());
            prop_assert!((small.width % 2, small.height % 2) == (0, 0) && small.width <= 320 && small.height <= 180);
            let mean = |plane: &[u8]| plane.iter().map(|&v| f64::from(v)).sum::<f64>() / plane.len() as f64;
            for (small, whole) in small.planes().into_iter().zip(frame.planes()) {
                // Rounding and the weights' 256 steps move a mean by less than two levels.
                prop_assert!((mean(small) - mean(whole)).abs() < 2.0);
            }
        }
    }
}
