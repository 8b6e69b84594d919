//! Thresholds that learn from people's reports, a little and for a while. The rules live in [`adapt`], pure and natively tested;
//! this file is the export.

pub mod adapt;
pub mod config;
pub mod decay;
