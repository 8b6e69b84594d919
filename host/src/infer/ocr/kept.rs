//! What was read before, by what it looked like: a page that stands still is read once. Bounded; the least recently seen goes first. Pure.
//!
//! Two looks at one line differ by a coder's noise, and by the pixel or two that the detector's window wanders for it. So a line is first
//! looked at through the very window through which it was read, if one lies where it is now, and looks are compared not byte by byte but
//! stretch by stretch: a letter that became another one differs in its own stretch, however long the line.

use super::recognise::Reading;
use super::window::Window;

/// Readings kept: some screens full.
const KEPT_MAX: usize = 512;
/// A cell's side, in pixels of the recognition network's input, 48 rows high.
const CELL: usize = 4;
/// A stretch's columns of cells: a third of a usual letter's width.
const STRETCH: usize = 2;
/// Most that a stretch's cells may differ in the mean, as a share of the contrast within the line, and in 8-bit levels.
const DIFFERENCE_SHARE: f32 = 0.05;
const DIFFERENCE_MIN: f32 = 1.5;
/// Windows tried: a clock, say, leaves a new reading at its place with every second.
const NEAR_MAX: usize = 4;
/// Least overlap (intersection over union) of a window with one that may show the same line.
const SAME_PLACE: f32 = 0.6;

/// What a line looks like: its brightness, cell by cell, column after column.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    cells: Vec<u8>,
    /// Cells of a column.
    rows: usize,
    /// Most that a stretch of another look may differ, in the sum over its cells.
    tolerance: u32,
}

impl Look {
    /// Of the recognition network's input: planes of `height` rows of `stride` values of −1..=1, of which `width` are the line's.
    pub fn of(input: &[f32], (width, height): (usize, usize), stride: usize) -> Self {
        let rows = height / CELL;
        let planes: Vec<&[f32]> = input.chunks_exact(height * stride).collect();
        let mut cells = Vec::with_capacity(width / CELL * rows);
        for left in (0..width / CELL * CELL).step_by(CELL) {
            for top in (0..rows * CELL).step_by(CELL) {
                let sum: f32 = planes
                    .iter()
                    .flat_map(|plane| (top..top + CELL).map(move |y| plane[y * stride + left..][..CELL].iter().sum::<f32>()))
                    .sum();
                cells.push(((sum / (planes.len() * CELL * CELL) as f32 + 1.0) * 127.5).round() as u8);
            }
        }
        let (low, high) = cells.iter().fold((u8::MAX, 0), |(low, high), &cell| (low.min(cell), high.max(cell)));
        let tolerance = (f32::from(high.saturating_sub(low)) * DIFFERENCE_SHARE).max(DIFFERENCE_MIN) * (STRETCH * rows) as f32;
        Self { cells, rows, tolerance: tolerance as u32 }
    }

    /// Whether both show one line.
    fn is(&self, other: &Look) -> bool {
        let difference = |(a, b): (&[u8], &[u8])| a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum::<u32>();
        let stretch = STRETCH * self.rows;
        (self.rows, self.cells.len()) == (other.rows, other.cells.len())
            && self
                .cells
                .chunks(stretch)
                .zip(other.cells.chunks(stretch))
                .all(|pair| difference(pair) <= self.tolerance.min(other.tolerance))
    }
}

/// A line that was read.
#[derive(Clone, Debug)]
pub struct Known {
    /// As the text runs in it.
    pub window: Window,
    pub look: Look,
    pub reading: Reading,
}

/// The memory.
#[derive(Default)]
pub struct Kept {
    /// Least recently seen first.
    lines: Vec<Known>,
}

impl Kept {
    /// Windows near this one, read in its direction, through which lines were read; the most recently seen first, and no more than
    /// [`NEAR_MAX`].
    pub fn near(&self, window: &Window) -> Vec<Window> {
        let bounds = window.bounds();
        let same_way = |other: &Window| other.along.0 * window.along.0 + other.along.1 * window.along.1 > 0.0;
        let windows = self.lines.iter().rev().map(|known| known.window);
        windows.filter(|other| same_way(other) && other.bounds().iou(&bounds) >= SAME_PLACE).take(NEAR_MAX).collect()
    }

    /// The reading of a line that looks like this, which counts as seen now. With a window, only of one that was read through it.
    pub fn find(&mut self, look: &Look, through: Option<&Window>) -> Option<Known> {
        let fits = |known: &Known| through.is_none_or(|window| known.window == *window) && known.look.is(look);
        let index = self.lines.iter().rposition(fits)?;
        let known = self.lines.remove(index);
        self.lines.push(known.clone());
        Some(known)
    }

    pub fn keep(&mut self, known: Known) {
        if self.lines.len() == KEPT_MAX {
            self.lines.remove(0);
        }
        self.lines.push(known);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: (usize, usize) = (320, 48);

    /// Dark bars on a bright ground, one where the bit is set, each half a letter wide.
    fn look(bars: u32, contrast: f32, noise: u64) -> Look {
        let mut random = noise.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut input = vec![0.0; 3 * SIZE.0 * SIZE.1];
        for (i, value) in input.iter_mut().enumerate() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (x, y) = (i % SIZE.0, i / SIZE.0 % SIZE.1);
            let bar = (10..38).contains(&y) && x % 10 < 5 && bars >> (x / 10) & 1 == 1;
            let spread = if noise == 0 { 0.0 } else { ((random >> 40) % 13) as f32 - 6.0 };
            *value = (180.0 - if bar { contrast } else { 0.0 } + spread) / 127.5 - 1.0;
        }
        Look::of(&input, SIZE, SIZE.0)
    }

    fn known(look: Look, x: f32, text: &str) -> Known {
        let words = vec![super::super::recognise::Span { text: text.to_owned(), confidence: 1.0, from: 0.0, to: 1.0 }];
        Known { window: Window::upright(x, 0.0, 100.0, 20.0), look, reading: Reading { words, confidence: 1.0 } }
    }

    proptest! {
        #[test]
        fn noise_is_forgiven_and_one_changed_stroke_is_not(bars: u32, changed in 0_u32..32, contrast in 24_f32..170.0, noise in 1_u64..1000) {
            let plain = look(bars, contrast, 0);
            // A coder leaves less noise on weak contrasts than that; here it is as strong at all of them.
            prop_assert!(contrast < 60.0 || plain.is(&look(bars, contrast, noise)));
            prop_assert!(plain.is(&plain));
            let other = bars ^ (1 << changed);
            prop_assert!(!plain.is(&look(other, contrast, 0)));
        }
    }

    #[test]
    fn what_was_seen_longest_ago_goes_first() {
        let mut kept = Kept::default();
        for i in 0..KEPT_MAX as u32 {
            kept.keep(known(look(i, 100.0, 0), 0.0, &i.to_string()));
        }
        assert_eq!(kept.find(&look(0, 100.0, 0), None).unwrap().reading.words[0].text, "0");
        kept.keep(known(look(u32::MAX, 100.0, 0), 0.0, "new"));
        assert!(kept.find(&look(1, 100.0, 0), None).is_none());
        assert!(kept.find(&look(0, 100.0, 0), None).is_some() && kept.find(&look(u32::MAX, 100.0, 0), None).is_some());
        assert_eq!(kept.lines.len(), KEPT_MAX);
    }

    #[test]
    fn places_are_found_again_by_overlap() {
        let mut kept = Kept::default();
        kept.keep(known(look(1, 100.0, 0), 50.0, "a"));
        let wandered = Window::upright(52.0, 1.0, 101.0, 20.0);
        let near = kept.near(&wandered);
        assert_eq!(near, [Window::upright(50.0, 0.0, 100.0, 20.0)]);
        assert!(kept.near(&wandered.mirrored()).is_empty());
        assert!(kept.near(&Window::upright(110.0, 0.0, 100.0, 20.0)).is_empty());
        assert!(kept.find(&look(1, 100.0, 0), Some(&near[0])).is_some() && kept.find(&look(1, 100.0, 0), Some(&wandered)).is_none());
    }
}
