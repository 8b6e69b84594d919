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
    use proptest::prelude::*;

    use super::*;

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
