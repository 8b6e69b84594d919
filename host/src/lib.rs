//! Scrim's host. See ARCHITECTURE.md for how a frame travels through these modules.

pub mod api;
pub mod censor;
pub mod cli;
pub mod config;
pub mod geometry;
pub mod host;
pub mod infer;
pub mod media;
pub mod outside;
pub mod plugin;
pub mod report;
pub mod room;
pub mod serve;
pub mod speech;
pub mod store;
pub mod telemetry;
pub mod vision;
pub mod words;
