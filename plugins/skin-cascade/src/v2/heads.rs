//! Finds what looks like a head on shoulders, from luma alone, so that a grey, dark or tinted picture is judged alike.
//! Flow: five sizes of the picture → gradient cells ([`picture`]) → a linear template over every window keeps the best few →
//! a small network scores those. Weights come from `weights.rs`, which `examples/train_heads.rs` writes.
//! Always holds: the cost depends on the picture's size alone (the number of windows passed on is bounded).

use super::dot::{self, ROW};
use super::picture::{self, CELL, CHANNELS, Cells, MARGIN, Plane, Scratch};
use super::weights;

/// Window side in cells: 24 pixels of its level, about twice a face's height.
pub const WINDOW: usize = 6;
/// Numbers that describe a window.
pub const FEATURES: usize = WINDOW * WINDOW * CHANNELS;
// A row of a window is contiguous in `Cells`; the kernel's sizes are these.
const _: () = assert!(ROW == WINDOW * CHANNELS && dot::ROWS == WINDOW);
/// Hidden units of the network.
pub const HIDDEN: usize = 8;
/// How much smaller than the picture each level is. Faces of about 9..15 pixels of a level are found, so 18..120 of the picture.
pub const SHRINK: [f32; LEVELS] = [2.0, 3.0, 4.0, 6.0, 8.0];
pub const LEVELS: usize = 5;
pub const ALL: &[usize] = &[0, 1, 2, 3, 4];
/// Thirds of the work, about equal, for one frame in three each: a head stays for longer, and every size has its turn.
pub const TURNS: [&[usize]; 3] = [&[0], &[1, 4], &[2, 3]];
/// Windows that the template passes on to the network.
pub const PASSED_ON: usize = 24;
/// Where the face's centre is expected in a window, in pixels of its level.
pub const FACE_CENTER: (f32, f32) = (12.0, 11.0);
/// Side of the face in a window, in pixels of its level.
pub const FACE_SIDE: f32 = 12.0;

/// A window, by level and its first cell (margin included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    pub level: usize,
    pub column: usize,
    pub row: usize,
}

/// The best window of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// Log-odds; trained so that 0 is even between heads and everything else.
    pub score: f32,
    /// Centre of the face, fractions of the picture.
    pub center: (f32, f32),
    /// Height of the face, as a fraction of the picture's.
    pub size: f32,
    pub window: Window,
}

/// Buffers of the search, kept from call to call.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    levels: [Plane; LEVELS],
    cells: [Cells; LEVELS],
    scratch: Scratch,
    scores: Vec<i32>,
}

impl Heads {
    /// Makes the cells of the given levels from a luma plane of `width * height` bytes; [`Heads::find`] then searches those alone.
    pub fn look_at(&mut self, luma: &[u8], width: usize, height: usize, searched: &[usize]) {
        let [half, third, quarter, sixth, eighth] = &mut self.levels;
        picture::halve(luma, width, height, half);
        picture::halve(&half.data, half.width, half.height, quarter);
        picture::halve(&quarter.data, quarter.width, quarter.height, eighth);
        if searched.contains(&1) || searched.contains(&3) {
            picture::two_thirds(half, third);
            picture::halve(&third.data, third.width, third.height, sixth);
        }
        for (level, (plane, cells)) in self.levels.iter().zip(&mut self.cells).enumerate() {
            if searched.contains(&level) {
                picture::cells(plane, &mut self.scratch, cells);
            } else {
                cells.clear();
            }
        }
    }

    /// The picture at an eighth of its size.
    pub fn small(&self) -> &Plane {
        &self.levels[LEVELS - 1]
    }

    /// Calls `visit` for every window of every level, in a fixed order.
    pub fn each(&self, mut visit: impl FnMut(Window, &Cells)) {
        for (level, cells) in self.cells.iter().enumerate() {
            for row in 0..(cells.rows + 1).saturating_sub(WINDOW) {
                for column in 0..(cells.columns + 1).saturating_sub(WINDOW) {
                    visit(Window { level, column, row }, cells);
                }
            }
        }
    }

    /// The best head; `None` only where the picture is too small to hold a window.
    pub fn find(&mut self) -> Option<Head> {
        let mut passed = [(i32::MIN, Window::default()); PASSED_ON];
        let (mut count, mut bar) = (0, i32::MIN);
        let mut scores = std::mem::take(&mut self.scores);
        for (level, cells) in self.cells.iter().enumerate() {
            let stride = cells.columns * CHANNELS;
            scores.resize((cells.columns + 1).saturating_sub(WINDOW), 0);
            for row in 0..(cells.rows + 1).saturating_sub(WINDOW) {
                dot::scores(&cells.data[row * stride..], stride, &weights::TEMPLATE, &mut scores);
                for (column, &score) in scores.iter().enumerate() {
                    if score <= bar {
                        continue;
                    }
                    let at = passed[..count].partition_point(|(kept, _)| *kept >= score);
                    count = (count + 1).min(PASSED_ON);
                    passed[at..count].rotate_right(1);
                    passed[at] = (score, Window { level, column, row });
                    if count == PASSED_ON {
                        bar = passed[PASSED_ON - 1].0;
                    }
                }
            }
        }
        self.scores = scores;
        let mut best: Option<(f32, Window)> = None;
        for (_, window) in &passed[..count] {
            let score = network(&self.cells[window.level], *window);
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, *window));
            }
        }
        let (score, window) = best?;
        let shrink = SHRINK[window.level];
        let plane = &self.levels[0];
        let (width, height) = (plane.width as f32 * SHRINK[0], plane.height as f32 * SHRINK[0]);
        let side = |cell: usize, offset: f32| (cell as f32 - MARGIN as f32) * CELL as f32 + offset;
        let center = (side(window.column, FACE_CENTER.0) * shrink / width, side(window.row, FACE_CENTER.1) * shrink / height);
        Some(Head { score, center: (center.0.clamp(0.0, 1.0), center.1.clamp(0.0, 1.0)), size: FACE_SIDE * shrink / height, window })
    }
}

/// Copies a window's features.
pub fn features(cells: &Cells, window: Window, into: &mut [i16; FEATURES]) {
    for (row, to) in into.chunks_exact_mut(ROW).enumerate() {
        let start = ((window.row + row) * cells.columns + window.column) * CHANNELS;
        to.copy_from_slice(&cells.data[start..start + ROW]);
    }
}

/// Log-odds that the window is a head.
fn network(cells: &Cells, window: Window) -> f32 {
    let start = (window.row * cells.columns + window.column) * CHANNELS;
    let mut out = weights::OUTPUT_BIAS;
    for ((weights, bias), output) in weights::HIDDEN_WEIGHTS.iter().zip(&weights::HIDDEN_BIAS).zip(&weights::OUTPUT) {
        let active = dot::score_of(&cells.data[start..], cells.columns * CHANNELS, weights).unwrap_or(0).saturating_add(*bias).max(0);
        out += active as f32 * output;
    }
    out
}
