//! A frame's number as a ribbon along the top edge: cells of two greys that blend into each other and into what is below. It survives coding and
//! scaling as [`crate::burnt`]'s row does, and holds no strokes: a host that reads has nothing to read there, nor to cover.

use crate::cells;

/// Bits of the number.
const NUMBER: usize = 10;
const CELLS: usize = cells::count(NUMBER);
/// The numbers that there are.
pub const NUMBERS: u16 = 1 << NUMBER;
/// In shares of the height: down to where it is itself, and where it is gone.
const FULL: f32 = 24.0 / 480.0;
pub const ROOM: f32 = 48.0 / 480.0;
/// Limited-range luma.
const DARK: f32 = 105.0;
const BRIGHT: f32 = 150.0;
/// Least difference of the outer two that makes it a ribbon, in 8-bit levels.
const CONTRAST_MIN: i32 = 22;
/// Share of a cell's length, about its middle, that is not blended.
const PLAIN: f32 = 0.2;

/// Draws a number below [`NUMBERS`] over a luma plane.
pub fn draw(luma: &mut [u8], width: usize, height: usize, number: u16) {
    let levels: Vec<f32> = cells::of(number, NUMBER).map(|bright| if bright { BRIGHT } else { DARK }).collect();
    let (full, room) = (FULL * height as f32, ROOM * height as f32);
    let across: Vec<f32> = (0..width)
        .map(|x| {
            let at = ((x as f32 + 0.5) * CELLS as f32 / width as f32 - 0.5).clamp(0.0, CELLS as f32 - 1.0);
            let (cell, past) = (at as usize, at.fract());
            let next = levels[(cell + 1).min(CELLS - 1)];
            let share = ((past - PLAIN / 2.0) / (1.0 - PLAIN)).clamp(0.0, 1.0);
            levels[cell] + (next - levels[cell]) * share
        })
        .collect();
    for (y, row) in luma.chunks_exact_mut(width).take(room as usize).enumerate() {
        let share = ((room - y as f32) / (room - full)).min(1.0);
        for (pixel, level) in row.iter_mut().zip(&across) {
            *pixel = (level * share + f32::from(*pixel) * (1.0 - share)).round() as u8;
        }
    }
}

/// The number of a picture, if it can be read.
pub fn read(luma: &[u8], width: usize, height: usize) -> Option<u16> {
    let level = |cell: usize| {
        let middle = (cell as f32 + 0.5) * width as f32 / CELLS as f32;
        let reach = width as f32 / CELLS as f32 / 6.0;
        let across = (middle - reach) as usize..(middle + reach) as usize;
        let down = (FULL * height as f32 * 0.2) as usize..(FULL * height as f32 * 0.8) as usize;
        cells::level(luma, width, across, down)
    };
    cells::number((0..CELLS).map(level), CONTRAST_MIN)
}

#[cfg(test)]
mod tests {
    use scrim_host::vision::strokes::strokes;

    use super::*;

    const SIZE: (usize, usize) = (640, 480);

    fn drawn(number: u16, ground: u8) -> Vec<u8> {
        let mut luma = vec![ground; SIZE.0 * SIZE.1];
        draw(&mut luma, SIZE.0, SIZE.1, number);
        luma
    }

    #[test]
    fn every_number_is_read_again_after_scaling_and_noise() {
        let mut rng = fastrand::Rng::with_seed(1);
        for number in 0..NUMBERS {
            let mut luma = drawn(number, 200);
            luma.iter_mut().for_each(|v| *v = v.saturating_add_signed(rng.i8(-12..12)));
            assert_eq!(read(&luma, SIZE.0, SIZE.1), Some(number));
            let half: Vec<u8> =
                (0..SIZE.1 / 2).flat_map(|y| (0..SIZE.0 / 2).map(move |x| (y, x))).map(|(y, x)| luma[2 * y * SIZE.0 + 2 * x]).collect();
            assert_eq!(read(&half, SIZE.0 / 2, SIZE.1 / 2), Some(number));
        }
    }

    #[test]
    fn there_is_nothing_to_read_in_it() {
        let mut rng = fastrand::Rng::with_seed(2);
        for number in 0..NUMBERS {
            for ground in [20, 128, 200, 235] {
                let mut luma = drawn(number, ground);
                luma.iter_mut().for_each(|v| *v = v.saturating_add_signed(rng.i8(-1..=1)));
                assert!(strokes(&luma, SIZE.0).is_empty(), "number {number} over {ground}");
            }
        }
    }

    #[test]
    fn what_is_covered_has_no_number_and_a_wrong_cell_is_noticed() {
        for level in [0, 16, 130, 235] {
            assert_eq!(read(&vec![level; SIZE.0 * SIZE.1], SIZE.0, SIZE.1), None);
        }
        let cell = SIZE.0 / CELLS;
        for index in 0..CELLS {
            let mut luma = drawn(711, 200);
            for row in luma.chunks_exact_mut(SIZE.0).take(30) {
                row[index * cell..(index + 1) * cell].iter_mut().for_each(|v| *v = (BRIGHT + DARK) as u8 - *v);
            }
            assert_eq!(read(&luma, SIZE.0, SIZE.1), None, "cell {index}");
        }
    }
}
