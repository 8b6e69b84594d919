//! Text on screen: a frame goes in, its words come out, each with its area, in the order in which they are read.
//!
//! [`scan`] says which parts of the frame the detection network sees and how large; [`detect`] turns its map into slanted [`window`]s, one
//! a line; [`recognise`] reads what the recognition network says of each, and [`lines`] puts lines into [`Block`]s. All of these are pure.
//! [`reader`] owns the two sessions and [`kept`], what was read before: a line that looks as it did is not read again. That memory never
//! changes an answer beyond what a coder's noise does, so an answer depends on its frame alone.

mod detect;
mod kept;
mod lines;
mod reader;
mod recognise;
mod scan;
mod window;

pub use reader::{Files, Reader, ReaderOptions};

use crate::geometry::Rect;

/// Lines that belong together: one column, evenly spaced, of similar height. What is one sentence is in one block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// From top to bottom.
    pub lines: Vec<Line>,
}

impl Block {
    /// Every word in reading order. A word that is broken across lines, or whose letters stand apart, is several neighbours here.
    pub fn words(&self) -> impl Iterator<Item = &ReadWord> {
        self.lines.iter().flat_map(|line| &line.words)
    }

    /// Of all its lines, in fractions of the frame.
    pub fn area(&self) -> Rect {
        self.lines.iter().map(|line| line.area).reduce(|a, b| a.hull(&b)).unwrap_or_default()
    }
}

/// One line of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// In reading order; at least one.
    pub words: Vec<ReadWord>,
    /// In fractions of the frame.
    pub area: Rect,
    /// Mean of its characters', 0..=1.
    pub confidence: f32,
    /// From above the tallest letters to below the lowest, in the frame's pixels: some 1.2 times the font's size.
    pub height_px: f32,
    pub run: Run,
}

/// How a line lies in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Upright,
    /// Seen in a mirror: read from right to left.
    Mirrored,
    /// Down or up the frame, letters turned.
    Turned,
}

/// What stands between two spaces. In writing without spaces, a whole line.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadWord {
    pub text: String,
    /// Mean of its characters', 0..=1.
    pub confidence: f32,
    /// In fractions of the frame.
    pub area: Rect,
}
