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
const CEILING: u32 = 255;

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

/// Halves both sides: each pixel is the mean of a 2×2 block; an odd last row or column is left out.
pub fn halve(source: &[u8], width: usize, height: usize, into: &mut Plane) {
    into.resize(width / 2, height / 2);
    let half = into.width;
    if half == 0 {
        return;
    }
    for (row, pair) in into.data.chunks_exact_mut(half).zip(source.chunks_exact(2 * width)) {
        let (top, bottom) = pair.split_at(width);
        for ((to, a), b) in row.iter_mut().zip(top.chunks_exact(2)).zip(bottom.chunks_exact(2)) {
            // Two bytes as one 16-bit lane: masks and shifts vectorise where a gather of every other byte would not.
            let (a, b) = (u16::from_le_bytes([a[0], a[1]]), u16::from_le_bytes([b[0], b[1]]));
            let sum = (a & 0xff) + (a >> 8) + (b & 0xff) + (b >> 8);
            *to = ((sum + 2) >> 2) as u8;
        }
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
            for ((to, a), b) in to.chunks_exact_mut(2).zip(near.chunks_exact(3)).zip(r1.chunks_exact(3)) {
                // The middle row and column lie half in each result: weights 2:1 in both directions, sum 9.
                let column = |i: usize| 2 * u32::from(a[i]) + u32::from(b[i]);
                let (l, m, r) = (column(0), column(1), column(2));
                // x / 9 as x * 7282 / 65536: exact rounding for x up to 9 * 255.
                to[0] = (((2 * l + m + 4) * 7282) >> 16) as u8;
                to[1] = (((2 * r + m + 4) * 7282) >> 16) as u8;
            }
        }
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
    scratch.raw.resize(inner_columns * inner_rows * CHANNELS, 0);
    // One ring of zeros, so that the 3×3 sums need no case for the edge.
    let stride = inner_columns + 2;
    scratch.energy.clear();
    scratch.energy.resize(stride * (inner_rows + 2), 0.0);
    scratch.reciprocal.resize(inner_columns * CHANNELS, 0);
    for cell_row in 0..inner_rows {
        for sum in &mut scratch.sums {
            sum.clear();
            sum.resize(width, 0);
        }
        for y in cell_row * CELL..(cell_row + 1) * CELL {
            let row = |y: usize| &plane.data[y * width..(y + 1) * width];
            let (above, here, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(height - 1)));
            gradients(above, here, below, &mut scratch.sums);
        }
        let raw = &mut scratch.raw[cell_row * inner_columns * CHANNELS..][..inner_columns * CHANNELS];
        let energy = &mut scratch.energy[(cell_row + 1) * stride + 1..][..inner_columns];
        let [across, down, rising, falling] = &scratch.sums;
        let columns = across.chunks_exact(CELL).zip(down.chunks_exact(CELL)).zip(rising.chunks_exact(CELL).zip(falling.chunks_exact(CELL)));
        for ((cell, energy), ((across, down), (rising, falling))) in raw.chunks_exact_mut(CHANNELS).zip(energy).zip(columns) {
            let sums = [sum_of_four(across), sum_of_four(down), sum_of_four(rising), sum_of_four(falling)];
            cell.copy_from_slice(&sums);
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
        for (four, around) in scratch.reciprocal.chunks_exact_mut(CHANNELS).zip(scratch.across.windows(3)) {
            four.fill((RECIPROCAL / (around[0] + around[1] + around[2] + ENERGY_FLOOR)) as u16);
        }
        let raw = &scratch.raw[cell_row * inner_columns * CHANNELS..][..inner_columns * CHANNELS];
        let start = ((cell_row + MARGIN) * into.columns + MARGIN) * CHANNELS;
        let to = &mut into.data[start..][..inner_columns * CHANNELS];
        for ((to, raw), reciprocal) in to.iter_mut().zip(raw).zip(&scratch.reciprocal) {
            *to = ((u32::from(raw << 4) * u32::from(*reciprocal)) >> 16).min(CEILING) as i16;
        }
    }
}

/// Sum of four lanes of 16 bits by one multiplication; the caller's sums stay below 2^16.
fn sum_of_four(lanes: &[u16]) -> u16 {
    let four = lanes.iter().rev().fold(0u64, |all, lane| all << 16 | u64::from(*lane));
    (four.wrapping_mul(0x0001_0001_0001_0001) >> 48) as u16
}

/// Adds one row's gradients to the column sums; the first and the last column stay as they are.
fn gradients(above: &[u8], here: &[u8], below: &[u8], sums: &mut [Vec<u16>; CHANNELS]) {
    // Equal lengths in sight of the loop, or each access is checked and nothing vectorises.
    let inner = here.len().saturating_sub(2);
    let (left, right) = (&here[..inner], &here[here.len() - inner..][..inner]);
    let (above, below) = (&above[1..][..inner], &below[1..][..inner]);
    let [across, down, rising, falling] = sums;
    let (across, down) = (&mut across[1..][..inner], &mut down[1..][..inner]);
    let (rising, falling) = (&mut rising[1..][..inner], &mut falling[1..][..inner]);
    for x in 0..inner {
        let dx = i16::from(right[x]) - i16::from(left[x]);
        let dy = i16::from(below[x]) - i16::from(above[x]);
        let (ax, ay) = (dx.abs(), dy.abs());
        let diagonal = ax.min(ay);
        // All ones where the signs differ.
        let differ = (dx ^ dy) >> 15;
        across[x] += (ax - diagonal) as u16;
        down[x] += (ay - diagonal) as u16;
        rising[x] += (diagonal & differ) as u16;
        falling[x] += (diagonal & !differ) as u16;
    }
}
