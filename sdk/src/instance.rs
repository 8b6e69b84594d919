//! A running policy: its prepared settings and its state. The same natively (behind [`crate::testing`]) and in WebAssembly.
//!
//! Always holds: a refused `configure` or `restore` leaves both as they were, `configure` never touches the state, `restore` never
//! touches the settings.

use std::marker::PhantomData;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::policy::{Cascade, Text, Threshold};
use crate::state;
use crate::types::{Detection, Finding, Hints, LabelThreshold, Manifest, Screening, Source, Thumbnail, Utterance, Verdict};

/// What the three slots' traits have in common, so that [`Instance`] is written once.
#[doc(hidden)]
pub trait Common: 'static {
    type Policy;
    type Config: DeserializeOwned + JsonSchema + Default;
    type State: Serialize + DeserializeOwned + Default;
    const STATE_VERSION: u32;
    fn new(config: Self::Config) -> Result<Self::Policy, String>;
    fn upgrade(version: u32, bytes: &[u8]) -> Result<Self::State, String>;
    fn source_ended(policy: &mut Self::Policy, state: &mut Self::State, at_us: u64, source_id: &str);
}

macro_rules! slot {
    ($($name:ident: $slot:ident),*) => {$(
        #[doc(hidden)]
        pub struct $name<P>(PhantomData<P>);

        impl<P: $slot> Common for $name<P> {
            type Policy = P;
            type Config = P::Config;
            type State = P::State;
            const STATE_VERSION: u32 = P::STATE_VERSION;
            fn new(config: P::Config) -> Result<P, String> {
                P::new(config)
            }
            fn upgrade(version: u32, bytes: &[u8]) -> Result<P::State, String> {
                P::upgrade(version, bytes)
            }
            fn source_ended(policy: &mut P, state: &mut P::State, at_us: u64, source_id: &str) {
                policy.source_ended(state, at_us, source_id);
            }
        }
    )*};
}

slot!(CascadeSlot: Cascade, TextSlot: Text, ThresholdSlot: Threshold);

/// What `export!` writes down about a policy.
#[doc(hidden)]
pub trait Exported: Sized + 'static {
    const NAME: &'static str;
    const VERSION: &'static str;
    type Slot: Common<Policy = Self>;
}

#[doc(hidden)]
pub struct Instance<P: Exported> {
    policy: Option<P>,
    state: <P::Slot as Common>::State,
}

impl<P: Exported> Default for Instance<P> {
    fn default() -> Self {
        #[cfg(target_arch = "wasm32")]
        std::panic::set_hook(Box::new(|info| crate::log::error(info)));
        Self { policy: None, state: Default::default() }
    }
}

impl<P: Exported> Instance<P> {
    pub fn describe() -> Manifest {
        let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<<P::Slot as Common>::Config>();
        Manifest { name: P::NAME.into(), version: P::VERSION.into(), config_schema: schema.as_value().to_string() }
    }

    pub fn configure(&mut self, config: &str) -> Result<(), String> {
        let config = serde_json::from_str(config).map_err(|error| format!("the settings do not fit: {error}"))?;
        self.policy = Some(P::Slot::new(config)?);
        Ok(())
    }

    pub fn snapshot(&self) -> Vec<u8> {
        state::encode(P::Slot::STATE_VERSION, &self.state)
    }

    pub fn restore(&mut self, from_version: &str, snapshot: &[u8]) -> Result<(), String> {
        let read = state::split(snapshot).and_then(|(version, bytes)| {
            if version == P::Slot::STATE_VERSION { state::decode(bytes) } else { P::Slot::upgrade(version, bytes) }
        });
        self.state = read.map_err(|error| format!("{} {} cannot take the state of {from_version}: {error}", P::NAME, P::VERSION))?;
        Ok(())
    }

    pub fn source_ended(&mut self, at_us: u64, source_id: &str) {
        let (policy, state) = self.parts();
        P::Slot::source_ended(policy, state, at_us, source_id);
    }

    /// The host configures before it calls; who does not gets the defaults.
    fn parts(&mut self) -> (&mut P, &mut <P::Slot as Common>::State) {
        let policy = self.policy.get_or_insert_with(|| match P::Slot::new(Default::default()) {
            Ok(policy) => policy,
            Err(error) => panic!("{} refuses its own default settings: {error}", P::NAME),
        });
        (policy, &mut self.state)
    }
}

impl<P: Exported<Slot = CascadeSlot<P>> + Cascade> Instance<P> {
    pub fn screen(&mut self, at_us: u64, source: &Source, frame: &Thumbnail, detectors: &[String], hints: &Hints) -> Vec<Screening> {
        let (policy, state) = self.parts();
        policy.screen(state, at_us, source, frame, detectors, hints)
    }
}

impl<P: Exported<Slot = TextSlot<P>> + Text> Instance<P> {
    pub fn judge(&mut self, at_us: u64, utterance: &Utterance) -> Vec<Finding> {
        let (policy, state) = self.parts();
        policy.judge(state, at_us, utterance)
    }
}

impl<P: Exported<Slot = ThresholdSlot<P>> + Threshold> Instance<P> {
    pub fn weigh(&mut self, at_us: u64, source: &Source, found: &[Detection]) -> Vec<Verdict> {
        let (policy, state) = self.parts();
        policy.weigh(state, at_us, source, found)
    }

    pub fn feedback(&mut self, at_us: u64, event_id: &str, reporter: &str, found: &Detection, correct: bool) -> Vec<LabelThreshold> {
        let (policy, state) = self.parts();
        policy.feedback(state, at_us, event_id, reporter, found, correct)
    }

    pub fn current(&mut self, at_us: u64) -> Vec<LabelThreshold> {
        let (policy, state) = self.parts();
        policy.current(state, at_us)
    }
}
