//! One room: its sources, its policies, the one task that changes them.

pub mod admission;
pub mod channel;
pub mod judges;
pub mod line;
pub mod listening;
pub mod live;
pub mod look;
pub mod mutant;
pub mod note;
pub mod offline;
pub mod policies;
pub mod published;
pub mod reading;
pub mod request;
pub mod settings;
pub mod source;
pub mod strain;
pub mod transcript;
pub mod words;
