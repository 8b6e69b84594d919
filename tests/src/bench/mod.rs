//! The benches behind `scrim-bench NAME`, one file each.

pub mod model;
pub mod parity;
