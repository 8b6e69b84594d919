//! A word that was heard, and what is remembered of its hearing.

use crate::media::frame::Micros;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct HeardWord {
    /// With the signs that stand at it.
    pub text: String,
    /// 0..=1.
    pub confidence: f32,
    pub from: Micros,
    pub to: Micros,
}

/// What a recogniser has made of sound, for when it hears the same with more at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Its own code.
    pub tokens: Vec<u32>,
    /// How many of those there are up to the end of each word.
    pub ends: Vec<usize>,
    /// So many, the first, are not to be heard anew.
    pub settled: usize,
}
