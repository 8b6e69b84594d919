//! Never gets through its own start.

use scrim_sdk::{Cascade, Hints, NoConfig, NoState, Screening, Source, Thumbnail};

struct Start;

impl Cascade for Start {
    type Config = NoConfig;
    type State = NoState;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn screen(&mut self, _: &mut NoState, _: u64, _: &Source, _: &Thumbnail, _: &[String], _: &Hints) -> Vec<Screening> {
        Vec::new()
    }
}

scrim_sdk::export!(cascade: Start, name = "start", version = "1.0.0");

/// The component's start: runs when it is instantiated.
#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    guests::spin();
}
