//! What the end-to-end tests and the benches share.

pub mod bench;
pub mod browser;
pub mod built;
pub mod burnt;
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
