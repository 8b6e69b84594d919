//! A number as a row of cells, bright or dark: one that is always bright, the number's Gray code, so that from one number to the next one cell of it
//! changes, its checksum, and one that is always dark. Where they are and how they look is another's.

use std::ops::Range;

/// Bits of the checksum.
const CHECK: usize = 8;

/// The cells of a number of so many bits.
pub const fn count(bits: usize) -> usize {
    1 + bits + CHECK + 1
}

/// Whether each of the cells is bright.
pub fn of(number: u16, bits: usize) -> impl Iterator<Item = bool> {
    let gray = number ^ (number >> 1);
    let word = (u32::from(gray) << CHECK) | u32::from(checksum(gray));
    let inner = (0..bits + CHECK).rev().map(move |bit| word >> bit & 1 == 1);
    std::iter::once(true).chain(inner).chain(std::iter::once(false))
}

/// The number of cells with these levels, if the outer two differ by `contrast` or more and the checksum is right.
pub fn number(levels: impl Iterator<Item = i32>, contrast: i32) -> Option<u16> {
    let levels: Vec<i32> = levels.collect();
    let [bright, inner @ .., dark] = &levels[..] else { return None };
    if bright - dark < contrast {
        return None;
    }
    let word = inner.iter().fold(0_u32, |word, level| (word << 1) | u32::from(*level > (bright + dark) / 2));
    let gray = (word >> CHECK) as u16;
    (checksum(gray) == word as u8).then(|| (0..u16::BITS).fold(0, |number, shift| number ^ (gray >> shift)))
}

/// The mean of an area.
pub fn level(luma: &[u8], width: usize, across: Range<usize>, down: Range<usize>) -> i32 {
    let count = (across.len() * down.len()).max(1) as u32;
    let sum: u32 = down.flat_map(|y| luma[y * width..][across.clone()].iter()).map(|&v| u32::from(v)).sum();
    (sum / count) as i32
}

/// CRC-8 (polynomial 0x07) of two bytes, begun at 0xff so that nothing is not the number 0.
fn checksum(number: u16) -> u8 {
    number
        .to_be_bytes()
        .iter()
        .fold(0xff, |crc, byte| (0..8).fold(crc ^ byte, |crc: u8, _| if crc & 0x80 != 0 { (crc << 1) ^ 0x07 } else { crc << 1 }))
}
