//! What the end-to-end tests and the benches share.

pub mod bench;
pub mod built;
pub mod clip;
pub mod parity;
