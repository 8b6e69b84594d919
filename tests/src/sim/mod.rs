//! The simulation: moving things that are the oracle, faults drawn from a seed, virtual time, and the invariants of the frame path
//! asserted after every published frame. Nothing here asks the code under test what is right: which frames may leave in the clear
//! is decided anew in [`rules`], from the log of looks and from what the oracle drew.
//!
//! The same seed, plan and number of frames give the same run on any machine.

pub mod driver;
pub mod plan;
pub mod rules;
pub mod summary;
pub mod world;

use std::fmt;

use scrim_host::room::mutant::Mutant;

pub use driver::run;
pub use plan::Plan;
pub use summary::Summary;

/// An assertion that did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breach {
    /// A frame left twice, or before an older one.
    Order,
    /// A frame left before its capture and the delay in force, or after.
    Time,
    /// Captured is not published, left out for a stated reason, or in the line.
    Account,
    /// A frame left in the clear or masked that no looks judge.
    Unjudged,
    /// A thing that looks saw is not covered.
    Exposed,
    /// A look that was answered in time did not come to be weighed, or is not on the timeline as it was.
    LookLost,
    /// A frame was covered whole although nothing had failed.
    FullCover,
    /// Too few frames in the clear.
    TooDark,
    /// An unjudged frame passed in a room that fails closed, or was covered whole in one that fails open.
    FailMode,
    /// More things went uncovered for misses of the detector than its share of misses explains.
    Misses,
    /// Far more is covered than there are things.
    OverCover,
    /// The source asks to be woken in the past.
    Busy,
    /// A look that nothing requires was asked for while looks came late.
    Overload,
}

/// What went wrong and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub plan: Plan,
    pub mutant: Option<Mutant>,
    pub breach: Breach,
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, plan, mutant, breach, detail } = self;
        write!(f, "{breach:?}: {detail}\n  seed {seed}, plan {plan:?}, mutant {mutant:?}")?;
        write!(
            f,
            "\n  to see it again: SCRIM_SIM_SEED={seed} SCRIM_SIM_PLAN={plan:?} cargo test --release -p scrim-tests --test simulation"
        )
    }
}

impl std::error::Error for Failure {}

/// The seed to replay, if one is named by `SCRIM_SIM_SEED`; otherwise those of the continuous integration.
pub fn seeds() -> Vec<u64> {
    match std::env::var("SCRIM_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => vec![1, 2],
    }
}

/// The plan to replay, if one is named by `SCRIM_SIM_PLAN`; otherwise all.
pub fn plans() -> Vec<Plan> {
    let named = std::env::var("SCRIM_SIM_PLAN").unwrap_or_default();
    Plan::ALL.into_iter().filter(|plan| named.is_empty() || format!("{plan:?}") == named).collect()
}

/// Frames of one run.
pub const FRAMES: u64 = 10_000;

/// Runs seeds from `first` on, every plan, until one fails; prints a line for each seed. The hook of `scrim-soak simulation`.
///
/// # Errors
/// The first run in which an assertion did not hold.
pub fn soak(first: u64, seeds: u64, frames: u64) -> Result<(), Failure> {
    for seed in first..first + seeds {
        for plan in plans() {
            println!("seed {seed}, {plan:?}: {}", run(seed, plan, frames, None)?);
        }
    }
    Ok(())
}
