//! What changed between two frames, measured on every frame, block by block.
//!
//! A [`Signature`] is the picture averaged down to cells: 96 along its longer side for luma, half as many for each chroma plane.
//! A block is 4 × 4 luma cells (some 4 % of the longer side: the size of a small face). A block of one frame is *like* another
//! frame when some patch of that frame, at most [`REACH`] cells away, is within the tolerance: so a thing that only moved is
//! explained by the frame it moved from, while a thing that came or went is not. When the whole picture moves (a pan), the search
//! follows it.

use crate::geometry::Rect;
use crate::media::frame::Frame;

/// Luma cells along the longer side.
const CELLS: usize = 96;
/// Luma cells along a block's side.
const BLOCK: usize = 4;
/// How far a block is sought in the other frame, in luma cells; 4 cells are 4 % of the longer side.
const REACH: isize = 4;
/// The tolerance is this share of the picture's own contrast (standard deviation of its cells) …
const TOLERANCE_OF_CONTRAST: f32 = 0.30;
/// … within these bounds, in 8-bit levels: camera noise averaged over a cell stays under the first, and a picture of full contrast
/// must not hide a face behind the second.
const TOLERANCE_LEVELS: (f32, f32) = (3.0, 16.0);
/// The same for chroma, which has less contrast and does not fade with the light: skin differs from grey by some 20 levels of Cr.
const CHROMA_TOLERANCE: u32 = 8;
/// Share of blocks, unlike the frame before even after a search, from which two neighbours always belong to different shots …
const CUT_SHARE_SURE: f32 = 0.45;
/// … and from which they do when the frames before changed much less. Between webcam frames 0.12 was the most that was seen, at a cut
/// from one picture of a person to another of the same person in the same place 0.23 the least.
const CUT_SHARE: f32 = 0.17;
/// A cut is this many times the change of the frame before it.
const CUT_STEP: f32 = 2.0;
/// Share of changed blocks from which the whole picture may have moved.
const PAN_SHARE: f32 = 0.15;
/// The farthest shift of the whole picture that is sought, in blocks.
const PAN_REACH: isize = 5;

/// A frame, small enough to be kept for every look and compared with every frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// In luma cells, multiples of [`BLOCK`].
    width: usize,
    height: usize,
    luma: Vec<u8>,
    /// Cb then Cr, each (width / 2) × (height / 2).
    chroma: Vec<u8>,
    /// 8-bit levels of mean absolute difference up to which two blocks are alike.
    tolerance: f32,
}

/// What [`Signature::compare`] measured, as shares of all blocks, 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// Blocks that differ at their own place.
    pub changed: f32,
    /// Blocks that are found nowhere near either.
    pub unlike: f32,
}

impl Change {
    /// Whether this change, from the frame before, is a hard cut; `before` is the change that led to that frame.
    pub fn is_cut(&self, before: &Change) -> bool {
        self.unlike >= CUT_SHARE_SURE || (self.unlike >= CUT_SHARE && self.unlike >= CUT_STEP * before.unlike)
    }
}

impl Signature {
    pub fn of(frame: &Frame) -> Self {
        let longer = frame.width.max(frame.height);
        let cells = |side: usize| (side * CELLS / longer).next_multiple_of(BLOCK).max(BLOCK);
        let (width, height) = (cells(frame.width), cells(frame.height));
        let [y, cb, cr] = frame.planes();
        let (cw, ch) = crate::media::frame::chroma_size(frame.width, frame.height);
        let luma = average(y, frame.width, frame.height, width, height);
        let mut chroma = average(cb, cw, ch, width / 2, height / 2);
        chroma.extend(average(cr, cw, ch, width / 2, height / 2));
        let mean = luma.iter().map(|&v| f32::from(v)).sum::<f32>() / luma.len() as f32;
        let variance = luma.iter().map(|&v| (f32::from(v) - mean).powi(2)).sum::<f32>() / luma.len() as f32;
        let tolerance = (variance.sqrt() * TOLERANCE_OF_CONTRAST).clamp(TOLERANCE_LEVELS.0, TOLERANCE_LEVELS.1);
        Self { width, height, luma, chroma, tolerance }
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (across, down) = (self.width / BLOCK, self.height / BLOCK);
        (0..down).flat_map(move |by| (0..across).map(move |bx| (bx * BLOCK, by * BLOCK)))
    }

    /// How this frame differs from another. Frames of different sizes have nothing in common.
    pub fn compare(&self, other: &Signature) -> Change {
        self.compare_all(&[other])
    }

    /// How this frame differs from every one of `others`: a block counts when it is in none of them.
    pub fn compare_all(&self, others: &[&Signature]) -> Change {
        let total = (self.width / BLOCK * (self.height / BLOCK)) as f32;
        let (unlike, changed) = self.unlike(others);
        Change { changed: changed as f32 / total, unlike: unlike.len() as f32 / total }
    }

    /// The blocks that are nowhere near in any of `others`, and how many are not at their own place in any.
    fn unlike(&self, others: &[&Signature]) -> (Vec<(usize, usize)>, usize) {
        let mut others: Vec<&Signature> = others.iter().copied().filter(|o| (o.width, o.height) == (self.width, self.height)).collect();
        others.dedup_by(|a, b| std::ptr::eq(*a, *b));
        if others.is_empty() {
            let all: Vec<_> = self.blocks().collect();
            let changed = all.len();
            return (all, changed);
        }
        let total = (self.width / BLOCK * (self.height / BLOCK)) as f32;
        let mut changed: Vec<(usize, usize)> =
            self.blocks().filter(|&(x, y)| !others.iter().any(|other| self.alike(other, x, y, 0, 0))).collect();
        let moved = changed.len() as f32 >= PAN_SHARE * total;
        let shifts: Vec<(isize, isize)> = others.iter().map(|other| if moved { self.shift_to(other) } else { (0, 0) }).collect();
        let near = |&(x, y): &(usize, usize)| {
            others
                .iter()
                .zip(&shifts)
                .any(|(other, &shift)| self.found_near(other, x, y, (0, 0)) || (shift != (0, 0) && self.found_near(other, x, y, shift)))
        };
        let count = changed.len();
        changed.retain(|block| !near(block));
        (changed, count)
    }

    /// Where this frame differs from every one of `others`, as areas of the frame.
    pub fn unlike_areas(&self, others: &[&Signature]) -> Vec<Rect> {
        let (unlike, _) = self.unlike(others);
        let (w, h, block) = (self.width as f32, self.height as f32, BLOCK as f32);
        unlike.into_iter().map(|(x, y)| Rect::new(x as f32 / w, y as f32 / h, block / w, block / h)).collect()
    }

    fn found_near(&self, other: &Signature, x: usize, y: usize, shift: (isize, isize)) -> bool {
        let limit = |at: usize, side: usize, shift: isize| {
            let (low, high) = (-(at as isize), (side - BLOCK - at) as isize);
            (shift - REACH).max(low)..=(shift + REACH).min(high)
        };
        limit(y, self.height, shift.1).any(|dy| limit(x, self.width, shift.0).any(|dx| self.alike(other, x, y, dx, dy)))
    }

    /// Where this picture as a whole lies in the other, in luma cells: sought among block averages, then among cells.
    fn shift_to(&self, other: &Signature) -> (isize, isize) {
        let (across, down) = (self.width / BLOCK, self.height / BLOCK);
        let (mine, theirs) =
            (average(&self.luma, self.width, self.height, across, down), average(&other.luma, self.width, self.height, across, down));
        let coarse = best_shift(&mine, &theirs, (across, down), (0, 0), PAN_REACH.min(across.min(down) as isize / 2));
        let start = (coarse.0 * BLOCK as isize, coarse.1 * BLOCK as isize);
        best_shift(&self.luma, &other.luma, (self.width, self.height), start, BLOCK as isize - 1)
    }

    /// Whether the block at (x, y) is within tolerance of the other frame's patch (dx, dy) away. Both must lie inside.
    fn alike(&self, other: &Signature, x: usize, y: usize, dx: isize, dy: isize) -> bool {
        let tolerance = self.tolerance.min(other.tolerance);
        let bound = (tolerance * (BLOCK * BLOCK) as f32) as u32;
        let (ox, oy) = (x.wrapping_add_signed(dx), y.wrapping_add_signed(dy));
        let mut sum = 0u32;
        for row in 0..BLOCK {
            let mine = &self.luma[(y + row) * self.width + x..][..BLOCK];
            let theirs = &other.luma[(oy + row) * self.width + ox..][..BLOCK];
            sum += mine.iter().zip(theirs).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>();
            if sum > bound {
                return false;
            }
        }
        let chroma_bound = CHROMA_TOLERANCE * (BLOCK * BLOCK / 4) as u32;
        let (cw, ch) = (self.width / 2, self.height / 2);
        let (cx, cy) = (x / 2, y / 2);
        let (ocx, ocy) = ((ox / 2).min(cw - BLOCK / 2), (oy / 2).min(ch - BLOCK / 2));
        (0..2).all(|plane| {
            let base = plane * cw * ch;
            let mut sum = 0u32;
            for row in 0..BLOCK / 2 {
                let mine = &self.chroma[base + (cy + row) * cw + cx..][..BLOCK / 2];
                let theirs = &other.chroma[base + (ocy + row) * cw + ocx..][..BLOCK / 2];
                sum += mine.iter().zip(theirs).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>();
            }
            sum <= chroma_bound
        })
    }
}

/// The shift with the least mean difference over what overlaps, among those at most `reach` from `start` on both axes.
fn best_shift(mine: &[u8], theirs: &[u8], size: (usize, usize), start: (isize, isize), reach: isize) -> (isize, isize) {
    let (width, height) = (size.0 as isize, size.1 as isize);
    let mut best = (f32::INFINITY, (0, 0));
    for dy in start.1 - reach..=start.1 + reach {
        for dx in start.0 - reach..=start.0 + reach {
            let (rows, columns) = ((-dy).max(0)..height.min(height - dy), (-dx).max(0)..width.min(width - dx));
            let overlap = (rows.end - rows.start) * (columns.end - columns.start);
            if rows.is_empty() || columns.is_empty() || overlap * 2 < width * height {
                continue;
            }
            let mut sum = 0u32;
            for y in rows {
                let a = &mine[(y * width + columns.start) as usize..(y * width + columns.end) as usize];
                let b = &theirs[((y + dy) * width + columns.start + dx) as usize..][..a.len()];
                sum += a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>();
            }
            let mean = sum as f32 / overlap as f32;
            if mean < best.0 {
                best = (mean, (dx, dy));
            }
        }
    }
    best.1
}

/// A plane averaged down to `cells_x` × `cells_y`. Tall planes are read on every second row: the average needs no more.
fn average(plane: &[u8], width: usize, height: usize, cells_x: usize, cells_y: usize) -> Vec<u8> {
    // Columns are summed down a cell's rows first, which the vectoriser does eight at a time.
    const ROWS_MAX: usize = u16::MAX as usize / u8::MAX as usize;
    let span = |i: usize, cells: usize, side: usize| {
        let start = (i * side / cells).min(side - 1);
        start..((i + 1) * side / cells).max(start + 1)
    };
    let across: Vec<_> = (0..cells_x).map(|cx| span(cx, cells_x, width)).collect();
    let mut out = Vec::with_capacity(cells_x * cells_y);
    let mut sums = vec![0u32; cells_x];
    let mut columns = vec![0u16; width];
    for cy in 0..cells_y {
        let down = span(cy, cells_y, height);
        let step = if down.len() >= 4 { 2 } else { 1 };
        let rows = down.len().div_ceil(step);
        sums.fill(0);
        for first in (0..rows).step_by(ROWS_MAX) {
            columns.fill(0);
            for row in first..rows.min(first + ROWS_MAX) {
                let row = &plane[(down.start + row * step) * width..][..width];
                columns.iter_mut().zip(row).for_each(|(sum, &v)| *sum += u16::from(v));
            }
            for (sum, across) in sums.iter_mut().zip(&across) {
                *sum += columns[across.clone()].iter().map(|&v| u32::from(v)).sum::<u32>();
            }
        }
        out.extend(sums.iter().zip(&across).map(|(&sum, across)| {
            let count = (rows * across.len()) as u32;
            ((sum + count / 2) / count) as u8
        }));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::frame::{FrameSeq, Matrix, Micros, Range, i420_len};

    /// A textured background with one textured square at (x, y), in pixels.
    fn picture(square: Option<(usize, usize)>, gain: f32) -> Signature {
        let (w, h) = (640, 480);
        let mut data = vec![128u8; i420_len(w, h)];
        for y in 0..h {
            for x in 0..w {
                let inside = square.is_some_and(|(sx, sy)| (sx..sx + 120).contains(&x) && (sy..sy + 120).contains(&y));
                let v = if inside { 200.0 + 30.0 * ((x / 12 + y / 9) % 2) as f32 } else { 60.0 + 60.0 * ((x / 80 + y / 60) % 2) as f32 };
                data[y * w + x] = (v * gain) as u8;
            }
        }
        Signature::of(&Frame::new(FrameSeq(0), Micros(0), w, h, Range::Limited, Matrix::Bt601, data))
    }

    proptest! {
        #[test]
        fn a_cell_is_the_mean_of_its_rows(width in 1usize..300, height in 1usize..900, cells_x in 1usize..97, cells_y in 1usize..97, seed: u64) {
            let mut rng = seed;
            let plane: Vec<u8> = (0..width * height)
                .map(|_| {
                    rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (rng >> 56) as u8
                })
                .collect();
            let cells = average(&plane, width, height, cells_x, cells_y);
            for (i, &cell) in cells.iter().enumerate() {
                let (cx, cy) = (i % cells_x, i / cells_x);
                let (left, top) = ((cx * width / cells_x).min(width - 1), (cy * height / cells_y).min(height - 1));
                let (right, bottom) = (((cx + 1) * width / cells_x).max(left + 1), ((cy + 1) * height / cells_y).max(top + 1));
                let step = if bottom - top >= 4 { 2 } else { 1 };
                let rows = (top..bottom).step_by(step).flat_map(|y| plane[y * width + left..y * width + right].iter());
                let (sum, count) = rows.fold((0u32, 0u32), |(sum, count), &v| (sum + u32::from(v), count + 1));
                prop_assert_eq!(u32::from(cell), (sum + count / 2) / count, "cell {}", i);
            }
        }
    }

    #[test]
    fn a_still_picture_has_not_changed() {
        assert_eq!(picture(None, 1.0).compare(&picture(None, 1.0)), Change::default());
    }

    #[test]
    fn a_thing_that_came_is_unlike_and_one_that_moved_a_little_is_not() {
        let there = picture(Some((240, 160)), 1.0);
        let came = there.compare(&picture(None, 1.0));
        assert!(came.unlike > 0.02, "{came:?}");
        let moved = there.compare(&picture(Some((246, 164)), 1.0));
        assert!(moved.unlike < came.unlike / 3.0, "{moved:?} after {came:?}");
    }

    #[test]
    fn a_short_visit_is_unlike_both_neighbours_and_a_passage_is_not() {
        let empty = picture(None, 1.0);
        assert!(picture(Some((240, 160)), 1.0).compare_all(&[&empty, &empty]).unlike > 0.02);
        let (before, after) = (picture(Some((220, 160)), 1.0), picture(Some((260, 160)), 1.0));
        let passage = picture(Some((240, 160)), 1.0).compare_all(&[&before, &after]).unlike;
        assert!(passage < 0.02, "{passage}");
    }

    #[test]
    fn a_dark_picture_is_compared_as_strictly_as_a_bright_one() {
        let came = |gain| picture(Some((240, 160)), gain).compare(&picture(None, gain)).unlike;
        assert!(came(0.3) > 0.8 * came(1.0), "{} of {}", came(0.3), came(1.0));
    }

    #[test]
    fn a_pan_is_followed() {
        let whole = |offset: usize| {
            let (w, h) = (640, 480);
            let mut data = vec![128u8; i420_len(w, h)];
            let tiles: Vec<u8> = (0..64 * 64u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            (0..h).for_each(|y| (0..w).for_each(|x| data[y * w + x] = tiles[y / 24 * 64 + (x + offset) / 24]));
            Signature::of(&Frame::new(FrameSeq(0), Micros(0), w, h, Range::Limited, Matrix::Bt601, data))
        };
        let change = whole(80).compare(&whole(0));
        assert!(change.changed > 0.5 && change.unlike < 0.2, "{change:?}");
        assert!(!change.is_cut(&change));
    }

    #[test]
    fn another_size_has_nothing_in_common() {
        let other = Signature::of(&Frame::new(FrameSeq(0), Micros(0), 64, 64, Range::Full, Matrix::Bt601, vec![90; i420_len(64, 64)]));
        assert!(other.compare(&picture(None, 1.0)).is_cut(&Change::default()));
    }
}
