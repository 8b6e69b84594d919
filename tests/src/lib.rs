//! What the end-to-end tests and the benches share.

pub mod bench;
pub mod browser;
pub mod built;
pub mod burnt;
pub mod cells;
pub mod clip;
pub mod coverage;
pub mod faults;
pub mod fuzz;
pub mod guest;
pub mod joins;
pub mod livekit;
pub mod memory;
pub mod net;
pub mod parity;
pub mod peer;
pub mod portrait;
pub mod publisher;
pub mod recorded;
pub mod ribbon;
pub mod seen;
pub mod served;
pub mod sim;
pub mod soak;
pub mod sound;
pub mod typeset;
pub mod watched;

/// Whether the pictures in `docs/` are to be made anew from what a test saw: `SCRIM_BLESS=1`; empty is as good as unset.
pub fn blesses() -> bool {
    std::env::var_os("SCRIM_BLESS").is_some_and(|value| !value.is_empty())
}
