//! One run held against the reference.

use scrim_host::geometry::Rect;

/// A face frame is exposed when less than this share of a face is covered.
pub const COVERED_MIN: f32 = 0.95;

/// What one run of one clip came to.
#[derive(Clone, Debug, Default)]
pub struct Score {
    pub frames: usize,
    pub face_frames: usize,
    pub exposed: usize,
    /// The first exposed frames, for a look at what went wrong.
    pub exposed_at: Vec<usize>,
    /// Sum of covered area and of the faces' area, in frames.
    pub covered_area: f32,
    pub faces_area: f32,
    /// Frames with no face within the hold, and how much of their area is covered.
    pub far_frames: usize,
    pub far_area: f32,
    pub full_covers: usize,
    pub looks: usize,
}

impl Score {
    /// Covered area over the faces'.
    pub fn area_ratio(&self) -> f32 {
        self.covered_area / self.faces_area
    }

    /// Share of frames that were not looked at.
    pub fn saved(&self) -> f32 {
        1.0 - self.looks as f32 / self.frames.max(1) as f32
    }

    pub fn far_share(&self) -> f32 {
        self.far_area / self.far_frames.max(1) as f32
    }
}

/// `covers` holds each frame's covered areas, `faces` each frame's faces; `hold` in frames.
pub fn score(covers: &[Vec<Rect>], faces: &[Vec<Rect>], hold: usize, looks: usize, full_covers: usize) -> Score {
    let mut score = Score { frames: covers.len(), looks, full_covers, ..Score::default() };
    for (i, (cover, faces_here)) in covers.iter().zip(faces).enumerate() {
        let area = union(cover);
        score.covered_area += area;
        score.faces_area += union(faces_here);
        score.face_frames += usize::from(!faces_here.is_empty());
        let near = faces[i.saturating_sub(hold)..(i + hold + 1).min(faces.len())].iter().any(|f| !f.is_empty());
        if !near {
            score.far_frames += 1;
            score.far_area += area;
        }
        let hidden = |face: &Rect| {
            let parts: Vec<Rect> = cover.iter().map(|c| c.intersection(face)).collect();
            union(&parts) >= COVERED_MIN * face.area()
        };
        if !faces_here.iter().all(hidden) {
            score.exposed += 1;
            if score.exposed_at.len() < 8 {
                score.exposed_at.push(i);
            }
        }
    }
    score
}

fn union(areas: &[Rect]) -> f32 {
    scrim_host::vision::cover::covered_share(areas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_area_and_saving_are_counted() {
        let face = Rect::new(0.4, 0.4, 0.2, 0.2);
        let covers = [vec![face.grown(0.02, 0.02)], vec![face.moved(0.05, 0.0)], vec![]];
        let scored = score(&covers, &[vec![face], vec![face], vec![]], 0, 1, 0);
        assert_eq!((scored.frames, scored.face_frames, scored.exposed, scored.far_frames), (3, 2, 1, 1));
        assert_eq!(scored.exposed_at, [1]);
        assert!((scored.area_ratio() - (0.24f32.powi(2) + 0.04) / 0.08).abs() < 1e-4, "{}", scored.area_ratio());
        assert!((scored.saved() - 2.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn two_halves_cover_a_face() {
        let face = Rect::new(0.4, 0.4, 0.2, 0.2);
        let halves = vec![Rect::new(0.4, 0.4, 0.1, 0.2), Rect::new(0.5, 0.4, 0.1, 0.2)];
        assert_eq!(score(&[halves], &[vec![face]], 0, 1, 0).exposed, 0);
    }
}
