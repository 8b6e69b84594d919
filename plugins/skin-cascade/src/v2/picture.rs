//! Luma to oriented-gradient cells at several sizes. Owns the buffers, so a call allocates nothing once they have grown.
//! What always holds: integer arithmetic up to one IEEE division a cell, so native and wasm give the same bytes; a picture
//! multiplied by a constant (a dark room) or shifted (brightness) gives nearly the same cells, for each is divided by the
//! gradient energy around it. Loops run over `u8`/`i16` slices of equal length, which both SSE2 and simd128 take 8 or 16 at a time.

/// Side of a cell in pixels of its level.
pub const CELL: usize = 4;
/// Orientation channels of a cell: across, down, the two diagonals.
pub const CHANNELS: usize = 4;
/// Empty cells around each level, so that a window may hang over the picture's edge.
pub const MARGIN: usize = 2;
/// Gradient energy (sum over 3×3 cells) below which cells fade to zero instead of being stretched to full contrast:
/// a mean step of 0.5 grey levels a pixel.
const ENERGY_FLOOR: f32 = 72.0;
/// A channel is `raw * 1024 / energy`, computed as `(raw << 4) * (2^22 / energy) >> 16`: 16-bit lanes throughout, as a cell's sum is
/// at most 16 * 255 and the quotient at most 2^22 / 72.
const RECIPROCAL: f32 = 4_194_304.0;
/// Largest value of a channel.
const CEILING: u16 = 255;

/// A luma plane, rows without padding.
#[derive(Clone, Debug, Default)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

impl Plane {
    fn resize(&mut self, width: usize, height: usize) {
        self.width = width;
        self.height = height;
        self.data.resize(width * height, 0);
    }
}

/// Cells of one level: `columns × rows` (margin included), each [`CHANNELS`] values 0..=255, interleaved.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    pub columns: usize,
    pub rows: usize,
    pub data: Vec<i16>,
}

impl Cells {
    /// No cells, the buffer kept.
    pub fn clear(&mut self) {
        self.columns = 0;
        self.rows = 0;
        self.data.clear();
    }
}

/// Halves both sides: each pixel is the mean of a 2×2 block; an odd last row or column is left out.
pub fn halve(source: &[u8], width: usize, height: usize, into: &mut Plane) {
    into.resize(width / 2, height / 2);
    let half = into.width;
    if half == 0 {
        return;
    }
    for (row, pair) in into.data.chunks_exact_mut(half).zip(source.chunks_exact(2 * width)) {
        let (top, bottom) = pair.split_at(width);
        halve_rows(top, bottom, row);
    }
}

/// One row of [`halve`]. A function of its own: as parameters the rows are known not to overlap, and the loop vectorises.
#[inline(never)]
fn halve_rows(top: &[u8], bottom: &[u8], into: &mut [u8]) {
    for ((to, a), b) in into.iter_mut().zip(top.as_chunks::<2>().0).zip(bottom.as_chunks::<2>().0) {
        // Two bytes as one 16-bit lane: masks and shifts vectorise where a gather of every other byte would not.
        let (a, b) = (u16::from_le_bytes(*a), u16::from_le_bytes(*b));
        let sum = (a & 0xff) + (a >> 8) + (b & 0xff) + (b >> 8);
        *to = ((sum + 2) >> 2) as u8;
    }
}

/// Two thirds of both sides, by area: three pixels become two.
pub fn two_thirds(source: &Plane, into: &mut Plane) {
    let (columns, rows) = (source.width / 3, source.height / 3);
    into.resize(columns * 2, rows * 2);
    if columns == 0 {
        return;
    }
    let width = source.width;
    for (to, from) in into.data.chunks_exact_mut(columns * 4).zip(source.data.chunks_exact(width * 3)) {
        let (first, second) = to.split_at_mut(columns * 2);
        let (r0, rest) = from.split_at(width);
        let (r1, r2) = rest.split_at(width);
        for (near, to) in [(r0, first), (r2, second)] {
            thirds_of_rows(near, r1, to);
        }
    }
}

/// One row of [`two_thirds`]. The middle row and column lie half in each result: weights 2:1 in both directions, sum 9.
#[inline(never)]
fn thirds_of_rows(near: &[u8], middle: &[u8], into: &mut [u8]) {
    for ((to, a), b) in into.as_chunks_mut::<2>().0.iter_mut().zip(near.as_chunks::<3>().0).zip(middle.as_chunks::<3>().0) {
        let column = |i: usize| 2 * u32::from(a[i]) + u32::from(b[i]);
        let (left, center, right) = (column(0), column(1), column(2));
        // x / 9 as x * 7282 / 65536: exact for x up to 9 * 255.
        to[0] = (((2 * left + center + 4) * 7282) >> 16) as u8;
        to[1] = (((2 * right + center + 4) * 7282) >> 16) as u8;
    }
}

/// Scratch rows of [`cells`].
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    sums: [Vec<u16>; CHANNELS],
    raw: Vec<u16>,
    energy: Vec<f32>,
    across: Vec<f32>,
    reciprocal: Vec<u16>,
}

/// Splits each pixel's gradient into four orientations that add up to its larger component, sums them over cells and divides by
/// the energy of the 3×3 cells around.
pub fn cells(plane: &Plane, scratch: &mut Scratch, into: &mut Cells) {
    let (width, height) = (plane.width, plane.height);
    let (inner_columns, inner_rows) = (width / CELL, height / CELL);
    into.columns = inner_columns + 2 * MARGIN;
    into.rows = inner_rows + 2 * MARGIN;
    into.data.clear();
    into.data.resize(into.columns * into.rows * CHANNELS, 0);
    if inner_columns == 0 || inner_rows == 0 {
        return;
    }
    for sums in &mut scratch.sums {
        sums.clear();
        sums.resize(width, 0);
    }
    scratch.raw.resize(inner_columns * inner_rows * CHANNELS, 0);
    // One ring of zeros, so that the 3×3 sums need no case for the edge.
    let stride = inner_columns + 2;
    scratch.energy.clear();
    scratch.energy.resize(stride * (inner_rows + 2), 0.0);
    scratch.reciprocal.resize(inner_columns * CHANNELS, 0);
    for cell_row in 0..inner_rows {
        let first = cell_row * CELL;
        let row = |y: usize| &plane.data[y * width..(y + 1) * width];
        let rows =
            [row(first.saturating_sub(1)), row(first), row(first + 1), row(first + 2), row(first + 3), row((first + 4).min(height - 1))];
        let [across, down, rising, falling] = &mut scratch.sums;
        gradients(rows, across, down, rising, falling);
        let raw = &mut scratch.raw[cell_row * inner_columns * CHANNELS..][..inner_columns * CHANNELS];
        let energy = &mut scratch.energy[(cell_row + 1) * stride + 1..][..inner_columns];
        let [across, down, rising, falling] = &scratch.sums;
        let [across, down, rising, falling] = [across, down, rising, falling].map(|sums| sums.as_chunks::<CELL>().0);
        let columns = across.iter().zip(down).zip(rising.iter().zip(falling));
        for ((cell, energy), ((across, down), (rising, falling))) in raw.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(energy).zip(columns) {
            let sums = [sum_of_four(across), sum_of_four(down), sum_of_four(rising), sum_of_four(falling)];
            *cell = sums;
            *energy = f32::from(sums[0] + sums[1] + sums[2] + sums[3]);
        }
    }
    scratch.across.resize(stride, 0.0);
    for cell_row in 0..inner_rows {
        let above = &scratch.energy[cell_row * stride..][..stride];
        let here = &scratch.energy[(cell_row + 1) * stride..][..stride];
        let below = &scratch.energy[(cell_row + 2) * stride..][..stride];
        for (((sum, a), b), c) in scratch.across.iter_mut().zip(above).zip(here).zip(below) {
            *sum = a + b + c;
        }
        for (four, around) in scratch.reciprocal.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(scratch.across.array_windows::<3>()) {
            four.fill((RECIPROCAL / (around[0] + around[1] + around[2] + ENERGY_FLOOR)) as u16);
        }
        let raw = &scratch.raw[cell_row * inner_columns * CHANNELS..][..inner_columns * CHANNELS];
        let start = ((cell_row + MARGIN) * into.columns + MARGIN) * CHANNELS;
        let to = &mut into.data[start..][..inner_columns * CHANNELS];
        divide(raw, &scratch.reciprocal, to);
    }
}

#[inline(never)]
fn divide(raw: &[u16], reciprocal: &[u16], into: &mut [i16]) {
    for ((to, raw), reciprocal) in into.iter_mut().zip(raw).zip(reciprocal) {
        *to = ((u32::from(raw << 4) * u32::from(*reciprocal)) >> 16) as u16 as i16;
    }
    // A second pass in 16-bit lanes: with the limit inside, the loop above would widen to 32.
    for to in into {
        *to = (*to as u16).min(CEILING) as i16;
    }
}

/// Sum of four lanes of 16 bits by one multiplication; the caller's sums stay below 2^16.
fn sum_of_four(lanes: &[u16; CELL]) -> u16 {
    let four = lanes.iter().rev().fold(0u64, |all, lane| all << 16 | u64::from(*lane));
    (four.wrapping_mul(0x0001_0001_0001_0001) >> 48) as u16
}

/// Column sums over the four rows of a band of cells; `rows` are the one above it, its own and the one below. The first and the last
/// column stay zero. In 8-bit lanes up to the sums, which are at most 4 * 255.
#[inline(never)]
fn gradients(rows: [&[u8]; CELL + 2], across: &mut [u16], down: &mut [u16], rising: &mut [u16], falling: &mut [u16]) {
    let width = across.len();
    if width < 3 {
        return;
    }
    // Equal lengths in sight of the loop, or each access is checked and nothing vectorises; one pointer a row, or they spill.
    let inner = width - 2;
    let rows = rows.map(|row| &row[..inner + 2]);
    let (across, down) = (&mut across[1..][..inner], &mut down[1..][..inner]);
    let (rising, falling) = (&mut rising[1..][..inner], &mut falling[1..][..inner]);
    for x in 0..inner {
        let mut sums = [0u16; CHANNELS];
        for i in 0..CELL {
            let (l, r, a, b) = (rows[i + 1][x], rows[i + 1][x + 2], rows[i][x + 1], rows[i + 2][x + 1]);
            // Of each pair one is zero: saturating differences stand for sign and size at once, without a comparison.
            let (leftward, rightward) = (l.saturating_sub(r), r.saturating_sub(l));
            let (upward, downward) = (a.saturating_sub(b), b.saturating_sub(a));
            let falls = leftward.min(upward) | rightward.min(downward);
            let rises = leftward.min(downward) | rightward.min(upward);
            let diagonal = falls | rises;
            sums[0] += u16::from((leftward | rightward) - diagonal);
            sums[1] += u16::from((upward | downward) - diagonal);
            sums[2] += u16::from(rises);
            sums[3] += u16::from(falls);
        }
        across[x] = sums[0];
        down[x] = sums[1];
        rising[x] = sums[2];
        falling[x] = sums[3];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plane(width: usize, height: usize, data: Vec<u8>) -> Plane {
        Plane { width, height, data }
    }

    proptest! {
        #[test]
        fn halving_averages_each_block(width in 2usize..70, height in 2usize..20, seed in proptest::collection::vec(any::<u8>(), 1400)) {
            let source = &seed[..width * height];
            let mut half = Plane::default();
            halve(source, width, height, &mut half);
            prop_assert_eq!((half.width, half.height), (width / 2, height / 2));
            for y in 0..half.height {
                for x in 0..half.width {
                    let at = |dx: usize, dy: usize| u32::from(source[(2 * y + dy) * width + 2 * x + dx]);
                    prop_assert_eq!(u32::from(half.data[y * half.width + x]), (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2) / 4);
                }
            }
        }

        /// Each pixel's four orientations add up to its larger gradient component.
        #[test]
        fn orientations_share_out_the_gradient(width in 3usize..50, seed in proptest::collection::vec(any::<u8>(), 300)) {
            let rows: [&[u8]; CELL + 2] = std::array::from_fn(|i| &seed[i * width..(i + 1) * width]);
            let mut sums: [Vec<u16>; CHANNELS] = std::array::from_fn(|_| vec![0; width]);
            let [across, down, rising, falling] = &mut sums;
            gradients(rows, across, down, rising, falling);
            for x in 1..width - 1 {
                let expected: u16 = (0..CELL)
                    .map(|i| u16::from(rows[i + 1][x - 1].abs_diff(rows[i + 1][x + 1]).max(rows[i][x].abs_diff(rows[i + 2][x]))))
                    .sum();
                prop_assert_eq!(sums.iter().map(|s| s[x]).sum::<u16>(), expected);
            }
        }
    }

    #[test]
    fn two_thirds_keep_a_flat_picture_and_its_aspect() {
        let mut to = Plane::default();
        for value in [0, 1, 77, 254, 255] {
            two_thirds(&plane(160, 90, vec![value; 160 * 90]), &mut to);
            assert_eq!((to.width, to.height), (106, 60));
            assert!(to.data.iter().all(|v| *v == value), "{value}");
        }
    }

    /// A dark room: luma times 0.4 moves no channel by more than a tenth of its range.
    #[test]
    fn cells_hardly_change_with_exposure() {
        let bright: Vec<u8> = (0..64 * 64).map(|i| ((i % 64) * (i / 64) / 16 % 200) as u8).collect();
        let dark = bright.iter().map(|v| (f32::from(*v) * 0.4) as u8).collect();
        let (mut a, mut b, mut scratch) = (Cells::default(), Cells::default(), Scratch::default());
        cells(&plane(64, 64, bright), &mut scratch, &mut a);
        cells(&plane(64, 64, dark), &mut scratch, &mut b);
        let mean = a.data.iter().zip(&b.data).map(|(a, b)| f32::from(a.abs_diff(*b))).sum::<f32>() / a.data.len() as f32;
        assert!(mean < 25.5, "{mean}");
        assert!(a.data.iter().any(|v| *v > 50));
    }

    #[test]
    fn a_picture_smaller_than_a_cell_is_all_margin() {
        let (mut to, mut scratch) = (Cells::default(), Scratch::default());
        cells(&plane(3, 3, vec![9; 9]), &mut scratch, &mut to);
        assert_eq!((to.columns, to.rows), (2 * MARGIN, 2 * MARGIN));
        assert!(to.data.iter().all(|v| *v == 0));
    }
}
