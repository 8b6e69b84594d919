//! A frame's number, burnt into its picture so that it survives coding, scaling and recolouring: a row of blocks near the top edge, of which from
//! one frame to the next few change. A picture that is covered there has no number.

use crate::cells;

/// Bits of the number.
const NUMBER: usize = 16;
const COLUMNS: usize = cells::count(NUMBER);
/// Where the row is, in shares of the height.
const TOP: f32 = 8.0 / 480.0;
const HEIGHT: f32 = 16.0 / 480.0;
/// Share of the height that nothing else should be drawn in, from the top on.
pub const ROOM: f32 = 64.0 / 480.0;
/// Limited-range luma. Not far apart: to the change detector the number is not to be what the picture is about.
const DARK: u8 = 40;
const BRIGHT: u8 = 90;
/// Least difference of the outer two that makes the row one, in 8-bit levels.
const CONTRAST_MIN: i32 = 25;

/// The pixels of a column, `inset` pixels within its edges.
fn column(index: usize, width: usize, height: usize, inset: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let across = index * width / COLUMNS..(index + 1) * width / COLUMNS;
    let down = (TOP * height as f32).round() as usize..((TOP + HEIGHT) * height as f32).round() as usize;
    (across.start + inset..across.end - inset, down.start + inset..down.end - inset)
}

/// Burns a number into a luma plane.
pub fn burn(luma: &mut [u8], width: usize, height: usize, number: u16) {
    for (index, bright) in cells::of(number, NUMBER).enumerate() {
        let (across, down) = column(index, width, height, 0);
        for y in down {
            luma[y * width..][across.clone()].fill(if bright { BRIGHT } else { DARK });
        }
    }
}

/// The number of a picture, if it can be read.
pub fn read(luma: &[u8], width: usize, height: usize) -> Option<u16> {
    let level = |index| {
        // Coding smears the edges.
        let (across, down) = column(index, width, height, width / COLUMNS / 5);
        cells::level(luma, width, across, down)
    };
    cells::number((0..COLUMNS).map(level), CONTRAST_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_again_after_scaling_and_noise() {
        let (width, height) = (640, 480);
        let mut rng = fastrand::Rng::with_seed(1);
        for number in (0..=u16::MAX).step_by(257).chain([1, 2, 3]) {
            let mut luma = vec![16; width * height];
            burn(&mut luma, width, height, number);
            luma.iter_mut().for_each(|v| *v = v.saturating_add_signed(rng.i8(-12..12)));
            assert_eq!(read(&luma, width, height), Some(number));
            // As a sender that does not know the way yet makes it.
            let half: Vec<u8> =
                (0..height / 2).flat_map(|y| (0..width / 2).map(move |x| (y, x))).map(|(y, x)| luma[2 * y * width + 2 * x]).collect();
            assert_eq!(read(&half, width / 2, height / 2), Some(number));
        }
    }

    #[test]
    fn what_is_covered_has_no_number_and_a_wrong_block_is_noticed() {
        let (width, height) = (640, 480);
        for level in [0, 16, 90, 235] {
            assert_eq!(read(&vec![level; width * height], width, height), None);
        }
        for index in 0..COLUMNS {
            let mut luma = vec![16; width * height];
            burn(&mut luma, width, height, 4711);
            let (across, down) = column(index, width, height, 0);
            for y in down {
                luma[y * width..][across.clone()].iter_mut().for_each(|v| *v = if *v == DARK { BRIGHT } else { DARK });
            }
            assert_eq!(read(&luma, width, height), None, "block {index}");
        }
    }

    #[test]
    fn neighbours_differ_in_few_blocks() {
        let differ = |a: u16, b: u16| cells::of(a, NUMBER).zip(cells::of(b, NUMBER)).filter(|(a, b)| a != b).count();
        let most = (0..999).map(|number| differ(number, number + 1)).max();
        assert!(most.is_some_and(|most| most <= 7), "{most:?}");
    }
}
