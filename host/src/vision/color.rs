//! What the numbers of a [`Frame`] mean: conversion between its Y'CbCr and RGB for every range and matrix it can carry.
//!
//! Always holds: range and matrix are converted by, never guessed from, what the frame says of itself (invariant 9); all pixel
//! arithmetic is in integers, so the same picture gives the same bytes on any machine.
//!
//! Sources of the constants: ITU-R BT.601-7 section 2.5.1 (Kr = 0.299, Kb = 0.114) and BT.709-6 section 3.2 (Kr = 0.2126,
//! Kb = 0.0722); limited range is 219 luma and 224 chroma steps from 16 (BT.601-7 section 2.5.3, BT.709-6 section 4.6); full range as in
//! JPEG is 255 steps of both (ITU-T T.871 section 7, which also fixes BT.601 for it).

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, chroma_size, i420_len};

/// Fractional bits of the fixed-point factors.
const FIX: u32 = 16;
const HALF: i32 = 1 << (FIX - 1);

/// 8-bit gamma-encoded red, green, blue; written as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rgb(pub [u8; 3]);

impl Rgb {
    pub const BLACK: Rgb = Rgb([0, 0, 0]);
}

#[derive(Debug, Error, PartialEq, Eq)]
#[error("colour `{0}` is not of the form #rrggbb, such as #1a1a1a")]
pub struct ColorError(pub String);

impl FromStr for Rgb {
    type Err = ColorError;

    fn from_str(text: &str) -> Result<Self, ColorError> {
        let wrong = || ColorError(text.to_owned());
        let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(wrong)?;
        let value = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
        let [_, r, g, b] = value.to_be_bytes();
        Ok(Rgb([r, g, b]))
    }
}

impl TryFrom<String> for Rgb {
    type Error = ColorError;

    fn try_from(text: String) -> Result<Self, ColorError> {
        text.parse()
    }
}

impl From<Rgb> for String {
    fn from(rgb: Rgb) -> String {
        rgb.to_string()
    }
}

impl std::fmt::Display for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

const fn luma_weights(matrix: Matrix) -> (f64, f64) {
    match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
    }
}

/// Luma offset, luma steps and chroma steps.
const fn levels(range: Range) -> (f64, f64, f64) {
    match range {
        Range::Limited => (16.0, 219.0, 224.0),
        Range::Full => (0.0, 255.0, 255.0),
    }
}

const fn fixed(value: f64) -> i32 {
    let scaled = value * (1 << FIX) as f64;
    if scaled < 0.0 { (scaled - 0.5) as i32 } else { (scaled + 0.5) as i32 }
}

fn byte(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

/// RGB to Y'CbCr in fixed point, one row of factors a component.
struct Forward {
    rows: [[i32; 3]; 3],
    luma_offset: i32,
}

impl Forward {
    const fn new(range: Range, matrix: Matrix) -> Self {
        let (kr, kb) = luma_weights(matrix);
        let kg = 1.0 - kr - kb;
        let (offset, luma, chroma) = levels(range);
        let (y, cb, cr) = (luma / 255.0, chroma / 255.0 / (2.0 * (1.0 - kb)), chroma / 255.0 / (2.0 * (1.0 - kr)));
        Self {
            rows: [
                [fixed(kr * y), fixed(kg * y), fixed(kb * y)],
                [fixed(-kr * cb), fixed(-kg * cb), fixed((1.0 - kb) * cb)],
                [fixed((1.0 - kr) * cr), fixed(-kg * cr), fixed(-kb * cr)],
            ],
            luma_offset: offset as i32,
        }
    }

    fn luma(&self, r: i32, g: i32, b: i32) -> u8 {
        let [fr, fg, fb] = self.rows[0];
        byte(((fr * r + fg * g + fb * b + HALF) >> FIX) + self.luma_offset)
    }

    fn chroma(&self, r: i32, g: i32, b: i32) -> (u8, u8) {
        let of = |[fr, fg, fb]: [i32; 3]| byte(((fr * r + fg * g + fb * b + HALF) >> FIX) + 128);
        (of(self.rows[1]), of(self.rows[2]))
    }
}

/// Y'CbCr to RGB in fixed point.
struct Inverse {
    luma: i32,
    luma_offset: i32,
    red_cr: i32,
    green_cb: i32,
    green_cr: i32,
    blue_cb: i32,
}

impl Inverse {
    const fn new(range: Range, matrix: Matrix) -> Self {
        let (kr, kb) = luma_weights(matrix);
        let kg = 1.0 - kr - kb;
        let (offset, luma, chroma) = levels(range);
        let unit = 255.0 / chroma;
        Self {
            luma: fixed(255.0 / luma),
            luma_offset: offset as i32,
            red_cr: fixed(2.0 * (1.0 - kr) * unit),
            green_cb: fixed(-2.0 * (1.0 - kb) * kb / kg * unit),
            green_cr: fixed(-2.0 * (1.0 - kr) * kr / kg * unit),
            blue_cb: fixed(2.0 * (1.0 - kb) * unit),
        }
    }

    #[inline]
    fn rgb(&self, y: u8, cb: u8, cr: u8) -> [u8; 3] {
        let luma = self.luma * (i32::from(y) - self.luma_offset) + HALF;
        let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
        [
            byte((luma + self.red_cr * cr) >> FIX),
            byte((luma + self.green_cb * cb + self.green_cr * cr) >> FIX),
            byte((luma + self.blue_cb * cb) >> FIX),
        ]
    }
}

/// One colour as Y', Cb, Cr.
pub fn ycbcr_of(rgb: Rgb, range: Range, matrix: Matrix) -> [u8; 3] {
    let forward = Forward::new(range, matrix);
    let [r, g, b] = rgb.0.map(i32::from);
    let (cb, cr) = forward.chroma(r, g, b);
    [forward.luma(r, g, b), cb, cr]
}

/// One Y', Cb, Cr triple as a colour; what lies outside RGB is clipped.
pub fn rgb_of(ycbcr: [u8; 3], range: Range, matrix: Matrix) -> Rgb {
    let [y, cb, cr] = ycbcr;
    Rgb(Inverse::new(range, matrix).rgb(y, cb, cr))
}

/// Changes planes of any 4:2:0 size in place to full range BT.601, the meaning that thumbnails have.
/// `y` is `width` × `height`, `cb` and `cr` ⌈width/2⌉ × ⌈height/2⌉.
pub fn to_full_bt601(y: &mut [u8], cb: &mut [u8], cr: &mut [u8], width: usize, range: Range, matrix: Matrix) {
    let (offset, luma_steps, chroma_steps) = levels(range);
    match (range, matrix) {
        (Range::Full, Matrix::Bt601) => {}
        (Range::Limited, Matrix::Bt601) => {
            let luma = table(|v| (v - offset) * 255.0 / luma_steps);
            let chroma = table(|v| (v - 128.0) * 255.0 / chroma_steps + 128.0);
            y.iter_mut().for_each(|v| *v = luma[usize::from(*v)]);
            cb.iter_mut().chain(cr).for_each(|v| *v = chroma[usize::from(*v)]);
        }
        (_, Matrix::Bt709) => bt709_to_full_bt601(y, cb, cr, width, range),
    }
}

fn table(of: impl Fn(f64) -> f64) -> [u8; 256] {
    std::array::from_fn(|v| of(v as f64).round().clamp(0.0, 255.0) as u8)
}

/// Goes through R'G'B' without clipping it: with both matrices linear, that is one 3 × 3 matrix whose luma row keeps Y (factor 1).
fn bt709_to_full_bt601(y: &mut [u8], cb: &mut [u8], cr: &mut [u8], width: usize, range: Range) {
    let (kr, kb) = luma_weights(Matrix::Bt709);
    let kg = 1.0 - kr - kb;
    let (offset, luma_steps, chroma_steps) = levels(range);
    let (to_kr, to_kb) = luma_weights(Matrix::Bt601);
    let to_kg = 1.0 - to_kr - to_kb;
    let unit = 255.0 / chroma_steps;
    // What one step of Cb and Cr adds to red, green and blue.
    let (g_cb, b_cb) = (-2.0 * (1.0 - kb) * kb / kg * unit, 2.0 * (1.0 - kb) * unit);
    let (r_cr, g_cr) = (2.0 * (1.0 - kr) * unit, -2.0 * (1.0 - kr) * kr / kg * unit);
    let y_cb = to_kg * g_cb + to_kb * b_cb;
    let y_cr = to_kr * r_cr + to_kg * g_cr;
    let (cb_scale, cr_scale) = (2.0 * (1.0 - to_kb), 2.0 * (1.0 - to_kr));
    let (y_gain, y_cb, y_cr) = (fixed(255.0 / luma_steps), fixed(y_cb), fixed(y_cr));
    let (cb_cb, cb_cr) = (fixed((b_cb - to_kg * g_cb - to_kb * b_cb) / cb_scale), fixed(-(to_kr * r_cr + to_kg * g_cr) / cb_scale));
    let (cr_cb, cr_cr) = (fixed(-(to_kg * g_cb + to_kb * b_cb) / cr_scale), fixed((r_cr - to_kr * r_cr - to_kg * g_cr) / cr_scale));
    let offset = offset as i32;
    let chroma_width = width.div_ceil(2);
    for (rows, (cb, cr)) in y.chunks_mut(2 * width).zip(cb.chunks_mut(chroma_width).zip(cr.chunks_mut(chroma_width))) {
        for row in rows.chunks_mut(width) {
            for (pair, (&cb, &cr)) in row.chunks_mut(2).zip(cb.iter().zip(cr.iter())) {
                let add = y_cb * (i32::from(cb) - 128) + y_cr * (i32::from(cr) - 128) + HALF;
                pair.iter_mut().for_each(|y| *y = byte((y_gain * (i32::from(*y) - offset) + add) >> FIX));
            }
        }
        for (cb, cr) in cb.iter_mut().zip(cr.iter_mut()) {
            let (from_cb, from_cr) = (i32::from(*cb) - 128, i32::from(*cr) - 128);
            *cb = byte(((cb_cb * from_cb + cb_cr * from_cr + HALF) >> FIX) + 128);
            *cr = byte(((cr_cb * from_cb + cr_cr * from_cr + HALF) >> FIX) + 128);
        }
    }
}

/// RGB of a frame: `width` × `height` × 3 bytes, rows without padding. Each chroma sample serves its 2 × 2 pixels.
pub fn rgb_from_frame(frame: &Frame) -> Vec<u8> {
    let inverse = Inverse::new(frame.range, frame.matrix);
    let [y, cb, cr] = frame.planes();
    let (cw, _) = chroma_size(frame.width, frame.height);
    let mut rgb = vec![0; frame.width * frame.height * 3];
    if rgb.is_empty() {
        return rgb;
    }
    for (row, (out, luma)) in rgb.chunks_exact_mut(frame.width * 3).zip(y.chunks_exact(frame.width)).enumerate() {
        let chroma = row / 2 * cw..row / 2 * cw + cw;
        let (cb, cr) = (&cb[chroma.clone()], &cr[chroma]);
        for ((out, luma), (&cb, &cr)) in out.chunks_mut(6).zip(luma.chunks(2)).zip(cb.iter().zip(cr)) {
            for (out, &luma) in out.chunks_exact_mut(3).zip(luma) {
                out.copy_from_slice(&inverse.rgb(luma, cb, cr));
            }
        }
    }
    rgb
}

/// A frame of RGB pixels (`width` × `height` × 3 bytes). Chroma is that of the mean of each 2 × 2 pixels.
///
/// # Panics
/// If `rgb` has another length.
pub fn frame_from_rgb(seq: FrameSeq, at: Micros, width: usize, height: usize, rgb: &[u8], range: Range, matrix: Matrix) -> Frame {
    assert_eq!(rgb.len(), width * height * 3, "RGB of {width}x{height}");
    let forward = Forward::new(range, matrix);
    let mut data = Vec::with_capacity(i420_len(width, height));
    data.extend(rgb.chunks_exact(3).map(|p| forward.luma(p[0].into(), p[1].into(), p[2].into())));
    let (cw, ch) = chroma_size(width, height);
    data.resize(i420_len(width, height), 0);
    let (cb, cr) = data[width * height..].split_at_mut(cw * ch);
    for cy in 0..ch {
        for cx in 0..cw {
            let (mut sum, mut count) = ([0i32; 3], 0);
            for y in 2 * cy..(2 * cy + 2).min(height) {
                for x in 2 * cx..(2 * cx + 2).min(width) {
                    let at = (y * width + x) * 3;
                    sum.iter_mut().zip(&rgb[at..at + 3]).for_each(|(sum, &v)| *sum += i32::from(v));
                    count += 1;
                }
            }
            let [r, g, b] = sum.map(|sum| (sum + count / 2) / count);
            (cb[cy * cw + cx], cr[cy * cw + cx]) = forward.chroma(r, g, b);
        }
    }
    Frame::new(seq, at, width, height, range, matrix, data)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The ColorChecker's 24 patches as sRGB, rounded (public figures of the chart's maker).
    pub(crate) const CHART: [[u8; 3]; 24] = [
        [115, 82, 68],
        [194, 150, 130],
        [98, 122, 157],
        [87, 108, 67],
        [133, 128, 177],
        [103, 189, 170],
        [214, 126, 44],
        [80, 91, 166],
        [193, 90, 99],
        [94, 60, 108],
        [157, 188, 64],
        [224, 163, 46],
        [56, 61, 150],
        [70, 148, 73],
        [175, 54, 60],
        [231, 199, 31],
        [187, 86, 149],
        [8, 133, 161],
        [243, 243, 242],
        [200, 200, 200],
        [160, 160, 160],
        [122, 122, 121],
        [85, 85, 85],
        [52, 52, 52],
    ];

    pub(crate) const MEANINGS: [(Range, Matrix); 4] =
        [(Range::Limited, Matrix::Bt601), (Range::Full, Matrix::Bt601), (Range::Limited, Matrix::Bt709), (Range::Full, Matrix::Bt709)];

    fn near(a: [u8; 3], b: [u8; 3], tolerance: u8) -> bool {
        a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= tolerance)
    }

    /// 6 × 4 patches of 16 pixels.
    pub(crate) fn chart_rgb() -> (usize, usize, Vec<u8>) {
        let (width, height) = (96, 64);
        let rgb = (0..width * height).flat_map(|i| CHART[i / width / 16 * 6 + i % width / 16]).collect();
        (width, height, rgb)
    }

    fn assert_chart(rgb: &[u8], width: usize, tolerance: u8, way: &str) {
        for (patch, &want) in CHART.iter().enumerate() {
            let (x, y) = (patch % 6 * 16 + 8, patch / 6 * 16 + 8);
            let at = (y * width + x) * 3;
            let got = [rgb[at], rgb[at + 1], rgb[at + 2]];
            assert!(near(got, want, tolerance), "{way}: patch {patch} is {got:?}, should be {want:?}");
        }
    }

    #[test]
    fn primaries_have_the_published_codes() {
        let of = |rgb, range, matrix| ycbcr_of(Rgb(rgb), range, matrix);
        // 100 % bars; limited range as tabulated for BT.601 and BT.709 test signals.
        assert_eq!(of([255, 255, 255], Range::Limited, Matrix::Bt601), [235, 128, 128]);
        assert_eq!(of([0, 0, 0], Range::Limited, Matrix::Bt709), [16, 128, 128]);
        assert_eq!(of([255, 0, 0], Range::Limited, Matrix::Bt601), [81, 90, 240]);
        assert_eq!(of([0, 255, 0], Range::Limited, Matrix::Bt601), [145, 54, 34]);
        assert_eq!(of([0, 0, 255], Range::Limited, Matrix::Bt601), [41, 240, 110]);
        assert_eq!(of([255, 0, 0], Range::Limited, Matrix::Bt709), [63, 102, 240]);
        assert_eq!(of([0, 255, 0], Range::Limited, Matrix::Bt709), [173, 42, 26]);
        assert_eq!(of([255, 0, 0], Range::Full, Matrix::Bt601), [76, 85, 255]);
    }

    #[test]
    fn every_meaning_keeps_the_chart() {
        let (width, height, rgb) = chart_rgb();
        for (range, matrix) in MEANINGS {
            let frame = frame_from_rgb(FrameSeq(0), Micros::ZERO, width, height, &rgb, range, matrix);
            assert_chart(&rgb_from_frame(&frame), width, 2, &format!("{range:?} {matrix:?}"));
        }
    }

    #[test]
    fn full_bt601_of_every_meaning_is_the_same_picture() {
        let (width, height, rgb) = chart_rgb();
        for (range, matrix) in MEANINGS {
            let mut frame = frame_from_rgb(FrameSeq(0), Micros::ZERO, width, height, &rgb, range, matrix);
            let [y, cb, cr] = frame.planes_mut();
            to_full_bt601(y, cb, cr, width, range, matrix);
            (frame.range, frame.matrix) = (Range::Full, Matrix::Bt601);
            assert_chart(&rgb_from_frame(&frame), width, 3, &format!("from {range:?} {matrix:?}"));
        }
    }

    #[test]
    fn colours_parse() {
        assert_eq!("#1a2B3c".parse(), Ok(Rgb([0x1a, 0x2b, 0x3c])));
        for wrong in ["1a2b3c", "#1a2b3", "#1a2b3g", "#+12345", ""] {
            assert_eq!(wrong.parse::<Rgb>(), Err(ColorError(wrong.to_owned())));
        }
        assert_eq!(Rgb([1, 2, 255]).to_string(), "#0102ff");
    }
}
