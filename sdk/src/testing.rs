//! Runs a policy natively, under `cargo test`, the way the host runs it: configure, call, snapshot, restore. It is the very code that
//! runs in WebAssembly, without the sandbox.

use std::ops::{Deref, DerefMut};

use crate::instance::{Exported, Instance};
use crate::log::{Level, captured};
use crate::types::Manifest;

/// One native instance of an exported policy. The slot's calls (`screen`; `judge`; `weigh`, `feedback`, `current`) and the life
/// cycle's (`snapshot`, `restore`, `source_ended`) are methods of it.
pub struct Harness<P: Exported>(Instance<P>);

impl<P: Exported> Harness<P> {
    /// An instance with the given settings, a JSON document; `{}` for the defaults.
    ///
    /// # Panics
    /// If the policy refuses them; call [`Harness::configure`] to see the refusal.
    pub fn new(config: &str) -> Self {
        captured::take();
        let mut harness = Self(Instance::default());
        if let Err(error) = harness.configure(config) {
            panic!("{} refused {config}: {error}", P::NAME);
        }
        harness
    }

    /// Changes the settings; the state stays. A refusal changes nothing.
    pub fn configure(&mut self, config: &str) -> Result<(), String> {
        self.0.configure(config)
    }

    /// Name, version and the JSON Schema of the settings.
    pub fn manifest() -> Manifest {
        Instance::<P>::describe()
    }

    /// Takes what the policy logged on this thread since the last time, oldest first.
    pub fn logs(&mut self) -> Vec<(Level, String)> {
        captured::take()
    }
}

impl<P: Exported> Deref for Harness<P> {
    type Target = Instance<P>;
    fn deref(&self) -> &Instance<P> {
        &self.0
    }
}

impl<P: Exported> DerefMut for Harness<P> {
    fn deref_mut(&mut self) -> &mut Instance<P> {
        &mut self.0
    }
}
