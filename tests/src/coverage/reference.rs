//! What there is to cover: faces by NudeNet in the package's own square mode on every raw frame, score ≥ 0.4 in two of three
//! consecutive frames.

use std::sync::Arc;

use scrim_host::geometry::Rect;
use scrim_host::infer::Detector;
use scrim_host::infer::model::Fit;
use scrim_host::media::frame::Frame;
use scrim_host::vision::detection::Detection;

/// Least score of a face.
pub const SCORE_MIN: f32 = 0.4;
/// Least overlap that makes two boxes of different frames one face.
const SAME_IOU: f32 = 0.3;

/// The faces on each frame, the detector included.
///
/// # Errors
/// When set-up has not fetched the model, or it fails.
pub fn faces_on(frames: &[Frame]) -> anyhow::Result<Vec<Vec<Rect>>> {
    let mut square = crate::bench::model::open("nudenet-320n", 1, |spec| Arc::make_mut(spec).input.fit = Fit::Square)?;
    let found = frames.iter().map(|frame| square.detect(&[frame]).map(|mut found| found.pop().unwrap_or_default()));
    Ok(faces(&found.collect::<Result<Vec<_>, _>>()?))
}

/// The faces of each frame, from the detections on each frame. A face that one frame's detections lack between two that have it is
/// taken to be half-way.
pub fn faces(detections: &[Vec<Detection>]) -> Vec<Vec<Rect>> {
    let strong: Vec<Vec<Rect>> = detections
        .iter()
        .map(|found| {
            let faces = found.iter().filter(|d| d.label.starts_with("FACE_") && d.confidence >= SCORE_MIN);
            faces.filter_map(|d| d.area).map(|a| a.clamped()).collect()
        })
        .collect();
    let at = |i: usize, by: isize| i.checked_add_signed(by).and_then(|j| strong.get(j)).map_or(&[][..], |v| &v[..]);
    let like = |of: &[Rect], face: &Rect| of.iter().copied().find(|r| r.iou(face) > SAME_IOU);
    (0..strong.len())
        .map(|i| {
            let seen_twice = |face: &&Rect| [-2, -1, 1, 2].iter().any(|&by| like(at(i, by), face).is_some());
            let mut faces: Vec<Rect> = strong[i].iter().filter(seen_twice).copied().collect();
            for before in at(i, -1) {
                if let Some(after) = like(at(i, 1), before) {
                    let between = before.lerp(&after, 0.5);
                    if like(&strong[i], &between).is_none() {
                        faces.push(between);
                    }
                }
            }
            faces
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(score: f32) -> Detection {
        Detection {
            detector: "n".into(),
            label: "FACE_MALE".into(),
            confidence: score,
            area: Some(Rect::new(0.4, 0.4, 0.2, 0.2)),
            trail: None,
        }
    }

    #[test]
    fn two_of_three_frames_make_a_face() {
        let counts =
            |scores: &[f32]| faces(&scores.iter().map(|&s| vec![face(s)]).collect::<Vec<_>>()).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(&[0.9, 0.1, 0.1, 0.1]), [0, 0, 0, 0]);
        assert_eq!(counts(&[0.9, 0.9, 0.1]), [1, 1, 0]);
        assert_eq!(counts(&[0.9, 0.1, 0.9]), [1, 1, 1]);
    }
}
