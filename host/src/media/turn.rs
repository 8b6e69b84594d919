//! Pictures that a camera holds askew, turned upright.

use super::frame::{chroma_size, i420_len};

/// By how much a picture is to be turned clockwise to stand upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Quarter,
    Half,
    ThreeQuarters,
}

/// The turned picture's width, height and planes. `data` is an I420 picture of `width` × `height`, its planes one behind the other.
pub fn turned(turn: Turn, width: usize, height: usize, data: &[u8]) -> (usize, usize, Vec<u8>) {
    let (chroma_width, chroma_height) = chroma_size(width, height);
    let (luma, chroma) = data.split_at(width * height);
    let (cb, cr) = chroma.split_at(chroma_width * chroma_height);
    let mut out = Vec::with_capacity(i420_len(width, height));
    plane(turn, width, height, luma, &mut out);
    plane(turn, chroma_width, chroma_height, cb, &mut out);
    plane(turn, chroma_width, chroma_height, cr, &mut out);
    if turn == Turn::Half { (width, height, out) } else { (height, width, out) }
}

fn plane(turn: Turn, width: usize, height: usize, from: &[u8], to: &mut Vec<u8>) {
    match turn {
        Turn::Half => to.extend(from.iter().rev()),
        // A column from below becomes a row.
        Turn::Quarter => (0..width).for_each(|x| to.extend((0..height).rev().map(|y| from[y * width + x]))),
        Turn::ThreeQuarters => (0..width).rev().for_each(|x| to.extend((0..height).map(|y| from[y * width + x]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 × 2, odd in width: chroma planes of 2 × 1.
    const PICTURE: [u8; 10] = [1, 2, 3, 4, 5, 6, 10, 11, 20, 21];

    #[test]
    fn a_quarter_brings_the_left_column_to_the_top() {
        let (width, height, data) = turned(Turn::Quarter, 3, 2, &PICTURE);
        assert_eq!((width, height), (2, 3));
        assert_eq!(data, [4, 1, 5, 2, 6, 3, 10, 11, 20, 21]);
    }

    #[test]
    fn four_quarters_are_a_whole_and_three_go_back_one() {
        let (width, height, quarter) = turned(Turn::Quarter, 3, 2, &PICTURE);
        let (_, _, back) = turned(Turn::ThreeQuarters, width, height, &quarter);
        assert_eq!(back, PICTURE);
        let (_, _, half) = turned(Turn::Half, 3, 2, &PICTURE);
        assert_eq!(half, [6, 5, 4, 3, 2, 1, 11, 10, 21, 20]);
        let (_, _, again) = turned(Turn::Quarter, width, height, &quarter);
        assert_eq!(again, half);
    }
}
