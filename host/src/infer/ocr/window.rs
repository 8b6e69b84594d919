//! Windows: slanted rectangles of a frame, and what a network sees through one.

use crate::geometry::Rect;
use crate::infer::preprocess::Conversion;
use crate::media::frame::{Frame, chroma_size};

/// Samples a pixel's side that are averaged at most, however much a window is shrunk.
const SAMPLES_MAX: usize = 4;

/// A rectangle in luma pixels. Text in it begins at `origin`, the outer corner of its first letter's top, and is read along `along`, the
/// whole edge; `across` is the other one, from the letters' tops to their feet. A mirrored window has its origin at the right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    pub origin: (f32, f32),
    pub along: (f32, f32),
    pub across: (f32, f32),
}

impl Window {
    pub fn upright(left: f32, top: f32, width: f32, height: f32) -> Self {
        Self { origin: (left, top), along: (width, 0.0), across: (0.0, height) }
    }

    /// Pixels along the text.
    pub fn length(&self) -> f32 {
        self.along.0.hypot(self.along.1)
    }

    /// Pixels across the text.
    pub fn thickness(&self) -> f32 {
        self.across.0.hypot(self.across.1)
    }

    /// The point at these shares of the two edges.
    pub fn at(&self, along: f32, across: f32) -> (f32, f32) {
        let axis = |origin: f32, a: f32, b: f32| origin + along * a + across * b;
        (axis(self.origin.0, self.along.0, self.across.0), axis(self.origin.1, self.along.1, self.across.1))
    }

    /// The stretch between two shares of its length.
    pub fn part(&self, from: f32, to: f32) -> Self {
        let share = to - from;
        Self { origin: self.at(from, 0.0), along: (self.along.0 * share, self.along.1 * share), across: self.across }
    }

    /// Seen in a mirror: read from the other end.
    pub fn mirrored(&self) -> Self {
        Self { origin: self.at(1.0, 0.0), along: (-self.along.0, -self.along.1), across: self.across }
    }

    /// The same rectangle for text that runs across it: down if `down`, otherwise up.
    pub fn turned(&self, down: bool) -> Self {
        let back = |(x, y): (f32, f32)| (-x, -y);
        match down {
            true => Self { origin: self.at(1.0, 0.0), along: self.across, across: back(self.along) },
            false => Self { origin: self.at(0.0, 1.0), along: back(self.across), across: self.along },
        }
    }

    /// Moved and scaled: from a network's pixels to the frame's.
    pub fn placed(&self, (left, top): (f32, f32), (x, y): (f32, f32)) -> Self {
        Self {
            origin: (left + self.origin.0 * x, top + self.origin.1 * y),
            along: (self.along.0 * x, self.along.1 * y),
            across: (self.across.0 * x, self.across.1 * y),
        }
    }

    /// The upright rectangle around it, in pixels.
    pub fn bounds(&self) -> Rect {
        let corners = [self.at(0.0, 0.0), self.at(1.0, 0.0), self.at(0.0, 1.0), self.at(1.0, 1.0)];
        let low = corners.iter().fold((f32::MAX, f32::MAX), |low, corner| (low.0.min(corner.0), low.1.min(corner.1)));
        let high = corners.iter().fold((f32::MIN, f32::MIN), |high, corner| (high.0.max(corner.0), high.1.max(corner.1)));
        Rect::from_edges(low.0, low.1, high.0, high.1)
    }
}

/// What is seen through a window at `width` × `height` pixels: planes of blue, green and red, (x/255 − 0.5)/0.5, as rapidocr 3.10.0 feeds
/// both networks (its `LoadImage` gives OpenCV's order of colours). Each row begins `stride` values after the one before; what lies outside
/// the frame is the frame's edge.
///
/// # Panics
/// If `out` is not 3 × `height` × `stride` values, or `stride` less than `width`.
pub fn fill(frame: &Frame, window: &Window, (width, height): (usize, usize), stride: usize, out: &mut [f32]) {
    assert!(out.len() == 3 * height * stride && width <= stride, "an input of {width}x{height} in rows of {stride}");
    let sampler = Sampler::new(frame);
    let samples = |pixels: f32, side: usize| ((pixels / side as f32).round() as usize).clamp(1, SAMPLES_MAX);
    let (nx, ny) = (samples(window.length(), width), samples(window.thickness(), height));
    let (blue, rest) = out.split_at_mut(height * stride);
    let (green, red) = rest.split_at_mut(height * stride);
    let level = window.along.1 == 0.0 && window.across.0 == 0.0;
    let columns = if level { sampler.columns(window, width, nx) } else { Vec::new() };
    let (mut luma, mut blended) = (vec![0.0; width], vec![0.0; frame.width]);
    for y in 0..height {
        match level {
            true => sampler.level_row(window, (y, height, ny), &columns, &mut blended, &mut luma),
            false => sampler.slanted_row(window, (y, height, ny), nx, &mut luma),
        }
        let across = (y as f32 + 0.5) / height as f32;
        for (x, &luma) in luma.iter().enumerate() {
            let (cb, cr) = sampler.chroma(window.at((x as f32 + 0.5) / width as f32, across));
            let [r, g, b] = sampler.conversion.rgb(luma, cb, cr).map(|value| value / 127.5 - 1.0);
            let at = y * stride + x;
            (blue[at], green[at], red[at]) = (b, g, r);
        }
    }
}

/// Reads a frame between its pixels: luma bilinear, chroma of the sample that is there. Pixel centres lie at halves.
struct Sampler<'a> {
    planes: [&'a [u8]; 3],
    width: usize,
    height: usize,
    chroma_width: usize,
    conversion: Conversion,
}

/// Two neighbouring samples, and the second one's share.
type Taps = (usize, usize, f32);

impl<'a> Sampler<'a> {
    fn new(frame: &'a Frame) -> Self {
        let (chroma_width, _) = chroma_size(frame.width, frame.height);
        let conversion = Conversion::new(frame.range, frame.matrix);
        Self { planes: frame.planes(), width: frame.width, height: frame.height, chroma_width, conversion }
    }

    /// Row `y` of `height`, means of `nx` × `ny` samples.
    fn slanted_row(&self, window: &Window, (y, height, ny): (usize, usize, usize), nx: usize, out: &mut [f32]) {
        let (width, share) = (out.len() as f32, 1.0 / (nx * ny) as f32);
        for (x, out) in out.iter_mut().enumerate() {
            let sample = |sample: usize| {
                let across = (y as f32 + ((sample / nx) as f32 + 0.5) / ny as f32) / height as f32;
                let along = (x as f32 + ((sample % nx) as f32 + 0.5) / nx as f32) / width;
                self.luma(window.at(along, across))
            };
            *out = (0..nx * ny).map(sample).sum::<f32>() * share;
        }
    }

    /// The samples of each column of a level window, `nx` of them a column.
    fn columns(&self, window: &Window, width: usize, nx: usize) -> Vec<Taps> {
        let along = |sample: usize| window.at((sample as f32 + 0.5) / (width * nx) as f32, 0.0).0;
        (0..width * nx).map(|sample| taps(along(sample) - 0.5, self.width)).collect()
    }

    /// As [`Sampler::slanted_row`], of a level window: first down, over the frame's whole width, then along.
    fn level_row(&self, window: &Window, (y, height, ny): (usize, usize, usize), columns: &[Taps], blended: &mut [f32], out: &mut [f32]) {
        blended.fill(0.0);
        for sample in 0..ny {
            let across = (y as f32 + (sample as f32 + 0.5) / ny as f32) / height as f32;
            let (low, high, share) = taps(window.at(0.0, across).1 - 0.5, self.height);
            let row = |y: usize| &self.planes[0][y * self.width..(y + 1) * self.width];
            for ((blended, &low), &high) in blended.iter_mut().zip(row(low)).zip(row(high)) {
                *blended += f32::from(low) + (f32::from(high) - f32::from(low)) * share;
            }
        }
        let nx = columns.len() / out.len();
        let share = 1.0 / (nx * ny) as f32;
        for (out, columns) in out.iter_mut().zip(columns.chunks_exact(nx)) {
            let sample = |&(low, high, share): &Taps| blended[low] + (blended[high] - blended[low]) * share;
            *out = columns.iter().map(sample).sum::<f32>() * share;
        }
    }

    #[inline]
    fn luma(&self, (x, y): (f32, f32)) -> f32 {
        let (x0, x1, fx) = taps(x - 0.5, self.width);
        let (y0, y1, fy) = taps(y - 0.5, self.height);
        let pixel = |x: usize, y: usize| f32::from(self.planes[0][y * self.width + x]);
        let row = |y: usize| pixel(x0, y) + (pixel(x1, y) - pixel(x0, y)) * fx;
        row(y0) + (row(y1) - row(y0)) * fy
    }

    /// Cb and Cr.
    #[inline]
    fn chroma(&self, (x, y): (f32, f32)) -> (f32, f32) {
        let inside = |at: f32, side: usize| (at.max(0.0) as usize).min(side - 1) / 2;
        let at = inside(y, self.height) * self.chroma_width + inside(x, self.width);
        (f32::from(self.planes[1][at]), f32::from(self.planes[2][at]))
    }
}

#[inline]
fn taps(at: f32, side: usize) -> Taps {
    let at = at.clamp(0.0, (side - 1) as f32);
    let low = at as usize;
    (low, (low + 1).min(side - 1), at - low as f32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::frame::{FrameSeq, Matrix, Micros, Range, i420_len};

    /// Luma is twice the column plus the row.
    fn ramp() -> Frame {
        let (width, height) = (64, 48);
        let mut data = vec![128; i420_len(width, height)];
        for (i, luma) in data[..width * height].iter_mut().enumerate() {
            *luma = (i % width * 2 + i / width) as u8;
        }
        Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Full, Matrix::Bt601, data)
    }

    fn seen(window: &Window, width: usize, height: usize) -> Vec<f32> {
        let mut out = vec![0.0; 3 * width * height];
        fill(&ramp(), window, (width, height), width, &mut out);
        out[..width * height].iter().map(|value| (value + 1.0) * 127.5).collect()
    }

    #[test]
    fn a_window_of_the_frames_own_size_is_the_frame() {
        let own = seen(&Window::upright(0.0, 0.0, 64.0, 48.0), 64, 48);
        assert!(own.iter().enumerate().all(|(i, value)| (value - (i % 64 * 2 + i / 64) as f32).abs() < 0.01));
    }

    #[test]
    fn a_mirrored_window_is_the_same_from_the_other_end() {
        let window = Window::upright(8.0, 8.0, 32.0, 16.0);
        let (plain, mirrored) = (seen(&window, 32, 16), seen(&window.mirrored(), 32, 16));
        for (plain, mirrored) in plain.chunks(32).zip(mirrored.chunks(32)) {
            assert!(plain.iter().zip(mirrored.iter().rev()).all(|(a, b)| (a - b).abs() < 0.01));
        }
    }

    #[test]
    fn turned_windows_read_down_and_up() {
        let window = Window::upright(10.0, 4.0, 8.0, 40.0);
        let down = seen(&window.turned(true), 40, 8);
        // Reading down, rows of the frame go by, and the letters' tops are at the right.
        assert!((down[0] - (17.0 * 2.0 + 4.0)).abs() < 0.01 && (down[1] - down[0] - 1.0).abs() < 0.01);
        let up = seen(&window.turned(false), 40, 8);
        assert!((up[0] - (10.0 * 2.0 + 43.0)).abs() < 0.01 && (up[1] - up[0] + 1.0).abs() < 0.01);
    }

    #[test]
    fn level_and_slanted_windows_are_seen_alike() {
        let level = Window::upright(5.0, 3.0, 40.0, 30.0);
        let slanted = Window { along: (40.0, 1e-4), ..level };
        for (width, height) in [(40, 30), (64, 48), (17, 11)] {
            let (level, slanted) = (seen(&level, width, height), seen(&slanted, width, height));
            assert!(level.iter().zip(&slanted).all(|(a, b)| (a - b).abs() < 0.1));
        }
    }

    proptest! {
        #[test]
        fn every_way_of_reading_covers_the_same_rectangle(x in 0_f32..50.0, y in 0_f32..50.0, w in 1_f32..40.0, h in 1_f32..40.0, slant in -0.5_f32..0.5) {
            let window = Window { origin: (x, y), along: (w * slant.cos(), w * slant.sin()), across: (-h * slant.sin(), h * slant.cos()) };
            for other in [window.mirrored(), window.turned(true), window.turned(false), window.turned(true).turned(false)] {
                let (a, b) = (window.bounds(), other.bounds());
                prop_assert!((a.x - b.x).abs() < 1e-3 && (a.y - b.y).abs() < 1e-3, "{a:?} {b:?}");
                prop_assert!((a.right() - b.right()).abs() < 1e-3 && (a.bottom() - b.bottom()).abs() < 1e-3, "{a:?} {b:?}");
            }
            prop_assert!((window.part(0.25, 0.75).length() - window.length() / 2.0).abs() < 1e-3);
        }

        #[test]
        fn shrinking_averages_and_nothing_is_read_outside(x in -20_f32..70.0, y in -20_f32..60.0, side in 1_f32..100.0) {
            let out = seen(&Window::upright(x, y, side, side), 5, 5);
            prop_assert!(out.iter().all(|value| (-0.01..=173.01).contains(value)));
        }
    }
}
