//! Reading order: pieces of text become lines, and lines blocks. Pure.
//!
//! Pieces side by side are one line, so that letters set apart stand together; lines below each other are one block as long as each has one
//! neighbour above and below, so that columns are not read across.

use super::{Block, Line, Run};
use crate::geometry::Rect;

/// Pieces of one line are at most this many heights apart.
const GAP_ALONG: f32 = 2.0;
/// Lines of one block are at most this many heights apart, from the one's feet to the other's heads.
const GAP_DOWN: f32 = 1.0;
/// How much higher one of two neighbours may be.
const RATIO_MAX: f32 = 1.6;

/// Puts pieces of a frame of `size` pixels into blocks, these from top to bottom.
pub fn blocks(pieces: Vec<Line>, size: (usize, usize)) -> Vec<Block> {
    let (turned, straight): (Vec<Line>, Vec<Line>) = pieces.into_iter().partition(|piece| piece.run == Run::Turned);
    let (mirrored, upright): (Vec<Line>, Vec<Line>) = straight.into_iter().partition(|piece| piece.run == Run::Mirrored);
    let mut blocks: Vec<Block> = turned.into_iter().map(|line| Block { lines: vec![line] }).collect();
    for pieces in [upright, mirrored] {
        blocks.extend(stacked(joined(pieces, size), size));
    }
    blocks.sort_by(|a, b| (a.area().y, a.area().x).partial_cmp(&(b.area().y, b.area().x)).unwrap_or(std::cmp::Ordering::Equal));
    blocks
}

/// In pixels.
fn pixels(line: &Line, size: (usize, usize)) -> Rect {
    let (width, height) = (size.0 as f32, size.1 as f32);
    Rect::new(line.area.x * width, line.area.y * height, line.area.width * width, line.area.height * height)
}

fn alike(a: &Line, b: &Line) -> bool {
    a.height_px.max(b.height_px) <= RATIO_MAX * a.height_px.min(b.height_px)
}

/// Pieces of one run to whole lines.
fn joined(mut pieces: Vec<Line>, size: (usize, usize)) -> Vec<Line> {
    pieces.sort_by(|a, b| a.area.x.total_cmp(&b.area.x));
    let mut lines: Vec<Line> = Vec::new();
    for piece in pieces {
        match lines.iter().rposition(|line| beside(line, &piece, size)) {
            Some(index) => join(&mut lines[index], piece),
            None => lines.push(piece),
        }
    }
    lines
}

/// Whether `next`, which begins further right, goes on where `line` ends.
fn beside(line: &Line, next: &Line, size: (usize, usize)) -> bool {
    let (a, b) = (pixels(line, size), pixels(next, size));
    let height = line.height_px.max(next.height_px);
    let shared = a.bottom().min(b.bottom()) - a.y.max(b.y);
    alike(line, next) && shared >= 0.5 * a.height.min(b.height) && b.x - a.right() <= GAP_ALONG * height && b.x >= a.right() - height / 2.0
}

fn join(line: &mut Line, next: Line) {
    let count = |line: &Line| line.words.iter().map(|word| word.text.chars().count()).sum::<usize>().max(1) as f32;
    let (own, added) = (count(line), count(&next));
    line.confidence = (line.confidence * own + next.confidence * added) / (own + added);
    line.area = line.area.hull(&next.area);
    line.height_px = line.height_px.max(next.height_px);
    match line.run {
        Run::Mirrored => line.words.splice(0..0, next.words).for_each(drop),
        Run::Upright | Run::Turned => line.words.extend(next.words),
    }
}

/// Lines of one run to blocks.
fn stacked(mut lines: Vec<Line>, size: (usize, usize)) -> Vec<Block> {
    lines.sort_by(|a, b| a.area.center().1.total_cmp(&b.area.center().1));
    let below: Vec<Vec<usize>> = (0..lines.len())
        .map(|above| (above + 1..lines.len()).filter(|&next| follows(&lines[above], &lines[next], size)).collect())
        .collect();
    // Without those that another one stands between.
    let next_to =
        |nexts: &Vec<usize>| nexts.iter().copied().filter(|next| !nexts.iter().any(|between| below[*between].contains(next))).collect();
    let below: Vec<Vec<usize>> = below.iter().map(next_to).collect();
    let above = |next: usize| below.iter().filter(|nexts| nexts.contains(&next)).count();
    // Each line's block; a line that is the only one below the only one above it is in that one's.
    let mut block: Vec<usize> = (0..lines.len()).collect();
    for line in 0..lines.len() {
        if let [next] = below[line][..]
            && above(next) == 1
        {
            block[next] = block[line];
        }
    }
    let mut blocks: Vec<Block> = (0..lines.len()).map(|_| Block { lines: Vec::new() }).collect();
    for (line, block) in lines.into_iter().zip(block) {
        blocks[block].lines.push(line);
    }
    blocks.retain(|block| !block.lines.is_empty());
    blocks
}

/// Whether `next`, whose centre is lower, is the line below `line`.
fn follows(line: &Line, next: &Line, size: (usize, usize)) -> bool {
    let (a, b) = (pixels(line, size), pixels(next, size));
    let height = line.height_px.min(next.height_px);
    let gap = b.y - a.bottom();
    let shared = a.right().min(b.right()) - a.x.max(b.x);
    alike(line, next) && gap <= GAP_DOWN * height && gap >= -0.5 * height && shared > 0.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::infer::ocr::ReadWord;

    const SIZE: (usize, usize) = (1000, 1000);

    /// Words set from `x` and `y` on, in pixels, 24 high, letters 12 wide.
    fn line(text: &str, x: f32, y: f32) -> Line {
        let mut at = x / 1000.0;
        let words = text.split(' ').map(|text| {
            let width = text.len() as f32 * 0.012;
            let word = ReadWord { text: text.to_owned(), confidence: 0.9, area: Rect::new(at, y / 1000.0, width, 0.024) };
            at += width + 0.012;
            word
        });
        let words: Vec<ReadWord> = words.collect();
        let area = words.iter().map(|word| word.area).reduce(|a, b| a.hull(&b)).unwrap();
        Line { words, area, confidence: 0.9, height_px: 24.0, run: Run::Upright }
    }

    fn read(pieces: Vec<Line>) -> Vec<String> {
        let text = |block: &Block| block.words().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        blocks(pieces, SIZE).iter().map(text).collect()
    }

    #[test]
    fn letters_set_apart_are_one_line() {
        let letters = ["k", "u", "c", "f"].into_iter().zip([190.0, 130.0, 160.0, 100.0]);
        assert_eq!(read(letters.map(|(letter, x)| line(letter, x, 100.0)).collect()), ["f u c k"]);
        // Further apart than a line's pieces are, they are what they look like.
        assert_eq!(read(vec![line("left", 100.0, 100.0), line("right", 400.0, 100.0)]), ["left", "right"]);
    }

    #[test]
    fn a_word_broken_across_lines_is_neighbours_in_one_block() {
        assert_eq!(
            read(vec![line("king of things", 100.0, 130.0), line("you are the fuc-", 100.0, 100.0)]),
            ["you are the fuc- king of things"]
        );
    }

    #[test]
    fn a_line_is_followed_by_the_next_one_however_tight_they_are() {
        let pieces = (0..4).map(|row| line(&format!("row{row} x"), 100.0, 100.0 + 22.0 * row as f32));
        assert_eq!(read(pieces.collect()), ["row0 x row1 x row2 x row3 x"]);
    }

    #[test]
    fn columns_are_not_read_across() {
        let mut pieces = vec![line("a headline over both of the columns here", 100.0, 60.0)];
        for (row, y) in [100.0, 130.0, 160.0].into_iter().enumerate() {
            pieces.push(line(&format!("left{row} words"), 100.0, y));
            pieces.push(line(&format!("right{row} words"), 400.0, y));
        }
        assert_eq!(
            read(pieces),
            ["a headline over both of the columns here", "left0 words left1 words left2 words", "right0 words right1 words right2 words"]
        );
    }

    #[test]
    fn what_is_far_below_or_of_another_height_is_another_block() {
        let mut large = line("large", 100.0, 130.0);
        large.height_px = 60.0;
        assert_eq!(read(vec![line("one", 100.0, 100.0), large, line("far", 100.0, 220.0)]), ["one", "large", "far"]);
    }

    #[test]
    fn mirrored_pieces_are_read_from_the_right() {
        let mirrored = |text: &str, x: f32| Line { run: Run::Mirrored, ..line(text, x, 100.0) };
        assert_eq!(read(vec![mirrored("second", 100.0), mirrored("first", 190.0), line("other", 280.0, 100.0)]), ["first second", "other"]);
    }

    proptest! {
        #[test]
        fn no_word_is_lost_or_doubled(places in prop::collection::vec((0_f32..900.0, 0_f32..900.0), 0..40), mirrored: bool) {
            let run = if mirrored { Run::Mirrored } else { Run::Upright };
            let pieces: Vec<Line> = places.iter().enumerate().map(|(i, &(x, y))| Line { run, ..line(&format!("w{i}"), x, y) }).collect();
            let mut expected: Vec<String> = pieces.iter().map(|piece| piece.words[0].text.clone()).collect();
            let found = blocks(pieces, SIZE);
            let mut words: Vec<String> = found.iter().flat_map(Block::words).map(|word| word.text.clone()).collect();
            words.sort();
            expected.sort();
            prop_assert_eq!(words, expected);
            for block in &found {
                prop_assert!(block.lines.is_sorted_by(|a, b| a.area.center().1 <= b.area.center().1));
                for line in &block.lines {
                    let inside = |word: &ReadWord| word.area.intersection(&line.area).area() > 0.999 * word.area.area();
                    prop_assert!(line.words.iter().all(inside));
                }
            }
        }
    }
}
