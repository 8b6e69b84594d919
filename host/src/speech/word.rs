//! A word that was heard.

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
