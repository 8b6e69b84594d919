//! Covering areas of a frame, so that what was there cannot be had back.
//!
//! Always holds: every pixel of an area changes, its edges rounded outward to whole chroma samples; no pixel outside changes, bit for
//! bit; overlapping areas and areas that reach past the frame are fine; an area that is not a number covers the whole frame.
//!
//! What each style lets out:
//! - **Solid** nothing but the area itself. Use it where being recognised does harm.
//! - **Pixelate** one coarse colour a cell. Cells are at least a sixth of the largest area's shorter side, so a face that fills its
//!   area is at most about six by eight colours: fewer than the ten or so a face's width at which people stop recognising even faces
//!   that they know (Bachmann 1991; Costen, Parker and Craw 1996). Pixels within a cell are gone, not merely mixed: the mean of
//!   256 or more values, then rounded to 32 levels of luma and 16 of chroma, leaves nothing to solve for. The grid is the frame's, not the
//!   area's, cells are averaged as wholes, and sizes are powers of two, so that coarse cells consist of whole finer ones: a mask that moves or
//!   grows over a still picture shows the same cells again and adds no finer detail.
//! - **Blur** is computed from pixelate's colours alone, so it cannot tell more than they do, whatever filter is undone.
//!
//! Both still tell a few dozen colours: a program that has a short list of candidates may match them (McPherson, Shokri and
//! Shmatikov 2016), and a thing that itself moves across cells is sampled at several places. Neither is for hiding who somebody is from
//! someone who has a suspicion; that is why solid is the default.

use std::ops::Range as Span;

use serde::{Deserialize, Serialize};

use crate::geometry::Rect;
use crate::media::frame::{Frame, chroma_size};
use crate::vision::color::{Rgb, ycbcr_of};

/// How covered areas look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    Solid(Rgb),
    Pixelate,
    Blur,
}

impl Default for Style {
    fn default() -> Self {
        Style::Solid(Rgb::BLACK)
    }
}

/// Smallest side of a cell, in luma pixels.
const CELL_MIN: usize = 16;

/// Cells along the shorter side of the largest area, at most.
const CELLS_ACROSS_MAX: usize = 6;

/// A mean keeps this many of its upper bits.
const LUMA_BITS: u32 = 5;
const CHROMA_BITS: u32 = 4;

/// Columns and rows of chroma samples, half open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    x: Span<usize>,
    y: Span<usize>,
}

impl Block {
    /// The chroma samples that an area touches; `None` if it is empty or outside the frame.
    fn of(area: &Rect, frame: &Frame) -> Option<Block> {
        let (cw, ch) = chroma_size(frame.width, frame.height);
        let Some((left, right, top, bottom)) = edges(area) else { return Some(Block { x: 0..cw, y: 0..ch }) };
        if left >= right || top >= bottom {
            return None;
        }
        let span = |start: f64, end: f64, pixels: usize, samples: usize| {
            let low = (start * pixels as f64).floor() as usize / 2;
            let high = ((end * pixels as f64).ceil() as usize).div_ceil(2);
            low..high.min(samples)
        };
        Some(Block { x: span(left, right, frame.width, cw), y: span(top, bottom, frame.height, ch) })
    }

    /// The same in samples of a plane that has `step` (1 or 2) of them for each chroma sample and ends at `width` × `height`.
    fn scaled(&self, step: usize, width: usize, height: usize) -> Block {
        let span = |span: &Span<usize>, end: usize| span.start * step..(span.end * step).min(end);
        Block { x: span(&self.x, width), y: span(&self.y, height) }
    }

    fn intersection(&self, other: &Block) -> Block {
        let both = |a: &Span<usize>, b: &Span<usize>| a.start.max(b.start)..a.end.min(b.end);
        Block { x: both(&self.x, &other.x), y: both(&self.y, &other.y) }
    }
}

/// Left, right, top and bottom within the frame; none if one is not a number. In double precision the sum of two fractions and its
/// product with a side are exact enough that no edge rounds inward by more than a millionth of a pixel.
fn edges(area: &Rect) -> Option<(f64, f64, f64, f64)> {
    let ends = |start: f32, length: f32| (f64::from(start), f64::from(start) + f64::from(length));
    let ((left, right), (top, bottom)) = (ends(area.x, area.width), ends(area.y, area.height));
    let all = [left, right, top, bottom];
    let [left, right, top, bottom] = all.map(|edge| edge.clamp(0.0, 1.0));
    (!all.iter().any(|edge| edge.is_nan())).then_some((left, right, top, bottom))
}

/// One plane with what is needed to walk it.
struct Plane<'a> {
    samples: &'a mut [u8],
    width: usize,
    height: usize,
    /// Samples for each chroma sample along a side.
    step: usize,
    /// Bits kept of a mean.
    bits: u32,
}

impl Plane<'_> {
    fn fill(&mut self, block: &Block, value: u8) {
        if block.x.is_empty() {
            return;
        }
        for row in block.y.clone() {
            self.samples[row * self.width..][block.x.clone()].fill(value);
        }
    }

    fn mean(&self, block: &Block) -> u8 {
        let rows = block.y.clone().map(|row| &self.samples[row * self.width..][block.x.clone()]);
        let sum: u64 = rows.map(|row| row.iter().map(|&v| u64::from(v)).sum::<u64>()).sum();
        let count = (block.x.len() * block.y.len()) as u64;
        quantised(((sum + count / 2) / count.max(1)) as u8, self.bits)
    }
}

/// The middle of the step that holds `value`, where `bits` bits tell the step.
fn quantised(value: u8, bits: u32) -> u8 {
    let step = 1u8 << (8 - bits);
    value / step * step + step / 2
}

/// Covers `areas` of the frame, given in fractions of it. Copies the picture first if somebody else still holds it.
pub fn cover(frame: &mut Frame, areas: &[Rect], style: Style) {
    let blocks: Vec<Block> = areas.iter().filter_map(|area| Block::of(area, frame)).collect();
    if blocks.is_empty() {
        return;
    }
    let (width, height) = (frame.width, frame.height);
    let (cw, ch) = chroma_size(width, height);
    let solid = match style {
        Style::Solid(rgb) => Some(ycbcr_of(rgb, frame.range, frame.matrix)),
        Style::Pixelate | Style::Blur => None,
    };
    let cell = cell_size(&blocks);
    for (index, samples) in frame.planes_mut().into_iter().enumerate() {
        let mut plane = match index {
            0 => Plane { samples, width, height, step: 2, bits: LUMA_BITS },
            _ => Plane { samples, width: cw, height: ch, step: 1, bits: CHROMA_BITS },
        };
        match (style, solid) {
            (_, Some(colour)) => blocks.iter().for_each(|b| plane.fill(&b.scaled(plane.step, plane.width, plane.height), colour[index])),
            (Style::Blur, None) => blur(&mut plane, &blocks, cell),
            (_, None) => pixelate(&mut plane, &blocks, cell),
        }
    }
}

/// Side of a cell in chroma samples, one for all areas of a frame: the coarsest that any of them asks for.
fn cell_size(blocks: &[Block]) -> usize {
    let shorter = blocks.iter().map(|b| b.x.len().min(b.y.len())).max().unwrap_or(0);
    let side = shorter.div_ceil(CELLS_ACROSS_MAX);
    (CELL_MIN / 2).max(side.next_power_of_two())
}

/// The cells of the frame's grid that `span` touches.
fn cells(span: &Span<usize>, cell: usize) -> Span<usize> {
    span.start / cell..span.end.div_ceil(cell)
}

fn cell_block(column: usize, row: usize, cell: usize) -> Block {
    Block { x: column * cell..(column + 1) * cell, y: row * cell..(row + 1) * cell }
}

/// Means of all cells that the blocks touch, and of those around them as far as `margin` cells, before anything is changed.
struct Means {
    columns: usize,
    rows: usize,
    values: Vec<Option<u8>>,
}

impl Means {
    fn of(plane: &Plane<'_>, blocks: &[Block], cell: usize, margin: usize) -> Means {
        let step = cell * plane.step;
        let (columns, rows) = (plane.width.div_ceil(step), plane.height.div_ceil(step));
        let mut values = vec![None; columns * rows];
        for block in blocks {
            let around = |span: Span<usize>, end: usize| span.start.saturating_sub(margin)..(span.end + margin).min(end);
            for row in around(cells(&block.y, cell), rows) {
                for column in around(cells(&block.x, cell), columns) {
                    values[row * columns + column]
                        .get_or_insert_with(|| plane.mean(&cell_block(column, row, cell).scaled(plane.step, plane.width, plane.height)));
                }
            }
        }
        Means { columns, rows, values }
    }

    /// Cells past the frame's edge, and past what was averaged, are as the nearest one.
    fn at(&self, column: isize, row: isize) -> u8 {
        let clamped = |at: isize, end: usize| at.clamp(0, end as isize - 1) as usize;
        self.values[clamped(row, self.rows) * self.columns + clamped(column, self.columns)].unwrap_or(128)
    }

    /// The mean of the 3 × 3 cells about one, weighted 1-2-1 both ways, in sixteenths.
    fn smooth(&self, column: isize, row: isize) -> u32 {
        let line = |row| u32::from(self.at(column - 1, row)) + 2 * u32::from(self.at(column, row)) + u32::from(self.at(column + 1, row));
        line(row - 1) + 2 * line(row) + line(row + 1)
    }
}

fn pixelate(plane: &mut Plane<'_>, blocks: &[Block], cell: usize) {
    let means = Means::of(plane, blocks, cell, 0);
    for block in blocks {
        for row in cells(&block.y, cell) {
            for column in cells(&block.x, cell) {
                let part = cell_block(column, row, cell).intersection(block).scaled(plane.step, plane.width, plane.height);
                plane.fill(&part, means.at(column as isize, row as isize));
            }
        }
    }
}

/// Between the centres of cells, smoothed with their neighbours, colours are mixed linearly.
fn blur(plane: &mut Plane<'_>, blocks: &[Block], cell: usize) {
    // A pixel mixes up to the next cell, and that is smoothed with one more.
    let means = Means::of(plane, blocks, cell, 2);
    let side = cell * plane.step;
    // Positions are in halves of a sample, so that centres are whole; sides are powers of two, so that dividing is shifting.
    let (whole, shift) = (2 * side as u32, (2 * side).ilog2());
    // The cell left of a sample's centre and how far the sample lies from that cell's centre.
    let place = |at: usize| {
        let from_first_centre = (2 * at + 1) as isize - side as isize;
        (from_first_centre.div_euclid(2 * side as isize), from_first_centre.rem_euclid(2 * side as isize) as u32)
    };
    for block in blocks {
        let part = block.scaled(plane.step, plane.width, plane.height);
        let (first, last) = (place(part.x.start).0, place(part.x.end - 1).0 + 1);
        let columns: Vec<(usize, u32)> = part.x.clone().map(place).map(|(column, right)| ((column - first) as usize, right)).collect();
        let smoothed = |row: isize| (first..=last).map(|column| means.smooth(column, row)).collect::<Vec<u32>>();
        let mut above = place(part.y.start).0;
        let (mut upper, mut lower) = (smoothed(above), smoothed(above + 1));
        for y in part.y {
            let (row, down) = place(y);
            if row != above {
                (above, upper, lower) = (row, lower, smoothed(row + 1));
            }
            // In 256ths: sixteenths of the smoothing, and four bits more.
            let line: Vec<u32> =
                upper.iter().zip(&lower).map(|(&upper, &lower)| ((upper * (whole - down) + lower * down) * 16) >> shift).collect();
            let out = &mut plane.samples[y * plane.width..][part.x.clone()];
            for (out, &(index, right)) in out.iter_mut().zip(&columns) {
                let sum = line[index] * (whole - right) + line[index + 1] * right;
                *out = ((sum + (128 << shift)) >> (8 + shift)) as u8;
            }
        }
    }
}

/// Share of the frame that `areas` cover together, 0..=1; what overlaps counts once. An area that is not a number counts as all,
/// as [`cover`] takes it.
pub fn covered_share(areas: &[Rect]) -> f32 {
    let mut spans = Vec::with_capacity(areas.len());
    for area in areas {
        let Some((left, right, top, bottom)) = edges(area) else { return 1.0 };
        if left < right && top < bottom {
            spans.push((left, right, top, bottom));
        }
    }
    let mut columns: Vec<f64> = spans.iter().flat_map(|&(left, right, ..)| [left, right]).collect();
    columns.sort_by(f64::total_cmp);
    columns.dedup();
    // By top edge, so that within a strip the spans come in order.
    spans.sort_by(|a, b| a.2.total_cmp(&b.2));
    let mut share = 0.0;
    for strip in columns.windows(2) {
        let (mut length, mut reached) = (0.0, 0.0);
        for &(_, _, top, bottom) in spans.iter().filter(|&&(left, right, ..)| left <= strip[0] && strip[1] <= right) {
            length += (bottom - f64::max(top, reached)).max(0.0);
            reached = f64::max(reached, bottom);
        }
        share += length * (strip[1] - strip[0]);
    }
    share as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::frame::{FrameSeq, Matrix, Micros, Range, i420_len};

    const STYLES: [Style; 3] = [Style::Solid(Rgb([200, 30, 90])), Style::Pixelate, Style::Blur];

    fn noise(width: usize, height: usize, seed: u32) -> Frame {
        let mut state = seed;
        let data = (0..i420_len(width, height)).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Limited, Matrix::Bt601, data.collect())
    }

    /// Whether the sample at `x`, `y` of plane `index` belongs to a chroma sample that the area touches.
    fn is_touched(area: &Rect, frame: &Frame, index: usize, x: usize, y: usize) -> bool {
        let (cx, cy) = if index == 0 { (x / 2, y / 2) } else { (x, y) };
        let touches = |start: f32, length: f32, pixels: usize, sample: usize| {
            let (start, end) = (f64::from(start) * pixels as f64, (f64::from(start) + f64::from(length)) * pixels as f64);
            length > 0.0 && end > 0.0 && start < pixels as f64 && start < (2 * sample + 2) as f64 && (2 * sample) as f64 <= end
        };
        touches(area.x, area.width, frame.width, cx) && touches(area.y, area.height, frame.height, cy)
    }

    fn area() -> impl Strategy<Value = Rect> {
        (-0.3f32..1.2, -0.3f32..1.2, 0.0f32..0.8, 0.0f32..0.8).prop_map(|(x, y, w, h)| Rect::new(x, y, w, h))
    }

    proptest! {
        #[test]
        fn outside_stays_and_inside_goes(
            width in 1usize..90, height in 1usize..90, areas in prop::collection::vec(area(), 0..4), style in 0usize..3, seed: u32,
        ) {
            let raw = noise(width, height, seed);
            let mut covered = raw.clone();
            cover(&mut covered, &areas, STYLES[style]);
            let solid = ycbcr_of(Rgb([200, 30, 90]), Range::Limited, Matrix::Bt601);
            for (index, (raw_plane, plane)) in raw.planes().into_iter().zip(covered.planes()).enumerate() {
                let plane_width = if index == 0 { width } else { width.div_ceil(2) };
                for (at, (&before, &after)) in raw_plane.iter().zip(plane).enumerate() {
                    let (x, y) = (at % plane_width, at / plane_width);
                    // Strictly inside by a millionth, so that the test does not depend on how an edge on a sample's border rounds.
                    let inside = |a: &Rect| is_touched(&a.grown(-1e-6, -1e-6), &raw, index, x, y) && !a.grown(-1e-6, -1e-6).is_empty();
                    if !areas.iter().any(|a| is_touched(&a.grown(1e-6, 1e-6), &raw, index, x, y)) {
                        prop_assert_eq!(before, after);
                    } else if style == 0 && areas.iter().any(inside) {
                        prop_assert_eq!(after, solid[index]);
                    }
                }
            }
        }

        /// What is covered shows nothing finer than a cell: two pictures whose cells agree come out the same.
        #[test]
        fn what_is_finer_than_a_cell_is_gone(areas in prop::collection::vec(area(), 1..4), style in 1usize..3, seed: u32) {
            let (width, height) = (256, 192);
            let raw = noise(width, height, seed);
            let mut mirrored = raw.clone();
            for (plane, (w, cell)) in mirrored.planes_mut().into_iter().zip([(width, 16), (width / 2, 8), (width / 2, 8)]) {
                plane.chunks_exact_mut(w).for_each(|row| row.chunks_exact_mut(cell).for_each(<[u8]>::reverse));
            }
            let mut a = raw;
            let blocks: Vec<Block> = areas.iter().filter_map(|area| Block::of(area, &a)).collect();
            let mut b = mirrored;
            cover(&mut a, &areas, STYLES[style]);
            cover(&mut b, &areas, STYLES[style]);
            for block in blocks {
                for (index, (a, b)) in a.planes().into_iter().zip(b.planes()).enumerate() {
                    let (step, w, h) = if index == 0 { (2, width, height) } else { (1, width / 2, height / 2) };
                    let part = block.scaled(step, w, h);
                    for y in part.y {
                        prop_assert_eq!(&a[y * w..][part.x.clone()], &b[y * w..][part.x.clone()]);
                    }
                }
            }
        }

        #[test]
        fn the_share_is_that_of_a_fine_grid(areas in prop::collection::vec(area(), 0..6)) {
            let snap = |v: f32| (v * 50.0).round() / 50.0;
            let areas: Vec<Rect> = areas.iter().map(|a| Rect::new(snap(a.x), snap(a.y), snap(a.width), snap(a.height))).collect();
            let hits = (0..2500).filter(|i| {
                let (x, y) = ((i % 50) as f32 / 50.0 + 0.01, (i / 50) as f32 / 50.0 + 0.01);
                areas.iter().any(|a| a.x < x && x < a.right() && a.y < y && y < a.bottom())
            }).count();
            prop_assert!((covered_share(&areas) - hits as f32 / 2500.0).abs() < 1e-4);
        }
    }

    #[test]
    fn a_mask_that_moves_shows_the_same_cells() {
        let raw = noise(320, 180, 7);
        let shown = |x: f32| {
            let mut frame = raw.clone();
            cover(&mut frame, &[Rect::new(x, 0.2, 0.4, 0.4)], Style::Pixelate);
            frame
        };
        let (a, b) = (shown(0.3), shown(0.35));
        // Pixels that both cover: columns 112..224, rows 36..108.
        for y in 40..100 {
            assert_eq!(a.planes()[0][y * 320 + 116..y * 320 + 220], b.planes()[0][y * 320 + 116..y * 320 + 220]);
        }
    }

    #[test]
    fn a_face_is_at_most_six_cells_across() {
        let raw = noise(1280, 720, 3);
        let mut frame = raw.clone();
        cover(&mut frame, &[Rect::new(0.2, 0.1, 0.3, 0.7)], Style::Pixelate);
        // 384 pixels across: a run of one value is a cell.
        let row = &frame.planes()[0][300 * 1280 + 256..300 * 1280 + 640];
        let runs = 1 + row.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(runs <= CELLS_ACROSS_MAX + 1, "{runs} cells");
    }

    #[test]
    fn a_whole_frame_and_what_is_no_number_cover_all() {
        for style in STYLES {
            for area in [Rect::FULL, Rect::new(f32::NAN, 0.0, 0.1, 0.1), Rect::new(-9.0, f32::NEG_INFINITY, 99.0, f32::INFINITY)] {
                let raw = noise(321, 179, 5);
                let mut frame = raw.clone();
                cover(&mut frame, &[area], style);
                let kept = raw.data().iter().zip(frame.data()).filter(|(a, b)| a == b).count();
                // Of noise some samples are what covers them by chance.
                assert!(kept * 8 < raw.data().len(), "{style:?} {area:?} keeps {kept}");
            }
        }
        assert_eq!(covered_share(&[Rect::FULL, Rect::new(0.1, 0.1, 5.0, 0.2)]), 1.0);
        assert_eq!(covered_share(&[]), 0.0);
    }

    #[test]
    fn blur_has_no_steps_inside() {
        let mut frame = noise(640, 360, 11);
        cover(&mut frame, &[Rect::new(0.25, 0.25, 0.5, 0.5)], Style::Blur);
        let y = frame.planes()[0];
        for row in 92..268 {
            let line = &y[row * 640 + 162..row * 640 + 478];
            assert!(line.windows(2).all(|pair| pair[0].abs_diff(pair[1]) <= 4), "row {row}");
        }
    }
}
