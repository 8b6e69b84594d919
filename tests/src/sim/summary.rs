//! What a run came to, for the one who reads a soak's output.

use std::fmt;

/// Figures of one run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub published: u64,
    pub dropped: u64,
    pub full: u64,
    pub passed: u64,
    pub looks: u64,
    /// Frames × things that had to be covered.
    pub due: u64,
    /// … that the detector missed, and of these those that were not covered.
    pub missed: u64,
    pub unlucky: u64,
    pub covered_area: f64,
    pub due_area: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |n: u64, of: u64| 100.0 * n as f64 / of.max(1) as f64;
        write!(
            f,
            "{} frames out, {} left out by shorter delays, {:.1} % whole",
            self.published,
            self.dropped,
            share(self.full, self.published)
        )?;
        write!(
            f,
            ", {:.1} % let pass unjudged, {:.2} looks a frame",
            share(self.passed, self.published),
            self.looks as f64 / self.published.max(1) as f64
        )?;
        write!(f, "; {} due and covered, {} missed, of which {} uncovered", self.due, self.missed, self.unlucky)?;
        write!(f, "; area {:.2} x", self.covered_area / self.due_area.max(1e-9))
    }
}
