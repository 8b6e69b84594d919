//! From planar I420 straight to a model's input tensor: resized and converted in one pass over the small picture.
//!
//! Range and matrix of the frame are honoured (invariant 9). Rows are blended vertically in 8-bit fixed point over the source's
//! width, then sampled horizontally and converted in floating point; both inner loops are written for the vectoriser. Nothing is
//! rounded to 8 bits in between. Buffers and tables are kept from call to call, so a steady stream allocates nothing.

use super::model::{Colour, Filter, Fit, InputSpec, Layout};
use crate::geometry::Rect;
use crate::media::frame::{Frame, Matrix, Range, chroma_size};

/// Frame sizes whose tables are kept. A worker serves many sources, but they come in few sizes.
const PLANS_KEPT_MAX: usize = 8;

/// One, in the fixed point of the resampling weights.
const WEIGHT_ONE: u32 = 256;

/// Where the input's pixels lie in the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Width and height of the input, in pixels.
    pub width: usize,
    pub height: usize,
    /// Fractions of the frame for one input pixel.
    per_px: (f32, f32),
    /// Input's left and top edge, as fractions of the frame.
    origin: (f32, f32),
}

impl Placement {
    /// The area between two corners given in input pixels, clipped to the frame; empty if it lies outside.
    pub fn area(&self, left: f32, top: f32, right: f32, bottom: f32) -> Rect {
        let (x, y) = (|px: f32| self.origin.0 + px * self.per_px.0, |px: f32| self.origin.1 + px * self.per_px.1);
        Rect::from_edges(x(left), y(top), x(right), y(bottom)).clamped()
    }
}

/// Resampling of one axis of one plane: output sample `i` is Σ `weights[i][t]` × input sample `start[i] + t`.
struct Axis {
    taps: usize,
    start: Vec<u32>,
    /// `taps` for each output sample; they sum to [`WEIGHT_ONE`].
    weights: Vec<u16>,
}

impl Axis {
    /// `len` output samples of an axis of `source` samples; sample `i` has its centre at (`i + offset + 0.5`) × `step`.
    fn new(source: usize, len: usize, offset: usize, step: f64, filter: Filter) -> Self {
        let reach = match filter {
            Filter::Bilinear => 1.0,
            Filter::Antialias => step.max(1.0),
        };
        let taps = ((2.0 * reach).ceil() as usize + usize::from(reach > 1.0)).min(source);
        let (mut start, mut weights) = (Vec::with_capacity(len), Vec::with_capacity(len * taps));
        for i in 0..len {
            let centre = (i + offset) as f64 * step + step / 2.0 - 0.5;
            let first = (centre - reach).floor() as i64 + 1;
            // Kept inside the source; what a tap would read beyond an edge falls to the edge's sample.
            let begin = first.clamp(0, (source - taps) as i64);
            let mut shares = vec![0.0; taps];
            for sample in first..=(centre + reach).ceil() as i64 {
                let share = (1.0 - (sample as f64 - centre).abs() / reach).max(0.0);
                let inside = sample.clamp(0, source as i64 - 1) - begin;
                shares[(inside.max(0) as usize).min(taps - 1)] += share;
            }
            start.push(begin as u32);
            weights.extend(fixed_point(&shares));
        }
        Self { taps, start, weights }
    }

    fn at(&self, i: usize) -> (usize, &[u16]) {
        (self.start[i] as usize, &self.weights[i * self.taps..(i + 1) * self.taps])
    }
}

/// Scaled to sum to [`WEIGHT_ONE`] exactly, so that a flat picture stays flat.
fn fixed_point(shares: &[f64]) -> impl Iterator<Item = u16> {
    let sum: f64 = shares.iter().sum();
    let mut running = 0.0;
    let mut given = 0;
    shares
        .iter()
        .map(move |share| {
            running += share / sum * f64::from(WEIGHT_ONE);
            let weight = running.round() as u32 - given;
            given += weight;
            weight as u16
        })
        .collect::<Vec<_>>()
        .into_iter()
}

/// Everything that follows from a frame's size.
struct Plan {
    frame: (usize, usize),
    placement: Placement,
    /// Columns and rows of the input that show the frame; the rest is padding.
    content: (usize, usize),
    luma: (Axis, Axis),
    chroma: (Axis, Axis),
}

impl Plan {
    fn new(spec: &InputSpec, width: usize, height: usize) -> Self {
        let (canvas, content, offset, step) = match spec.fit {
            Fit::Aspect { stride } => {
                let (content, step) = letterbox(width, height, spec.size);
                let padded = |side: usize| side.next_multiple_of(stride);
                ((padded(content.0), padded(content.1)), content, 0, (step, step))
            }
            Fit::Square => {
                let (content, step) = letterbox(width, height, spec.size);
                ((spec.size, spec.size), content, 0, (step, step))
            }
            Fit::Crop { resize } => {
                let square = (spec.size, spec.size);
                (square, square, (resize - spec.size) / 2, (width as f64 / resize as f64, height as f64 / resize as f64))
            }
        };
        let (cw, ch) = chroma_size(width, height);
        let axes = |w: usize, h: usize, shrink: f64| {
            (Axis::new(w, content.0, offset, step.0 * shrink, spec.filter), Axis::new(h, content.1, offset, step.1 * shrink, spec.filter))
        };
        let per_px = ((step.0 / width as f64) as f32, (step.1 / height as f64) as f32);
        let placement =
            Placement { width: canvas.0, height: canvas.1, per_px, origin: (offset as f32 * per_px.0, offset as f32 * per_px.1) };
        Self { frame: (width, height), placement, content, luma: axes(width, height, 1.0), chroma: axes(cw, ch, 0.5) }
    }
}

/// Size of the scaled frame and source pixels for one of its own.
fn letterbox(width: usize, height: usize, size: usize) -> ((usize, usize), f64) {
    let step = width.max(height) as f64 / size as f64;
    let side = |length: usize| ((length as f64 / step).round() as usize).clamp(1, size);
    ((side(width), side(height)), step)
}

/// Y'CbCr to R'G'B' of 0..=255, with what the range takes away put back.
pub(super) struct Conversion {
    luma_zero: f32,
    luma: f32,
    cr_to_r: f32,
    cb_to_g: f32,
    cr_to_g: f32,
    cb_to_b: f32,
}

impl Conversion {
    pub fn new(range: Range, matrix: Matrix) -> Self {
        // Luma's shares of red and blue: ITU-R BT.601 and BT.709.
        let (kr, kb) = match matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
        };
        let kg = 1.0 - kr - kb;
        // Limited: luma in 16..=235, chroma in 16..=240.
        let (luma_zero, luma, chroma) = match range {
            Range::Full => (0.0, 1.0, 1.0),
            Range::Limited => (16.0, 255.0 / 219.0, 255.0 / 224.0),
        };
        let (to_r, to_b) = (2.0 * (1.0 - kr) * chroma, 2.0 * (1.0 - kb) * chroma);
        Self { luma_zero, luma, cr_to_r: to_r, cb_to_g: -to_b * kb / kg, cr_to_g: -to_r * kr / kg, cb_to_b: to_b }
    }

    /// Red, green, blue; what a coder overshot is cut off.
    #[inline]
    pub fn rgb(&self, y: f32, cb: f32, cr: f32) -> [f32; 3] {
        let (luma, cb, cr) = ((y - self.luma_zero) * self.luma, cb - 128.0, cr - 128.0);
        let rgb = [luma + self.cr_to_r * cr, luma + self.cb_to_g * cb + self.cr_to_g * cr, luma + self.cb_to_b * cb];
        rgb.map(|value| value.clamp(0.0, 255.0))
    }
}

/// Fills input tensors. One belongs to one worker.
pub struct Preprocessor {
    spec: InputSpec,
    plans: Vec<Plan>,
    /// One source row, blended vertically; 0..=255 × [`WEIGHT_ONE`].
    blended: Vec<u16>,
    /// Luma, Cb, Cr of one output row.
    row: [Vec<f32>; 3],
}

impl Preprocessor {
    pub fn new(spec: InputSpec) -> Self {
        Self { spec, plans: Vec::new(), blended: Vec::new(), row: Default::default() }
    }

    /// Width and height of the input for a frame of this size, in pixels.
    pub fn input_size(&mut self, width: usize, height: usize) -> (usize, usize) {
        let index = self.plan(width, height);
        let plan = &self.plans[index];
        (plan.placement.width, plan.placement.height)
    }

    /// Writes one picture, 3 × height × width values in the model's layout.
    ///
    /// # Panics
    /// If `out` is not three times [`Preprocessor::input_size`].
    pub fn fill(&mut self, frame: &Frame, out: &mut [f32]) -> Placement {
        let index = self.plan(frame.width, frame.height);
        let plan = &self.plans[index];
        let Placement { width, height, .. } = plan.placement;
        assert_eq!(out.len(), 3 * width * height, "an input tensor of {width}x{height}");
        let conversion = Conversion::new(frame.range, frame.matrix);
        let strides = [frame.width, chroma_size(frame.width, frame.height).0, chroma_size(frame.width, frame.height).0];
        for y in 0..height {
            if y >= plan.content.1 {
                fill_black(&self.spec, y, 0, (width, height), out);
                continue;
            }
            for (((plane, stride), axes), row) in
                frame.planes().into_iter().zip(strides).zip([&plan.luma, &plan.chroma, &plan.chroma]).zip(&mut self.row)
            {
                blend_rows(plane, stride, axes.1.at(y), &mut self.blended);
                sample_row(&self.blended, &axes.0, row);
            }
            write_row(&self.spec, &conversion, &self.row, y, (width, height), out);
            if plan.content.0 < width {
                fill_black(&self.spec, y, plan.content.0, (width, height), out);
            }
        }
        plan.placement
    }

    fn plan(&mut self, width: usize, height: usize) -> usize {
        if let Some(index) = self.plans.iter().position(|plan| plan.frame == (width, height)) {
            return index;
        }
        if self.plans.len() == PLANS_KEPT_MAX {
            self.plans.remove(0);
        }
        self.plans.push(Plan::new(&self.spec, width, height));
        self.plans.len() - 1
    }
}

/// Σ weight × row, over the source's whole width.
fn blend_rows(plane: &[u8], stride: usize, (start, weights): (usize, &[u16]), out: &mut Vec<u16>) {
    out.resize(stride, 0);
    let row = |t: usize| &plane[(start + t) * stride..(start + t + 1) * stride];
    if let [first, second] = *weights {
        for ((out, &a), &b) in out.iter_mut().zip(row(0)).zip(row(1)) {
            *out = u16::from(a) * first + u16::from(b) * second;
        }
        return;
    }
    out.fill(0);
    for (t, &weight) in weights.iter().enumerate() {
        for (out, &a) in out.iter_mut().zip(row(t)) {
            *out += u16::from(a) * weight;
        }
    }
}

/// One output row of 0..=255 from one blended source row.
fn sample_row(blended: &[u16], axis: &Axis, out: &mut Vec<f32>) {
    const UNIT: f32 = 1.0 / (WEIGHT_ONE * WEIGHT_ONE) as f32;
    out.clear();
    if axis.taps == 2 {
        out.extend(axis.start.iter().zip(axis.weights.chunks_exact(2)).map(|(&start, weights)| {
            let start = start as usize;
            let sum = u32::from(blended[start]) * u32::from(weights[0]) + u32::from(blended[start + 1]) * u32::from(weights[1]);
            sum as f32 * UNIT
        }));
        return;
    }
    out.extend(axis.start.iter().zip(axis.weights.chunks_exact(axis.taps)).map(|(&start, weights)| {
        let samples = &blended[start as usize..start as usize + axis.taps];
        let sum: u32 = samples.iter().zip(weights).map(|(&sample, &weight)| u32::from(sample) * u32::from(weight)).sum();
        sum as f32 * UNIT
    }));
}

/// Offset of a row in each channel's plane, and its index in the tensor's channel order.
fn channels(colour: Colour) -> [usize; 3] {
    match colour {
        Colour::Rgb => [0, 1, 2],
        Colour::Bgr => [2, 1, 0],
    }
}

fn write_row(spec: &InputSpec, by: &Conversion, row: &[Vec<f32>; 3], y: usize, (width, height): (usize, usize), out: &mut [f32]) {
    let content = row[0].len();
    let (luma, cb, cr) = (&row[0][..content], &row[1][..content], &row[2][..content]);
    for (channel, at) in channels(spec.colour).into_iter().enumerate() {
        let (from_cb, from_cr) = [(0.0, by.cr_to_r), (by.cb_to_g, by.cr_to_g), (by.cb_to_b, 0.0)][channel];
        let (mean, scale) = (spec.mean[at], spec.scale[at]);
        let value = |i: usize| {
            let colour = (luma[i] - by.luma_zero) * by.luma + (cb[i] - 128.0) * from_cb + (cr[i] - 128.0) * from_cr;
            (colour.clamp(0.0, 255.0) - mean) * scale
        };
        match spec.layout {
            Layout::Nchw => {
                let begin = (at * height + y) * width;
                for (i, out) in out[begin..begin + content].iter_mut().enumerate() {
                    *out = value(i);
                }
            }
            Layout::Nhwc => {
                let begin = y * width * 3;
                for (i, out) in out[begin..begin + content * 3].chunks_exact_mut(3).enumerate() {
                    out[at] = value(i);
                }
            }
        }
    }
}

/// Black from column `from` to the end of row `y`.
fn fill_black(spec: &InputSpec, y: usize, from: usize, (width, height): (usize, usize), out: &mut [f32]) {
    for at in 0..3 {
        let black = -spec.mean[at] * spec.scale[at];
        match spec.layout {
            Layout::Nchw => out[(at * height + y) * width + from..(at * height + y + 1) * width].fill(black),
            Layout::Nhwc => out[(y * width + from) * 3..(y + 1) * width * 3].chunks_exact_mut(3).for_each(|px| px[at] = black),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::frame::{FrameSeq, Micros, i420_len};

    fn spec(fit: Fit) -> InputSpec {
        InputSpec { fit, size: 320, filter: Filter::Bilinear, layout: Layout::Nchw, colour: Colour::Rgb, mean: [0.0; 3], scale: [1.0; 3] }
    }

    fn frame(width: usize, height: usize, range: Range, matrix: Matrix, paint: impl Fn(usize, usize) -> [u8; 3]) -> Frame {
        let mut frame = Frame::new(FrameSeq(0), Micros(0), width, height, range, matrix, vec![0; i420_len(width, height)]);
        let (cw, ch) = chroma_size(width, height);
        let [luma, cb, cr] = frame.planes_mut();
        for y in 0..height {
            for x in 0..width {
                luma[y * width + x] = paint(x, y)[0];
            }
        }
        for y in 0..ch {
            for x in 0..cw {
                let [_, b, r] = paint(x * 2, y * 2);
                (cb[y * cw + x], cr[y * cw + x]) = (b, r);
            }
        }
        frame
    }

    fn filled(spec: InputSpec, frame: &Frame) -> (Placement, Vec<f32>) {
        let mut preprocessor = Preprocessor::new(spec);
        let (width, height) = preprocessor.input_size(frame.width, frame.height);
        let mut out = vec![f32::NAN; 3 * width * height];
        (preprocessor.fill(frame, &mut out), out)
    }

    #[test]
    fn input_follows_the_frames_aspect_in_strides() {
        let mut aspect = Preprocessor::new(spec(Fit::Aspect { stride: 32 }));
        let sizes = [(1280, 720), (640, 480), (720, 1280), (480, 640), (100, 100), (3840, 1600), (2, 2)];
        let expected = [(320, 192), (320, 256), (192, 320), (256, 320), (320, 320), (320, 160), (320, 320)];
        assert_eq!(sizes.map(|(w, h)| aspect.input_size(w, h)), expected);
        let mut square = Preprocessor::new(spec(Fit::Square));
        assert_eq!(sizes.map(|(w, h)| square.input_size(w, h)), [(320, 320); 7]);
    }

    #[test]
    fn range_and_matrix_are_honoured() {
        // The same five colours in each coding, worked out from the standards' coefficients; a reader of another range or matrix fails.
        let chart = [[255.0, 0.0, 0.0], [0.0, 255.0, 0.0], [0.0, 0.0, 255.0], [255.0, 255.0, 255.0], [60.0, 120.0, 200.0]];
        for (matrix, kr, kb) in [(Matrix::Bt601, 0.299_f32, 0.114_f32), (Matrix::Bt709, 0.2126, 0.0722)] {
            for (range, zero, luma_span, chroma_span) in [(Range::Full, 0.0, 255.0, 255.0), (Range::Limited, 16.0, 219.0, 224.0)] {
                for rgb in chart {
                    let y = kr * rgb[0] + (1.0 - kr - kb) * rgb[1] + kb * rgb[2];
                    let coded = [
                        zero + y / 255.0 * luma_span,
                        128.0 + (rgb[2] - y) / (2.0 * (1.0 - kb)) / 255.0 * chroma_span,
                        128.0 + (rgb[0] - y) / (2.0 * (1.0 - kr)) / 255.0 * chroma_span,
                    ]
                    .map(|v| v.round().clamp(0.0, 255.0) as u8);
                    let (placement, out) = filled(spec(Fit::Square), &frame(64, 64, range, matrix, |_, _| coded));
                    let plane = placement.width * placement.height;
                    for channel in 0..3 {
                        let (low, high) = out[channel * plane..(channel + 1) * plane]
                            .iter()
                            .fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
                        // Coding in 8 bits costs up to half a step of each component.
                        assert!(
                            (low - rgb[channel]).abs() < 2.5 && (high - rgb[channel]).abs() < 2.5,
                            "{matrix:?} {range:?} {rgb:?}: {low}..{high}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn channel_order_normalisation_and_layout_are_the_models() {
        let red = frame(32, 32, Range::Full, Matrix::Bt601, |_, _| [76, 85, 255]);
        let mut spec = spec(Fit::Square);
        (spec.size, spec.colour, spec.mean, spec.scale) = (32, Colour::Bgr, [10.0, 20.0, 30.0], [0.5, 1.0, 2.0]);
        let (_, planar) = filled(spec.clone(), &red);
        spec.layout = Layout::Nhwc;
        let (_, packed) = filled(spec, &red);
        for i in [0, 500, 1023] {
            let px = [planar[i], planar[1024 + i], planar[2048 + i]];
            assert_eq!(px, packed[i * 3..i * 3 + 3]);
            for (value, expected) in px.into_iter().zip([-5.0, -20.0, 450.0]) {
                assert!((value - expected).abs() < 4.0, "{px:?}");
            }
        }
    }

    #[test]
    fn letterbox_is_black_at_the_bottom_or_right_only() {
        for (width, height) in [(640, 360), (360, 640)] {
            let white = frame(width, height, Range::Full, Matrix::Bt601, |_, _| [255, 128, 128]);
            let (placement, out) = filled(spec(Fit::Aspect { stride: 32 }), &white);
            for y in 0..placement.height {
                for x in 0..placement.width {
                    let inside = x < if width > height { 320 } else { 180 } && y < if width > height { 180 } else { 320 };
                    assert_eq!(out[y * placement.width + x] > 254.0, inside, "{x},{y}");
                    assert!(inside || out[y * placement.width + x] == 0.0);
                }
            }
            // The frame's far corner is where the content ends.
            let (right, bottom) = if width > height { (320.0, 180.0) } else { (180.0, 320.0) };
            let area = placement.area(0.0, 0.0, right, bottom);
            assert!((area.right() - 1.0).abs() < 1e-5 && (area.bottom() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn crop_takes_the_middle_of_the_stretched_frame() {
        let mut spec = spec(Fit::Crop { resize: 256 });
        spec.size = 224;
        let half = frame(512, 256, Range::Full, Matrix::Bt601, |x, _| [if x < 256 { 0 } else { 255 }, 128, 128]);
        let (placement, out) = filled(spec, &half);
        assert_eq!((out[0], out[223]), (0.0, 255.0));
        assert_eq!(placement.area(0.0, 0.0, 224.0, 224.0), Rect::from_edges(0.0625, 0.0625, 0.9375, 0.9375));
    }

    #[test]
    fn antialiasing_averages_what_bilinear_skips() {
        let stripes = frame(1280, 1280, Range::Full, Matrix::Bt601, |x, _| [if x % 4 == 0 { 255 } else { 0 }, 128, 128]);
        let mut spec = spec(Fit::Square);
        spec.filter = Filter::Antialias;
        let (_, out) = filled(spec, &stripes);
        assert!(out[320 * 100..320 * 101].iter().skip(4).take(300).all(|v| (v - 63.75).abs() < 8.0));
    }

    proptest! {
        #[test]
        fn any_size_is_filled_whole_and_within_bounds(width in 2_usize..700, height in 2_usize..700, luma in 0_u8..=255, antialias: bool) {
            let flat = frame(width, height, Range::Full, Matrix::Bt709, |_, _| [luma, 128, 128]);
            let mut spec = spec(Fit::Aspect { stride: 32 });
            spec.size = 64;
            spec.filter = if antialias { Filter::Antialias } else { Filter::Bilinear };
            let (placement, out) = filled(spec, &flat);
            prop_assert!(placement.width % 32 == 0 && placement.height % 32 == 0);
            prop_assert!(placement.width.max(placement.height) == 64);
            // A flat picture stays flat: weights sum to one everywhere, edges included.
            prop_assert!(out.iter().all(|&v| v == 0.0 || (v - f32::from(luma)).abs() < 1e-3));
            prop_assert!((out[0] - f32::from(luma)).abs() < 1e-3);
        }
    }
}
