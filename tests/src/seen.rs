//! What a viewer's browser showed of a clip, held against the clip: which raw frame each picture is of, and whether every face on that is covered.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use scrim_host::geometry::Rect;
use scrim_host::media::frame::{Frame, FrameSeq, Matrix, Micros, Range};
use scrim_host::media::picture::{self, Limits};
use scrim_host::vision::color::{Rgb, ycbcr_of};

use crate::burnt;
use crate::coverage::reference;
use crate::coverage::score::COVERED_MIN;

/// What two browsers and a host have time for on two cores.
pub const SIZE: (usize, usize) = (640, 480);
pub const RATE: u32 = 15;
/// 8-bit levels within which a pixel has the cover's colour after being coded twice for a network and once as a JPEG.
const TOLERANCE: u8 = 28;
/// A picture is covered whole from this share on.
const WHOLE: f32 = 0.97;

/// A clip with a number on each frame, and the faces on it.
pub struct Clip {
    pub frames: Vec<Frame>,
    pub faces: Vec<Vec<Rect>>,
}

impl Clip {
    /// The first seconds of a file of 640×360, below a bar that has the number.
    ///
    /// # Errors
    /// When it can't be decoded, or faces not be looked for.
    pub fn of(file: &Path, seconds: u32) -> Result<Self> {
        let ((width, height), bar) = (SIZE, (burnt::ROOM * SIZE.1 as f32) as usize);
        let filter = format!("fps={RATE},scale={width}:360,pad={width}:{height}:0:{bar}");
        let mut frames = crate::clip::filtered(file, SIZE, &filter, (seconds * RATE) as usize)?;
        ensure!(frames.len() == (seconds * RATE) as usize, "{} has {} frames in {seconds} s", file.display(), frames.len());
        for (number, frame) in frames.iter_mut().enumerate() {
            burnt::burn(frame.planes_mut()[0], width, height, u16::try_from(number)?);
        }
        let faces = reference::faces_on(&frames)?;
        Ok(Self { frames, faces })
    }

    /// As a camera's file for Chromium.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write(&self.frames, RATE, path)
    }
}

/// Frames of [`SIZE`] as a camera's file for Chromium.
///
/// # Errors
/// When it can't be written.
pub fn write(frames: &[Frame], rate: u32, path: &Path) -> Result<()> {
    let (width, height) = SIZE;
    let mut to = BufWriter::new(File::create(path)?);
    writeln!(to, "YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420mpeg2")?;
    for frame in frames {
        to.write_all(b"FRAME\n")?;
        to.write_all(frame.data())?;
    }
    Ok(to.flush()?)
}

/// The pictures that a script has written: JPEGs, each behind its length.
///
/// # Errors
/// When the file is cut short, or holds what is no picture.
pub fn read(path: &Path) -> Result<Vec<Frame>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let (mut rest, mut frames) = (&bytes[..], Vec::new());
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (jpeg, more) = more.split_at_checked(length).with_context(|| format!("{} is cut short", path.display()))?;
        let number = frames.len() as u64;
        frames.push(picture::decode(jpeg, Limits::default(), FrameSeq(number), Micros::ZERO)?);
        rest = more;
    }
    ensure!(rest.is_empty(), "{} is cut short", path.display());
    Ok(frames)
}

/// What was shown, counted.
#[derive(Debug, Default)]
pub struct Verdict {
    pub shown: usize,
    /// Covered whole.
    pub whole: usize,
    /// Without a number, and not covered whole either: they count as covered.
    pub unreadable: usize,
    /// Covered whole, or without a number, after the first that was not.
    pub whole_later: usize,
    /// Those with a number and a face.
    pub with_faces: usize,
    /// Those with a face that can be seen: the picture's place among those shown, its raw frame's number, the share of the face that is covered.
    pub exposed: Vec<(usize, u16, f32)>,
    /// Sums over those with a number, in frames.
    pub covered_area: f32,
    pub faces_area: f32,
    /// How often each raw frame was shown.
    pub times: BTreeMap<u16, usize>,
}

impl Verdict {
    pub fn area_ratio(&self) -> f32 {
        self.covered_area / self.faces_area
    }
}

/// Holds what was shown against the clip.
///
/// # Errors
/// When a picture has the number of no frame.
pub fn judge(shown: &[Frame], clip: &Clip, cover: Rgb) -> Result<Verdict> {
    let mut verdict = Verdict { shown: shown.len(), ..Verdict::default() };
    for (place, picture) in shown.iter().enumerate() {
        let covered = Covered::of(picture, cover);
        let (width, height) = (picture.width, picture.height);
        let all = covered.share(&Rect::FULL);
        let number = burnt::read(picture.planes()[0], width, height);
        let Some(number) = number.filter(|_| all < WHOLE) else {
            verdict.whole += usize::from(all >= WHOLE);
            verdict.unreadable += usize::from(all < WHOLE);
            verdict.whole_later += usize::from(!verdict.times.is_empty());
            continue;
        };
        let faces = clip.faces.get(usize::from(number)).with_context(|| format!("picture {place} has the number {number}"))?;
        *verdict.times.entry(number).or_default() += 1;
        verdict.with_faces += usize::from(!faces.is_empty());
        verdict.covered_area += all;
        verdict.faces_area += scrim_host::vision::cover::covered_share(faces);
        let least = faces.iter().map(|face| covered.share(face)).fold(1.0, f32::min);
        if least < COVERED_MIN {
            verdict.exposed.push((place, number, least));
        }
    }
    Ok(verdict)
}

/// Which pixels have the cover's colour.
pub struct Covered {
    width: usize,
    height: usize,
    pixels: Vec<bool>,
}

impl Covered {
    pub fn of(picture: &Frame, cover: Rgb) -> Self {
        let (width, height) = (picture.width, picture.height);
        let [y, cb, cr] = picture.planes();
        let wanted = ycbcr_of(cover, Range::Full, Matrix::Bt601);
        let across = width.div_ceil(2);
        let alike = |x: usize, row: usize| {
            let chroma = row / 2 * across + x / 2;
            let pixel = [y[row * width + x], cb[chroma], cr[chroma]];
            pixel.iter().zip(wanted).all(|(is, wanted)| is.abs_diff(wanted) <= TOLERANCE)
        };
        Self {
            width,
            height,
            pixels: (0..height).flat_map(|row| (0..width).map(move |x| (x, row))).map(|(x, row)| alike(x, row)).collect(),
        }
    }

    /// The share of an area's pixels.
    pub fn share(&self, area: &Rect) -> f32 {
        let span = |from: f32, to: f32, side: usize| {
            let at = |edge: f32| ((edge * side as f32).round().max(0.0) as usize).min(side);
            at(from)..at(to)
        };
        let (across, down) = (span(area.x, area.right(), self.width), span(area.y, area.bottom(), self.height));
        let all = across.len() * down.len();
        let covered = down.flat_map(|row| &self.pixels[row * self.width..][across.clone()]).filter(|&&covered| covered).count();
        if all == 0 { 1.0 } else { covered as f32 / all as f32 }
    }
}

#[cfg(test)]
mod tests {
    use scrim_host::media::frame::i420_len;
    use scrim_host::vision::cover::{Style, cover};

    use super::*;

    const GREEN: Rgb = Rgb([0x20, 0xc0, 0x40]);

    fn frame(number: u16) -> Frame {
        let (width, height) = SIZE;
        let mut data = vec![128; i420_len(width, height)];
        burnt::burn(&mut data[..width * height], width, height, number);
        Frame::new(FrameSeq(0), Micros::ZERO, width, height, Range::Limited, Matrix::Bt601, data)
    }

    #[test]
    fn a_face_is_found_exposed_or_not_on_the_frame_that_was_shown() -> Result<()> {
        let face = Rect::new(0.4, 0.4, 0.2, 0.3);
        let clip = Clip { frames: vec![frame(0), frame(1)], faces: vec![vec![], vec![face]] };
        let shown = |number: u16, areas: &[Rect]| -> Result<Frame> {
            let mut frame = frame(number);
            cover(&mut frame, areas, Style::Solid(GREEN));
            Ok(picture::decode(&picture::encode_jpeg(&frame, 92)?, Limits::default(), FrameSeq(0), Micros::ZERO)?)
        };
        let pictures = [
            shown(0, &[Rect::FULL])?,
            shown(0, &[])?,
            shown(1, &[face.grown(0.02, 0.02)])?,
            shown(1, &[face.moved(0.04, 0.0)])?,
            shown(1, &[Rect::new(0.0, 0.0, 1.0, 0.2)])?,
        ];
        let verdict = judge(&pictures, &clip, GREEN)?;
        assert_eq!((verdict.shown, verdict.whole, verdict.unreadable, verdict.whole_later), (5, 1, 1, 1), "{verdict:?}");
        assert_eq!((verdict.with_faces, verdict.exposed.len()), (2, 1), "{verdict:?}");
        assert!(matches!(verdict.exposed[..], [(3, 1, share)] if (0.75..0.85).contains(&share)), "{verdict:?}");
        assert!(judge(&[shown(2, &[])?], &clip, GREEN).is_err(), "a number that no frame has");
        Ok(())
    }
}
