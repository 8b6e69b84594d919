//! How far behind a detector is, from what became of its last looks, and what the frame path gives up for it (invariant 2): first
//! the looks that nothing requires, then tight masks; what is unjudged even so is the fail mode's.

use std::collections::VecDeque;

/// What is given up. Ordered: each step keeps those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strain {
    /// Nothing.
    #[default]
    None,
    /// Looks that invariant 1 does not require: the interval becomes the clock's.
    Optional,
    /// The same, and asking again; masks are widened.
    Wide,
}

/// Looks that are remembered; at the clock's pace alone some 1.2 s of a delay of 400 ms.
const WINDOW: usize = 8;
/// Late ones among them from which optional looks are left out. One late look in each `look_max_ms`, which the clock's pace allows
/// for, is at most one in three.
const OPTIONAL_MIN: usize = 3;
/// Late ones among them from which masks are widened.
const WIDE_MIN: usize = 5;

/// The outcomes of one detector's last looks.
#[derive(Clone, Debug, Default)]
pub struct Outcomes(VecDeque<bool>);

impl Outcomes {
    /// A look came in time, or exceeded its budget or failed. To be told once of each request.
    pub fn note(&mut self, late: bool) {
        if self.0.len() == WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(late);
    }

    pub fn strain(&self) -> Strain {
        match self.0.iter().filter(|late| **late).count() {
            n if n >= WIDE_MIN => Strain::Wide,
            n if n >= OPTIONAL_MIN => Strain::Optional,
            _ => Strain::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Rect;
    use crate::media::frame::{Frame, FrameSeq, Matrix, Micros, Range, i420_len};
    use crate::room::look::Why;
    use crate::room::published::Cover;
    use crate::room::request::Request;
    use crate::room::settings::{DetectorSettings, FailMode, LabelSet, Settings};
    use crate::room::source::Source;
    use crate::vision::detection::{Detection, Verdict};
    use crate::vision::sampler::SamplerRule;

    const BUDGET_MS: u64 = 60;
    const FACE: Rect = Rect::new(0.4, 0.4, 0.2, 0.2);

    /// Three seconds of a still face; looks take `latency_ms(second)`. Returns, for each second, the optional requests, the frames
    /// covered whole and the area of the last mask.
    fn seconds(latency_ms: impl Fn(u64) -> u64) -> Vec<(usize, usize, f32)> {
        let detector =
            DetectorSettings { name: "nudity".into(), look_budget: Micros::from_millis(BUDGET_MS), cover: LabelSet::new(["FACE_*"]) };
        let mut source = Source::new(Arc::new(Settings {
            delay: Micros::from_millis(400),
            look_max: Micros::from_millis(307),
            hold: Micros::from_millis(800),
            skip_max: Micros::ZERO,
            fail_mode: FailMode::Closed,
            sampler: SamplerRule::Fixed(2),
            detectors: vec![detector],
            text: None,
            patience: Micros::ZERO,
            style: crate::vision::cover::Style::default(),
        }));
        let mut answers: Vec<(u64, crate::room::request::LookId)> = Vec::new();
        let mut out = vec![(0, 0, 0.0); 5];
        for ms in 0..5000u64 {
            let now = Micros::from_millis(ms);
            let second = &mut out[(ms / 1000) as usize];
            if ms % 33 == 0 {
                let frame = Frame::new(FrameSeq(ms / 33), now, 96, 54, Range::Limited, Matrix::Bt601, vec![90; i420_len(96, 54)]);
                source.push(frame, now).expect("in order");
            }
            let (due, later): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(at, _)| *at <= ms);
            answers = later;
            for (_, id) in due {
                let found = Detection { detector: "nudity".into(), label: "FACE_A".into(), confidence: 0.9, area: Some(FACE), trail: None };
                source.looked(id, vec![found], now);
            }
            while let Some(published) = source.publish(now) {
                match published.cover {
                    Cover::Full { .. } => second.1 += 1,
                    Cover::Masks(masks) => second.2 = masks.iter().map(Rect::area).sum(),
                }
            }
            while let Some(request) = source.next_request() {
                match request {
                    Request::Screen { frame, .. } => {
                        second.0 += 1;
                        source.screened(frame.seq, |_| true, now);
                    }
                    Request::Look { id, why, .. } => {
                        second.0 += usize::from(matches!(why, Why::Cascade | Why::Bisect));
                        answers.push((ms + latency_ms(ms / 1000), id));
                    }
                    Request::Weigh { id, detections, .. } => {
                        source.weighed(&id, 1, detections.iter().map(|_| Verdict { counts: true, threshold: 0.5 }).collect(), now);
                    }
                    Request::Read { .. } | Request::Judge { .. } => panic!("no text is read here"),
                }
            }
        }
        out
    }

    #[test]
    fn overload_gives_up_optional_looks_then_tight_masks_and_comes_back() {
        let calm = seconds(|_| 20);
        let late = seconds(|second| if second == 1 || second == 2 { BUDGET_MS + 90 } else { 20 });
        assert!(calm.iter().all(|s| s.0 > 5 && s.1 == 0), "{calm:?}");
        assert!(late[2].0 == 0 && late[2].2 > 1.3 * calm[2].2, "{late:?} against {calm:?}");
        assert!(late[4].0 > 5 && late[4].2 < 1.2 * calm[4].2, "{late:?} against {calm:?}");
        assert!(late.iter().all(|s| s.1 == 0), "late is not lost: {late:?}");
    }

    #[test]
    fn a_dead_detector_ends_in_the_fail_mode() {
        let dead = seconds(|second| if second >= 1 { 1_000_000 } else { 20 });
        assert_eq!(dead[0].1, 0);
        assert!(dead[3].1 >= 29 && dead[3].0 == 0, "{dead:?}");
    }

    fn after(late: &[bool]) -> Strain {
        let mut outcomes = Outcomes::default();
        late.iter().for_each(|&late| outcomes.note(late));
        outcomes.strain()
    }

    #[test]
    fn one_late_look_in_four_gives_up_nothing_and_a_dead_detector_all() {
        assert_eq!(after(&[false, true, false, false].repeat(5)), Strain::None);
        assert_eq!(after(&[true, false].repeat(5)), Strain::Optional);
        assert_eq!(after(&[true; 5]), Strain::Wide);
    }

    #[test]
    fn it_passes_with_looks_that_come_in_time() {
        let outcomes: Vec<bool> = [[true; WINDOW], [false; WINDOW]].concat();
        assert_eq!(after(&outcomes), Strain::None);
    }

    proptest! {
        #[test]
        fn one_more_late_look_never_lowers_it(late in prop::collection::vec(any::<bool>(), 0..20), at in 0usize..20) {
            let mut later = late.clone();
            if let Some(outcome) = later.get_mut(at) {
                *outcome = true;
            }
            prop_assert!(after(&later) >= after(&late));
        }
    }
}
