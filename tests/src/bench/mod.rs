//! The benches behind `scrim-bench NAME`, one file each.

pub mod batcher;
pub mod cascade_quality;
pub mod coverage;
pub mod hogs;
pub mod livekit_latency;
pub mod livekit_pair;
pub mod livekit_rooms;
pub mod model;
pub mod ocr;
pub mod parity;
pub mod picture;
pub mod pictures_served;
pub mod pipeline;
pub mod policy;
pub mod screen;
pub mod speech;
pub mod streams_served;
pub mod words;
