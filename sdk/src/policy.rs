//! The three traits that an author implements, one per slot.
//!
//! The value that implements the trait is *prepared settings*: it is made anew by every `configure`. What a policy learns lives in its
//! `State`, which the SDK owns: a change of settings keeps it, a snapshot saves it, a restore replaces it or leaves it alone. So no
//! policy can get these wrong.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::{Detection, Finding, Hints, LabelThreshold, Screening, Source, Thumbnail, Utterance, Verdict};

/// The items that every slot's trait has.
macro_rules! common {
    () => {
        /// What an admin sets. Its JSON Schema is derived; `{}` stands for the defaults, so give the type
        /// `#[serde(default, deny_unknown_fields)]`. [`crate::NoConfig`] where there is nothing to set.
        type Config: DeserializeOwned + JsonSchema + Default;

        /// What the policy learns. Kept by a change of settings, saved in snapshots, carried over to the next version of the plugin.
        /// Saved without field names (postcard), so any change of its fields needs a new [`Self::STATE_VERSION`], and
        /// serde attributes that skip or flatten fields do not work in it. Prefer `BTreeMap` to `HashMap`: its order, and so the
        /// snapshot's bytes, follow from its contents alone. [`crate::NoState`] where there is nothing to learn.
        type State: Serialize + DeserializeOwned + Default;

        /// Raise it with every change of [`Self::State`].
        const STATE_VERSION: u32 = 1;

        /// Checks the settings and prepares what the calls need. An error refuses the settings; those in force stay.
        fn new(config: Self::Config) -> Result<Self, String>;

        /// Reads a state that was saved under another `version` than [`Self::STATE_VERSION`]. Refused by default; decode the old
        /// type with [`crate::state::decode`] to accept it.
        fn upgrade(version: u32, bytes: &[u8]) -> Result<Self::State, String> {
            let _ = bytes;
            Err(crate::state::unknown(version, Self::STATE_VERSION))
        }

        /// The source is gone for good: forget what was kept for it.
        fn source_ended(&mut self, state: &mut Self::State, at_us: u64, source_id: &str) {
            let _ = (state, at_us, source_id);
        }
    };
}

/// A policy for the cascade slot: which detectors look at a frame.
pub trait Cascade: Sized + 'static {
    common!();

    /// Which of `detectors` shall look at this frame; one that the answer does not name looks at the whole of it. Never asked about
    /// a look that the host requires.
    fn screen(
        &mut self,
        state: &mut Self::State,
        at_us: u64,
        source: &Source,
        frame: &Thumbnail,
        detectors: &[String],
        hints: &Hints,
    ) -> Vec<Screening>;
}

/// A policy for the text slot: what is wrong with words said, shown or typed.
pub trait Text: Sized + 'static {
    common!();

    /// What is wrong with the utterance; nothing, if the answer is empty.
    fn judge(&mut self, state: &mut Self::State, at_us: u64, utterance: &Utterance) -> Vec<Finding>;
}

/// A policy for the threshold slot: which detections count, learnt from what people say of them.
pub trait Threshold: Sized + 'static {
    common!();

    /// One verdict per detection, in the same order.
    fn weigh(&mut self, state: &mut Self::State, at_us: u64, source: &Source, found: &[Detection]) -> Vec<Verdict>;

    /// What a person said of one detection; returns the thresholds that changed.
    fn feedback(
        &mut self,
        state: &mut Self::State,
        at_us: u64,
        event_id: &str,
        reporter: &str,
        found: &Detection,
        correct: bool,
    ) -> Vec<LabelThreshold>;

    /// Every threshold that differs from the policy's default.
    fn current(&mut self, state: &mut Self::State, at_us: u64) -> Vec<LabelThreshold>;
}
