//! What viewers see where no picture comes: a card that says so.

use super::frame::i420_len;

/// Limited range: a dark grey, and what is written on it.
const GROUND: u8 = 44;
const INK: u8 = 200;
/// Without colour.
const GREY: u8 = 128;
const TEXT: [&str; 2] = ["STREAM", "INTERRUPTED"];
/// A glyph, and the gap after it, in dots.
const GLYPH: (usize, usize) = (5, 7);
const GAP: usize = 1;
/// Rows between the two lines, in dots.
const LINE: usize = GLYPH.1 + 4;

/// Five dots a row, the leftmost the highest bit, seven rows.
fn glyph(letter: char) -> [u8; 7] {
    match letter {
        'A' => [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        'D' => [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110],
        'E' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111],
        'I' => [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        'M' => [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001],
        'N' => [0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001],
        'P' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000],
        'R' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001],
        'S' => [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110],
        'T' => [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
        'U' => [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        _ => [0; 7],
    }
}

/// "Stream interrupted", as large as half of the width allows: an I420 picture of limited range, its planes one behind the other.
pub fn interrupted(width: usize, height: usize) -> Vec<u8> {
    let mut data = vec![GREY; i420_len(width, height)];
    let luma = &mut data[..width * height];
    luma.fill(GROUND);
    let columns = TEXT.iter().map(|line| line.len()).max().unwrap_or(1) * (GLYPH.0 + GAP);
    let dot = (width / 2 / columns).min(height / 2 / (LINE * TEXT.len()));
    let top = (height - (dot * LINE * TEXT.len()).min(height)) / 2;
    for (row, line) in TEXT.iter().enumerate() {
        let left = (width - (dot * line.len() * (GLYPH.0 + GAP)).min(width)) / 2;
        for (column, letter) in line.chars().enumerate() {
            let at = (left + column * (GLYPH.0 + GAP) * dot, top + row * LINE * dot);
            draw(luma, width, at, dot, glyph(letter));
        }
    }
    data
}

fn draw(luma: &mut [u8], width: usize, (left, top): (usize, usize), dot: usize, rows: [u8; 7]) {
    for (y, row) in rows.iter().enumerate() {
        for x in (0..GLYPH.0).filter(|x| row >> (GLYPH.0 - 1 - x) & 1 == 1) {
            for line in 0..dot {
                let from = (top + y * dot + line) * width + left + x * dot;
                luma[from..from + dot].fill(INK);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_its_words_in_the_middle_and_no_colour() {
        for (width, height) in [(1280, 720), (640, 360), (321, 181), (66, 40), (2, 2), (1, 1), (90, 1000)] {
            let data = interrupted(width, height);
            let (luma, chroma) = data.split_at(width * height);
            assert!(chroma.iter().all(|&c| c == GREY), "{width}x{height}");
            let inked: Vec<usize> = (0..luma.len()).filter(|&i| luma[i] == INK).collect();
            if width >= 132 && height >= 88 {
                let share = inked.len() as f32 / luma.len() as f32;
                assert!((0.01..0.2).contains(&share), "{width}x{height}: {share} is written on");
                let (left, right) = (inked.iter().map(|i| i % width).min(), inked.iter().map(|i| i % width).max());
                let margins = (left.unwrap_or(0), width - 1 - right.unwrap_or(0));
                assert!(margins.0.abs_diff(margins.1) <= width / 20 && margins.0 >= width / 5, "{width}x{height}: margins {margins:?}");
            }
        }
    }
}
