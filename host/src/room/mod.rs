//! One room: its sources, its policies, the one task that changes them.

pub mod channel;
pub mod mutant;
pub mod settings;
pub mod source;
