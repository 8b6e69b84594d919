//! Text drawn on frames, with the true area of every word: what reading is tried on.
//!
//! The font is DejaVu Sans, as set-up fetches it. A size is the font's em in pixels, as in CSS's `font-size`: letters such as x are some 0.55
//! of it high, capitals 0.73.

use ab_glyph::{Font, FontVec, PxScale, ScaleFont, point};
use anyhow::Context;
use scrim_host::geometry::Rect;
use scrim_host::media::frame::{Frame, chroma_size};
use scrim_host::vision::color::{Rgb, ycbcr_of};

/// A word, and where it was drawn, in fractions of the frame.
#[derive(Clone, Debug)]
pub struct Drawn {
    pub text: String,
    pub area: Rect,
}

/// What is drawn how.
#[derive(Clone, Debug)]
pub struct Style {
    /// Em, in pixels.
    pub size: f32,
    pub colour: Rgb,
    /// Share of the colour that shows, 0..=1: a fade's state.
    pub opacity: f32,
    /// As in a mirror.
    pub mirrored: bool,
}

impl Style {
    pub fn new(size: f32, colour: Rgb) -> Self {
        Self { size, colour, opacity: 1.0, mirrored: false }
    }
}

/// A face to draw with.
pub struct Typeface(FontVec);

impl Typeface {
    /// `DejaVuSans.ttf` or `DejaVuSans-Bold.ttf`.
    ///
    /// # Errors
    /// When set-up has not fetched it.
    pub fn open(name: &str) -> anyhow::Result<Self> {
        let path = scrim_toolchain::assets::path(name)?;
        let bytes = std::fs::read(&path).with_context(|| format!("{}: run `cargo xtask fetch`", path.display()))?;
        Ok(Self(FontVec::try_from_vec(bytes)?))
    }

    /// Draws lines with their left ends at `x` and the first one's top at `y`, in pixels; letters that leave the frame are cut off.
    /// Answers with the words that lie wholly inside.
    pub fn draw(&self, frame: &mut Frame, (x, y): (f32, f32), text: &str, style: &Style) -> Vec<Drawn> {
        // ab_glyph's scale is the height from the highest to the lowest letter; an em is less.
        let em = self.0.units_per_em().unwrap_or(2048.0);
        let font = self.0.as_scaled(PxScale::from(style.size * self.0.height_unscaled() / em));
        let mut ink = Ink::new(frame.width, frame.height);
        let mut words = Vec::new();
        for (row, line) in text.lines().enumerate() {
            let top = y + row as f32 * style.size * 1.25;
            let mut at = x;
            for word in line.split(' ') {
                let begin = at;
                for letter in word.chars() {
                    let glyph = font.scaled_glyph(letter);
                    let (id, scale) = (glyph.id, glyph.scale);
                    if let Some(outline) = self.0.outline_glyph(id.with_scale_and_position(scale, point(at, top + font.ascent()))) {
                        let bounds = outline.px_bounds();
                        outline
                            .draw(|px, py, share| ink.add(bounds.min.x as i64 + i64::from(px), bounds.min.y as i64 + i64::from(py), share));
                    }
                    at += font.h_advance(id);
                }
                // From the capitals' tops to the feet of the lowest letters.
                let area = Rect::from_edges(begin, top + font.ascent() - 0.76 * style.size, at, top + font.ascent() + 0.24 * style.size);
                words.push(Drawn { text: word.to_owned(), area });
                at += font.h_advance(font.glyph_id(' '));
            }
        }
        if style.mirrored {
            ink.mirror();
        }
        ink.onto(frame, style);
        words.into_iter().filter_map(|word| inside(word, frame, style.mirrored)).collect()
    }
}

fn inside(word: Drawn, frame: &Frame, mirrored: bool) -> Option<Drawn> {
    let (width, height) = (frame.width as f32, frame.height as f32);
    let Rect { x, y, width: w, height: h } = word.area;
    let area = Rect::new(if mirrored { width - x - w } else { x } / width, y / height, w / width, h / height);
    (area.x >= 0.0 && area.y >= 0.0 && area.right() <= 1.0 && area.bottom() <= 1.0).then_some(Drawn { area, ..word })
}

/// How much of each pixel is covered, 0..=1.
struct Ink {
    width: usize,
    height: usize,
    shares: Vec<f32>,
}

impl Ink {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, shares: vec![0.0; width * height] }
    }

    fn add(&mut self, x: i64, y: i64, share: f32) {
        if let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y))
            && x < self.width
            && y < self.height
        {
            let pixel = &mut self.shares[y * self.width + x];
            *pixel = (*pixel + share).min(1.0);
        }
    }

    fn mirror(&mut self) {
        self.shares.chunks_exact_mut(self.width).for_each(<[f32]>::reverse);
    }

    fn onto(&self, frame: &mut Frame, style: &Style) {
        let code = ycbcr_of(style.colour, frame.range, frame.matrix);
        let (cw, ch) = chroma_size(frame.width, frame.height);
        let mix = |under: &mut u8, over: u8, share: f32| {
            let share = share * style.opacity;
            *under = (f32::from(*under) * (1.0 - share) + f32::from(over) * share).round() as u8;
        };
        let [luma, cb, cr] = frame.planes_mut();
        luma.iter_mut().zip(&self.shares).for_each(|(under, share)| mix(under, code[0], *share));
        for y in 0..ch {
            for x in 0..cw {
                let of =
                    |dx: usize, dy: usize| self.shares[(2 * y + dy).min(self.height - 1) * self.width + (2 * x + dx).min(self.width - 1)];
                let share = (of(0, 0) + of(1, 0) + of(0, 1) + of(1, 1)) / 4.0;
                mix(&mut cb[y * cw + x], code[1], share);
                mix(&mut cr[y * cw + x], code[2], share);
            }
        }
    }
}

/// How text comes and goes over the frames of a clip.
#[derive(Clone, Copy, Debug)]
pub enum Motion {
    Still,
    /// Pixels a frame; down and to the right are positive.
    Scroll {
        x: f32,
        y: f32,
    },
    /// From nothing to its full colour in this many frames.
    FadeIn {
        frames: usize,
    },
}

/// Draws the text on every frame of a clip; answers with each frame's words.
pub fn over(face: &Typeface, frames: &mut [Frame], at: (f32, f32), text: &str, style: &Style, motion: Motion) -> Vec<Vec<Drawn>> {
    let drawn = frames.iter_mut().enumerate().map(|(i, frame)| {
        let passed = i as f32;
        match motion {
            Motion::Still => face.draw(frame, at, text, style),
            Motion::Scroll { x, y } => face.draw(frame, (at.0 + x * passed, at.1 + y * passed), text, style),
            Motion::FadeIn { frames } => {
                let opacity = style.opacity * ((passed + 1.0) / frames.max(1) as f32).min(1.0);
                face.draw(frame, at, text, &Style { opacity, ..style.clone() })
            }
        }
    });
    drawn.collect()
}
