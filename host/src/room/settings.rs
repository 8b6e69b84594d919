//! What a room is set to, in the terms of the frame path. Parsed and checked elsewhere (`config`); immutable once in force: a change
//! makes a new one, which binds the frames captured after it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::media::frame::Micros;
use crate::vision::cover::Style;
use crate::vision::sampler::SamplerRule;

/// What happens to a frame that could not be judged in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailMode {
    /// The whole frame is covered.
    Closed,
    /// It passes with every mask known or held.
    Open,
}

/// Labels, by globs such as `FACE_*`.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelSet(Vec<WildMatch>);

impl LabelSet {
    pub fn new<'a>(globs: impl IntoIterator<Item = &'a str>) -> Self {
        Self(globs.into_iter().map(WildMatch::new).collect())
    }

    pub fn contains(&self, label: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(label))
    }
}

/// One enabled detector.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorSettings {
    pub name: Arc<str>,
    /// How long one look may take from its request to its verdict; admission holds it.
    pub look_budget: Micros,
    pub cover: LabelSet,
}

/// What is covered where something is found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum MaskUnit {
    /// The words that were found.
    Word,
    /// Their lines.
    Line,
    /// All lines that were read as one piece with them.
    Block,
}

/// How text in the picture is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextSettings {
    /// The shortest time between two reads of a picture that goes on changing.
    pub every: Micros,
    /// How long one read may take, waiting included.
    pub budget: Micros,
    pub mask: MaskUnit,
}

impl TextSettings {
    /// How far apart two reads may be that vouch for what lies between them: two intervals, and the time that a read takes.
    pub fn pair_max(&self) -> Micros {
        Micros(self.every.0 * 2) + self.budget
    }
}

/// One room's frame path.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// From capture to publication.
    pub delay: Micros,
    /// How far apart two looks may be that judge the frames between them.
    pub look_max: Micros,
    pub hold: Micros,
    /// How long a cascade's skips may stand for looks.
    pub skip_max: Micros,
    pub fail_mode: FailMode,
    pub sampler: SamplerRule,
    pub detectors: Vec<DetectorSettings>,
    /// None: text in the picture is not read and passes.
    pub text: Option<TextSettings>,
    /// How long a look that the clock asks for may wait for a cut to come, which would ask for another one beside it.
    pub patience: Micros,
    /// What a covered area looks like.
    pub style: Style,
}

impl Settings {
    /// The largest `look_max` that a delay leaves: delay − look budget − one frame (invariant 1); none if nothing is left.
    pub fn look_max_for(delay: Micros, look_budget: Micros, frame: Micros) -> Option<Micros> {
        delay.0.checked_sub(look_budget.0 + frame.0).filter(|&left| left > 0).map(Micros)
    }

    /// How far apart the clock's looks are: half of `look_max`, so that one that fails uncovers nothing.
    pub fn clock(&self) -> Micros {
        Micros(self.look_max.0 / 2)
    }

    pub fn detector(&self, name: &str) -> Option<&DetectorSettings> {
        self.detectors.iter().find(|d| &*d.name == name)
    }
}
