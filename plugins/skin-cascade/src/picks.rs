//! What both versions share: which detectors a rule speaks for, ranges of settings, and whether a thumbnail is whole.

use schemars::JsonSchema;
use scrim_sdk::Thumbnail;
use serde::{Deserialize, Serialize};

/// Smallest and largest value of a chroma plane that passes, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Span {
    pub least: u8,
    pub most: u8,
}

impl Span {
    pub const fn new(least: u8, most: u8) -> Self {
        Self { least, most }
    }

    pub fn holds(self, value: u8) -> bool {
        // One comparison, so that a loop over a plane vectorises.
        value.wrapping_sub(self.least) <= self.most - self.least
    }
}

/// Refuses a span whose ends are exchanged.
pub fn check_span(name: &str, span: Span) -> Result<(), String> {
    if span.least > span.most {
        return Err(format!("{name}: least {} is above most {}; exchange them", span.least, span.most));
    }
    Ok(())
}

/// Refuses a number outside `range`, and NaN.
pub fn check(name: &str, value: f32, range: std::ops::RangeInclusive<f32>) -> Result<(), String> {
    if !range.contains(&value) {
        return Err(format!("{name} is {value}; it must lie in {}..={}", range.start(), range.end()));
    }
    Ok(())
}

/// Skin in Y'CbCr after Chai and Ngan (1999): Cr 133..=173, Cb 77..=127.
pub const SKIN_CR: Span = Span::new(133, 173);
pub const SKIN_CB: Span = Span::new(77, 127);

/// A thumbnail whose planes have the sizes that it states.
pub struct Planes<'a> {
    pub width: usize,
    pub height: usize,
    pub chroma_width: usize,
    pub y: &'a [u8],
    pub cb: &'a [u8],
    pub cr: &'a [u8],
}

impl<'a> Planes<'a> {
    /// `None` for an empty picture or one whose planes do not fit its size.
    pub fn of(frame: &'a Thumbnail) -> Option<Self> {
        let (width, height) = (frame.width as usize, frame.height as usize);
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        let chroma = chroma_width.checked_mul(chroma_height)?;
        let whole = width.checked_mul(height)? == frame.y.len() && chroma == frame.cb.len() && chroma == frame.cr.len() && chroma > 0;
        whole.then_some(Self { width, height, chroma_width, y: &frame.y, cb: &frame.cb, cr: &frame.cr })
    }
}
