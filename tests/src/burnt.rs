//! A frame's number, burnt into its picture so that it survives coding, scaling and recolouring: a row of blocks near the top edge, dark or
//! bright, between one that is always bright and one that is always dark. Most are those of the number's Gray code, so that from one frame to
//! the next few of them change, and the others are its checksum's. A picture that is covered there has no number.

/// Bits of the number, and of its checksum.
const NUMBER: usize = 16;
const CHECK: usize = 8;
const COLUMNS: usize = 1 + NUMBER + CHECK + 1;
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

fn bits(number: u16) -> impl Iterator<Item = bool> {
    let gray = gray(number);
    let word = (u32::from(gray) << CHECK) | u32::from(checksum(gray));
    let inner = (0..NUMBER + CHECK).rev().map(move |bit| word >> bit & 1 == 1);
    std::iter::once(true).chain(inner).chain(std::iter::once(false))
}

/// A code in which neighbours differ in one bit.
pub(crate) fn gray(number: u16) -> u16 {
    number ^ (number >> 1)
}

/// The number of a code.
pub(crate) fn ungray(gray: u16) -> u16 {
    (0..u16::BITS).fold(0, |number, shift| number ^ (gray >> shift))
}

/// CRC-8 (polynomial 0x07) of two bytes, begun at 0xff so that nothing is not the number 0.
pub(crate) fn checksum(number: u16) -> u8 {
    number
        .to_be_bytes()
        .iter()
        .fold(0xff, |crc, byte| (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 != 0 { (crc << 1) ^ 0x07 } else { crc << 1 }))
}

/// The pixels of a column, `inset` pixels within its edges.
fn column(index: usize, width: usize, height: usize, inset: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let across = index * width / COLUMNS..(index + 1) * width / COLUMNS;
    let down = (TOP * height as f32).round() as usize..((TOP + HEIGHT) * height as f32).round() as usize;
    (across.start + inset..across.end - inset, down.start + inset..down.end - inset)
}

/// Burns a number into a luma plane.
pub fn burn(luma: &mut [u8], width: usize, height: usize, number: u16) {
    for (index, bit) in bits(number).enumerate() {
        let (across, down) = column(index, width, height, 0);
        for y in down {
            luma[y * width..][across.clone()].fill(if bit { BRIGHT } else { DARK });
        }
    }
}

/// The number of a picture, if it can be read.
pub fn read(luma: &[u8], width: usize, height: usize) -> Option<u16> {
    let mean = |index| {
        // Coding smears the edges.
        let (across, down) = column(index, width, height, width / COLUMNS / 5);
        let count = (across.len() * down.len()) as u32;
        let sum: u32 = down.flat_map(|y| luma[y * width..][across.clone()].iter()).map(|&v| u32::from(v)).sum();
        (sum / count.max(1)) as i32
    };
    let (bright, dark) = (mean(0), mean(COLUMNS - 1));
    if bright - dark < CONTRAST_MIN {
        return None;
    }
    let word = (1..COLUMNS - 1).fold(0_u32, |word, index| (word << 1) | u32::from(mean(index) > (bright + dark) / 2));
    let gray = (word >> CHECK) as u16;
    (checksum(gray) == word as u8).then(|| ungray(gray))
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
        let differ = |a: u16, b: u16| bits(a).zip(bits(b)).filter(|(a, b)| a != b).count();
        let most = (0..999).map(|number| differ(number, number + 1)).max();
        assert!(most.is_some_and(|most| most <= 7), "{most:?}");
    }
}
