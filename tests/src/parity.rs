//! How well our boxes agree with those of the NudeNet package (`tests/reference/nudenet_boxes.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use scrim_host::geometry::Rect;
use scrim_host::infer::Detector;
use serde::Deserialize;

use crate::clip;

/// One frame as the package saw it.
#[derive(Clone, Debug, Deserialize)]
pub struct Picture {
    pub file: String,
    pub frame: usize,
    pub width: usize,
    pub height: usize,
    pub boxes: Vec<PackageBox>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct PackageBox {
    pub label: String,
    pub score: f32,
    /// Left, top, width, height in pixels.
    #[serde(rename = "box")]
    pub at: [f32; 4],
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parity {
    /// Boxes of the package with a score of at least the one asked for.
    pub boxes: usize,
    /// Of these, those for which we have one of the same label with an IoU of at least 0.9.
    pub agree: usize,
    /// Of these, those for which we have one with an IoU of at least 0.5, whatever its label.
    pub near: usize,
    /// The largest difference of the scores of boxes that agree.
    pub score_error_max: f32,
}

impl Parity {
    pub fn share(&self) -> f32 {
        self.agree as f32 / self.boxes.max(1) as f32
    }
}

/// # Errors
/// When the file can't be read.
pub fn read(reference: &Path) -> anyhow::Result<Vec<Picture>> {
    let text = std::fs::read_to_string(reference).with_context(|| reference.display().to_string())?;
    serde_json::from_str(&text).with_context(|| reference.display().to_string())
}

/// Compares on every picture; `find` gives the path of a file named in the reference.
///
/// # Errors
/// When a clip can't be decoded or the detector fails.
pub fn compare(
    pictures: &[Picture],
    find: impl Fn(&str) -> PathBuf,
    detector: &mut dyn Detector,
    score_min: f32,
) -> anyhow::Result<Parity> {
    let mut parity = Parity::default();
    let mut by_file: BTreeMap<&str, Vec<&Picture>> = BTreeMap::new();
    for picture in pictures {
        by_file.entry(&picture.file).or_default().push(picture);
    }
    for (file, pictures) in by_file {
        let (width, height) = (pictures[0].width, pictures[0].height);
        let frames = clip::decode(&find(file), width, height)?;
        for picture in pictures {
            let frame = frames.get(picture.frame).with_context(|| format!("{file} has no frame {}", picture.frame))?;
            let ours = detector.detect(&[frame])?.swap_remove(0);
            for expected in picture.boxes.iter().filter(|expected| expected.score >= score_min) {
                let [x, y, w, h] = expected.at;
                let area = Rect::new(x / width as f32, y / height as f32, w / width as f32, h / height as f32);
                let overlap = |found: &scrim_host::vision::detection::Detection| found.area.map_or(0.0, |found| found.iou(&area));
                parity.boxes += 1;
                parity.near += usize::from(ours.iter().any(|found| overlap(found) >= 0.5));
                if let Some(same) = ours.iter().find(|found| *found.label == *expected.label && overlap(found) >= 0.9) {
                    parity.agree += 1;
                    parity.score_error_max = parity.score_error_max.max((same.confidence - expected.score).abs());
                }
            }
        }
    }
    Ok(parity)
}
