//! What a viewer saw of a clip, frame by frame held against it: order, loss, exposure, over-cover, and whether the pictures are covered where
//! the verdicts say so.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use scrim_host::geometry::Rect;
use scrim_host::media::frame::Range;
use scrim_host::media::wire::Extent;

use crate::coverage::score::{Score, score};
use crate::publisher::{Clip, Publisher, Shown};

/// A solid black cover may differ from black by so much after JPEG, luma of full range.
const BLACK_MAX: u8 = 48;
/// Pixels along a mask's rim that JPEG mixes with what is beside it.
const RIM: usize = 16;

/// Counts only grow.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The last number seen, or the one before the first that is sent.
    pub last: Option<u64>,
    pub frames: u64,
    pub lost: u64,
    pub repeated: u64,
    /// By what covers them.
    pub extents: BTreeMap<String, u64>,
    /// Frames covered whole, by reason.
    pub full: BTreeMap<String, u64>,
    pub passed_unjudged: u64,
    pub face_frames: u64,
    pub exposed: u64,
    /// The first exposed frames.
    pub exposed_at: Vec<u64>,
    /// Of frames that are not covered whole.
    pub covered_area: f64,
    pub faces_area: f64,
    /// Pictures that show something where a mask should be.
    pub shows_through: u64,
}

impl Watched {
    /// Counts from this number on.
    pub fn from(first: u64) -> Self {
        Self { last: first.checked_sub(1), ..Self::default() }
    }

    /// Takes a frame in, and the faces that are in it.
    pub fn see(&mut self, shown: &Shown, faces: &[Rect]) {
        let expected = self.last.map_or(0, |last| last + 1);
        if shown.sequence < expected {
            self.repeated += 1;
            return;
        }
        self.lost += shown.sequence - expected;
        self.last = Some(shown.sequence);
        self.frames += 1;
        let verdict = &shown.verdict;
        *self.extents.entry(format!("{:?}", verdict.cover).to_lowercase()).or_default() += 1;
        if verdict.cover == Extent::Full {
            *self.full.entry(verdict.reason.clone().unwrap_or_default()).or_default() += 1;
        } else if !verdict.judged {
            self.passed_unjudged += 1;
        }
        let Score { face_frames, exposed, covered_area, faces_area, .. } =
            score(std::slice::from_ref(&verdict.masks), &[faces.to_vec()], 0, 0, 0);
        self.face_frames += face_frames as u64;
        self.exposed += exposed as u64;
        if exposed > 0 && self.exposed_at.len() < 8 {
            self.exposed_at.push(shown.sequence);
        }
        if verdict.cover != Extent::Full {
            self.covered_area += f64::from(covered_area);
            self.faces_area += f64::from(faces_area);
        }
    }

    /// Adds what another connection has shown.
    pub fn add(&mut self, other: &Self) {
        self.last = other.last.or(self.last);
        self.frames += other.frames;
        self.lost += other.lost;
        self.repeated += other.repeated;
        for (mine, theirs) in [(&mut self.extents, &other.extents), (&mut self.full, &other.full)] {
            theirs.iter().for_each(|(name, count)| *mine.entry(name.clone()).or_default() += count);
        }
        self.passed_unjudged += other.passed_unjudged;
        self.face_frames += other.face_frames;
        self.exposed += other.exposed;
        self.exposed_at.extend(&other.exposed_at);
        self.covered_area += other.covered_area;
        self.faces_area += other.faces_area;
        self.shows_through += other.shows_through;
    }

    /// Takes in what a connection has shown since it was last asked, whose pictures are covered in black.
    ///
    /// # Errors
    /// When a picture can't be decoded.
    pub fn see_all(&mut self, publisher: &Publisher, clip: &Clip) -> Result<()> {
        for shown in publisher.take_shown() {
            self.see(&shown, clip.faces(shown.sequence));
            if shows_through(&shown).with_context(|| format!("frame {}", shown.sequence))? {
                self.shows_through += 1;
            }
        }
        Ok(())
    }

    /// Covered area over the faces'.
    pub fn area_ratio(&self) -> f64 {
        self.covered_area / self.faces_area
    }

    pub fn full_covers(&self) -> u64 {
        self.full.values().sum()
    }
}

/// Whether a picture is other than black inside a mask that its verdict names.
///
/// # Errors
/// When the picture can't be decoded.
pub fn shows_through(shown: &Shown) -> Result<bool> {
    let frame = shown.frame()?;
    let black = if frame.range == Range::Limited { BLACK_MAX + 16 } else { BLACK_MAX };
    let [luma, ..] = frame.planes();
    Ok(shown.verdict.masks.iter().any(|mask| {
        let span = |from: f32, to: f32, size: usize| {
            let (from, to) = ((from * size as f32).ceil() as usize + RIM, (to * size as f32).floor() as usize);
            from..to.saturating_sub(RIM).max(from)
        };
        let columns = span(mask.x, mask.right(), frame.width);
        span(mask.y, mask.bottom(), frame.height).any(|row| {
            let row = &luma[row * frame.width..(row + 1) * frame.width];
            row[columns.start.min(frame.width)..columns.end.min(frame.width)].iter().any(|value| *value > black)
        })
    }))
}
