//! Regions with the colour of skin, on a grid of 8×8 pixels of the thumbnail. Owns its buffers; says where and how large the largest
//! region is, never whether to look.

use crate::picks::{Planes, Span};

/// Side of a grid cell in chroma samples.
const CELL: usize = 4;
/// Of a cell's 16 samples, how many make it skin.
const MAJORITY: u8 = 8;

/// A connected set of skin cells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Region {
    /// Share of the picture, 0..=1.
    pub share: f32,
    /// Its centre of mass, fractions of the picture.
    pub center: (f32, f32),
}

/// Buffers of the search.
#[derive(Clone, Debug, Default)]
pub struct Skin {
    columns: Vec<u8>,
    grid: Vec<bool>,
    pending: Vec<usize>,
}

impl Skin {
    /// The largest region; `None` where no cell is skin.
    pub fn largest(&mut self, planes: &Planes, span_cb: Span, span_cr: Span) -> Option<Region> {
        let width = planes.chroma_width;
        let (columns, rows) = (width / CELL, planes.cb.len() / width / CELL);
        if columns == 0 || rows == 0 {
            return None;
        }
        self.grid.clear();
        let bands = planes.cb.chunks_exact(width * CELL).zip(planes.cr.chunks_exact(width * CELL));
        for (cb, cr) in bands {
            self.columns.clear();
            self.columns.resize(width, 0);
            for (cb, cr) in cb.chunks_exact(width).zip(cr.chunks_exact(width)) {
                for ((count, cb), cr) in self.columns.iter_mut().zip(cb).zip(cr) {
                    *count += u8::from(span_cb.holds(*cb) & span_cr.holds(*cr));
                }
            }
            self.grid.extend(self.columns.chunks_exact(CELL).map(|four| four.iter().sum::<u8>() >= MAJORITY));
        }
        let mut best: Option<(usize, usize, usize)> = None;
        for start in 0..self.grid.len() {
            if let Some(found) = self.flood(start, columns)
                && best.is_none_or(|b| found.0 > b.0)
            {
                best = Some(found);
            }
        }
        let (count, x, y) = best?;
        let mean = |sum: usize, cells: usize| (sum as f32 / count as f32 + 0.5) / cells as f32;
        Some(Region { share: count as f32 / (columns * rows) as f32, center: (mean(x, columns), mean(y, rows)) })
    }

    /// Takes the region that `start` belongs to out of the grid: its cells, and the sums of their columns and rows.
    fn flood(&mut self, start: usize, columns: usize) -> Option<(usize, usize, usize)> {
        if !std::mem::take(&mut self.grid[start]) {
            return None;
        }
        self.pending.clear();
        self.pending.push(start);
        let (mut count, mut sum_x, mut sum_y) = (0, 0, 0);
        while let Some(cell) = self.pending.pop() {
            let (x, y) = (cell % columns, cell / columns);
            count += 1;
            sum_x += x;
            sum_y += y;
            let sides = [
                (x > 0).then(|| cell - 1),
                (x + 1 < columns).then_some(cell + 1),
                cell.checked_sub(columns),
                (cell + columns < self.grid.len()).then_some(cell + columns),
            ];
            for side in sides.into_iter().flatten() {
                if std::mem::take(&mut self.grid[side]) {
                    self.pending.push(side);
                }
            }
        }
        Some((count, sum_x, sum_y))
    }
}
