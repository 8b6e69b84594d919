//! The benches behind `scrim-bench NAME`, one file each.

pub mod batcher;
pub mod cascade_quality;
pub mod coverage;
pub mod model;
pub mod parity;
pub mod picture;
pub mod pictures_served;
pub mod pipeline;
pub mod policy;
pub mod streams_served;
pub mod words;
