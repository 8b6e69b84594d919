//! F1 and its bootstrap intervals. Pure.

use std::fmt;

/// Samples drawn for an interval.
const SAMPLES: usize = 2000;

/// One text: what was said of it and what people say.
#[derive(Clone, Copy)]
pub struct Outcome {
    pub flagged: bool,
    pub offensive: bool,
}

#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub hit: usize,
    pub false_alarm: usize,
    pub missed: usize,
    pub passed: usize,
}

impl<'a> FromIterator<&'a Outcome> for Counts {
    fn from_iter<I: IntoIterator<Item = &'a Outcome>>(outcomes: I) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            *match (outcome.flagged, outcome.offensive) {
                (true, true) => &mut counts.hit,
                (true, false) => &mut counts.false_alarm,
                (false, true) => &mut counts.missed,
                (false, false) => &mut counts.passed,
            } += 1;
        }
        counts
    }
}

impl Counts {
    pub fn precision(self) -> f64 {
        self.hit as f64 / (self.hit + self.false_alarm).max(1) as f64
    }

    pub fn recall(self) -> f64 {
        self.hit as f64 / (self.hit + self.missed).max(1) as f64
    }

    pub fn f1(self) -> f64 {
        2.0 * self.hit as f64 / (2 * self.hit + self.false_alarm + self.missed).max(1) as f64
    }

    /// F1 where both labels weigh the same: that of as many texts of either.
    pub fn f1_balanced(self) -> f64 {
        let false_rate = self.false_alarm as f64 / (self.false_alarm + self.passed).max(1) as f64;
        2.0 * self.recall() / (1.0 + self.recall() + false_rate)
    }
}

/// A figure with its 95 % interval.
pub struct Interval {
    value: f64,
    low: f64,
    high: f64,
}

impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:+.4} [{:+.4}, {:+.4}]", self.value, self.low, self.high)
    }
}

/// F1, balanced F1, and F1 less that of `first`, over the same drawn texts; the same draws at every call.
pub fn intervals(own: &[Outcome], first: &[Outcome]) -> [Interval; 3] {
    let figures = |own: Counts, first: Counts| [own.f1(), own.f1_balanced(), own.f1() - first.f1()];
    let values = figures(own.iter().collect(), first.iter().collect());
    let mut random = fastrand::Rng::with_seed(6);
    let mut drawn: [Vec<f64>; 3] = Default::default();
    for _ in 0..SAMPLES {
        let places: Vec<usize> = (0..own.len()).map(|_| random.usize(0..own.len())).collect();
        let of = |outcomes: &[Outcome]| places.iter().map(|&at| &outcomes[at]).collect::<Counts>();
        for (all, figure) in drawn.iter_mut().zip(figures(of(own), of(first))) {
            all.push(figure);
        }
    }
    let mut values = values.into_iter();
    drawn.map(|mut all| {
        all.sort_by(f64::total_cmp);
        Interval { value: values.next().unwrap_or_default(), low: all[SAMPLES / 40], high: all[SAMPLES - 1 - SAMPLES / 40] }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balance_is_that_of_equal_shares() {
        let outcomes = |flagged, offensive, times| std::iter::repeat_n(Outcome { flagged, offensive }, times);
        let all: Vec<Outcome> = outcomes(true, true, 8).chain(outcomes(false, true, 2)).chain(outcomes(true, false, 1)).collect();
        let counts: Counts = all.iter().chain(&outcomes(false, false, 4).collect::<Vec<_>>()).collect();
        assert!((counts.f1() - 16.0 / 19.0).abs() < 1e-9, "{}", counts.f1());
        assert!((counts.f1_balanced() - 1.6 / 2.0).abs() < 1e-9, "{}", counts.f1_balanced());
        let [f1, _, difference] = intervals(&all, &all);
        assert!(f1.low <= f1.value && f1.value <= f1.high && difference.low == 0.0 && difference.high == 0.0);
    }
}
