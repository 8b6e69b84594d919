//! One picture with a face, published over and over, and what of it can be seen in what viewers get.

use anyhow::{Context, Result};
use scrim_host::geometry::Rect;
use scrim_host::media::frame::Frame;
use scrim_livekit::I420;

use crate::clip;
use crate::coverage::reference;

pub const SIZE: (usize, usize) = (640, 480);
/// A solid black cover, coded and decoded, is no brighter than this; limited range.
const BLACK_MAX: u8 = 40;
/// A face is covered from this share on.
pub const COVERED_MIN: f32 = 0.95;
/// A picture of which less is black has been covered in part only.
const WHOLE_MIN: f32 = 0.6;

/// The picture.
///
/// # Errors
/// When it was not fetched, or can't be decoded.
pub fn picture((width, height): (usize, usize)) -> Result<Frame> {
    let file = scrim_toolchain::assets::path("astronaut.png")?;
    clip::scaled(&file, width, height, 1)?.into_iter().next().context("a frame")
}

/// Where its face is.
///
/// # Errors
/// When the reference finds none.
pub fn face(picture: &Frame) -> Result<Rect> {
    // A face counts where it is found in neighbouring frames, too.
    let found = reference::faces_on(&vec![picture.clone(); 3])?;
    found[1].first().copied().context("the reference finds the astronaut's face")
}

/// Share of an area's inner part that is black, 0..=1.
pub fn black(picture: &I420, area: Rect) -> f32 {
    let (width, height) = (picture.width as f32, picture.height as f32);
    let (left, right) = ((area.x * width) as usize, (area.right() * width) as usize);
    let (top, bottom) = ((area.y * height) as usize, (area.bottom() * height) as usize);
    let dark = |x: usize, y: usize| picture.data[y * picture.width as usize + x] <= BLACK_MAX;
    let points: Vec<bool> = (top..bottom).flat_map(|y| (left..right).map(move |x| dark(x, y))).collect();
    points.iter().filter(|dark| **dark).count() as f32 / points.len().max(1) as f32
}

/// Whether it is the card of an interrupted stream: grey without colour, but for what is written on it.
pub fn is_card(picture: &I420) -> bool {
    let (luma, chroma) = picture.data.split_at((picture.width * picture.height) as usize);
    let share = |values: &[u8], near: std::ops::RangeInclusive<u8>| {
        values.iter().filter(|value| near.contains(value)).count() as f32 / values.len() as f32
    };
    share(luma, 38..=50) > 0.8 && share(chroma, 124..=132) > 0.98
}

/// What viewers can see in a picture of it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// The face, or part of it: so much of it is covered.
    Face(f32),
    /// Everything but the face.
    Rest,
    /// Nothing.
    Nothing,
    /// That the stream is interrupted.
    Card,
}

/// What is in a picture whose face is there.
pub fn shows(picture: &I420, face: Rect) -> Shows {
    let covered = black(picture, face);
    if is_card(picture) {
        Shows::Card
    } else if covered < COVERED_MIN {
        Shows::Face(covered)
    } else if black(picture, Rect::FULL) < WHOLE_MIN {
        Shows::Rest
    } else {
        Shows::Nothing
    }
}
