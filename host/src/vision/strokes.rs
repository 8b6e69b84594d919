//! Where text could be: blocks of a frame that hold strokes. Cheap enough for every frame; what it leaves out need not be read.
//!
//! A stroke is a line of luma with an edge on either side, one up and one down. A block is marked when, within itself and the halves of its
//! neighbours, enough pixels rise and enough fall, along rows or along columns: text has both within a letter, while the outline of a thing
//! has one, and skin, sky and what is out of focus have neither. Noise, grass and hair are marked as well. Pure.

use super::blocks::{BLOCK, Blocks};

/// How far round a block its strokes may reach, in pixels: half a block. Letters up to 48 px have strokes up to 8 px wide.
const HALF: usize = BLOCK / 2;
/// Least step over two pixels that is an edge, in 8-bit luma. Strokes of small letters are thinner than a pixel here and there, so that text
/// of 24 steps' contrast shows some 14.
const EDGE_MIN: u8 = 12;
/// Least number of pixels that rise, and that fall, in 32 × 32: the shortest letters' stems.
const EDGES_MIN: u32 = 8;

/// The blocks of a luma plane of `width` columns that may hold text.
pub fn strokes(luma: &[u8], width: usize) -> Blocks {
    let height = luma.len() / width.max(1);
    let halves = Halves::of(luma, width, height);
    let mut blocks = Blocks::none(width, height);
    (0..blocks.len()).for_each(|block| blocks.set(block, halves.has_strokes(block % blocks.across(), block / blocks.across())));
    blocks
}

/// Rising and falling pixels along rows, and along columns, in each square of half a block.
struct Halves {
    columns: usize,
    rows: usize,
    counts: [Vec<u16>; 4],
}

impl Halves {
    fn of(luma: &[u8], width: usize, height: usize) -> Self {
        let (columns, rows) = (width.div_ceil(HALF), height.div_ceil(HALF));
        let mut counts = [(); 4].map(|()| vec![0; columns * rows]);
        // For each column of pixels, those of one row of squares.
        let mut edges = [(); 4].map(|()| vec![0_u8; width]);
        for row in 0..rows {
            edges.iter_mut().for_each(|edges| edges.fill(0));
            for y in row * HALF..((row + 1) * HALF).min(height) {
                let line = |y: usize| &luma[y * width..(y + 1) * width];
                let [right, left, down, up] = &mut edges;
                if width > 2 {
                    count(&line(y)[..width - 2], &line(y)[2..], &mut right[1..width - 1], &mut left[1..width - 1]);
                }
                if y > 0 && y + 1 < height {
                    count(line(y - 1), line(y + 1), down, up);
                }
            }
            for (counts, edges) in counts.iter_mut().zip(&edges) {
                for (count, edges) in counts[row * columns..].iter_mut().zip(edges.chunks(HALF)) {
                    *count = edges.iter().map(|&edges| u16::from(edges)).sum();
                }
            }
        }
        Self { columns, rows, counts }
    }

    /// Of a block and the squares around it.
    fn has_strokes(&self, column: usize, row: usize) -> bool {
        let around = |at: usize, count: usize| (2 * at).saturating_sub(1)..(2 * at + 3).min(count);
        let sum = |counts: &[u16]| -> u32 {
            let rows = around(row, self.rows);
            rows.flat_map(|y| around(column, self.columns).map(move |x| u32::from(counts[y * self.columns + x]))).sum()
        };
        let [right, left, down, up] = self.counts.each_ref().map(|counts| sum(counts));
        right.min(left) >= EDGES_MIN || down.min(up) >= EDGES_MIN
    }
}

/// Counts, place by place, where `to` is above `from` by an edge, and where it is below.
fn count(from: &[u8], to: &[u8], rising: &mut [u8], falling: &mut [u8]) {
    for (((from, to), rising), falling) in from.iter().zip(to).zip(rising).zip(falling) {
        *rising += u8::from(to.saturating_sub(*from) >= EDGE_MIN);
        *falling += u8::from(from.saturating_sub(*to) >= EDGE_MIN);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 200;
    const HEIGHT: usize = 130;

    fn plane(of: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        (0..WIDTH * HEIGHT).map(|i| of(i % WIDTH, i / WIDTH)).collect()
    }

    proptest! {
        #[test]
        fn a_stem_of_any_width_is_found_at_any_place(
            x in 2_usize..180, y in 0_usize..118, thick in 1_usize..8, ground in 30_u8..200, contrast in 24_u8..50, lying: bool
        ) {
            // As high as a letter of 16 px.
            let inside = |a: usize, b: usize| (x.min(115)..x.min(115) + thick).contains(&a) && (y..y + 11).contains(&b);
            let luma = plane(|a, b| ground + if if lying { inside(b, a) } else { inside(a, b) } { contrast } else { 0 });
            let marked = strokes(&luma, WIDTH);
            let (column, row) = if lying { (y / BLOCK, x.min(115) / BLOCK) } else { (x.min(115) / BLOCK, y / BLOCK) };
            prop_assert!(marked.has(row * marked.across() + column));
        }

        #[test]
        fn slopes_steps_and_mild_noise_are_no_strokes(slope in 0_usize..4, step in 0_u8..200, at in 0_usize..WIDTH, noise in prop::collection::vec(0_u8..5, 977)) {
            let smooth = plane(|x, y| ((x * slope + y * slope) / 5) as u8 + noise[(x * 31 + y * 57) % 977]);
            prop_assert!(strokes(&smooth, WIDTH).is_empty());
            let stepped = plane(|x, _| if x < at { 20 } else { 20 + step });
            prop_assert!(strokes(&stepped, WIDTH).is_empty());
        }

        #[test]
        fn every_size_of_frame_is_covered(width in 1_usize..80, height in 1_usize..80) {
            let marked = strokes(&vec![77; width * height], width);
            prop_assert_eq!((marked.across(), marked.len()), (width.div_ceil(BLOCK), width.div_ceil(BLOCK) * height.div_ceil(BLOCK)));
            prop_assert!(marked.is_empty());
        }
    }
}
