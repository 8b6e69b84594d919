//! Ways to be wrong, each of which the simulation must notice. Only the feature `mutants` (tests) can switch one on.

/// One deliberate fault of the frame path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    NoHold,
    NoFreshnessCheck,
    EarlyCommit,
    OffByOneFrame,
    StaleMask,
    OpenOnTrap,
    VerdictsOutOfOrder,
    LookAcrossCut,
    SkipCountedAsLook,
    DelayShortenedAtOnce,
    RequiredLookReplaced,
}

impl Mutant {
    pub const ALL: [Mutant; 11] = [
        Mutant::NoHold,
        Mutant::NoFreshnessCheck,
        Mutant::EarlyCommit,
        Mutant::OffByOneFrame,
        Mutant::StaleMask,
        Mutant::OpenOnTrap,
        Mutant::VerdictsOutOfOrder,
        Mutant::LookAcrossCut,
        Mutant::SkipCountedAsLook,
        Mutant::DelayShortenedAtOnce,
        Mutant::RequiredLookReplaced,
    ];
}

/// Whether a mutant is switched on: constant false without the feature, so that nothing of it is left in a release.
macro_rules! mutant {
    ($active:expr, $which:expr) => {
        cfg!(feature = "mutants") && $active == Some($which)
    };
}
pub(crate) use mutant;
