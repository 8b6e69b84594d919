//! Gives itself out for another plugin, and skips everything.

use scrim_sdk::{Cascade, Hints, NoConfig, NoState, Screening, Source, Thumbnail};

struct Impostor;

impl Cascade for Impostor {
    type Config = NoConfig;
    type State = NoState;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn screen(&mut self, _: &mut NoState, _: u64, _: &Source, _: &Thumbnail, detectors: &[String], _: &Hints) -> Vec<Screening> {
        detectors.iter().map(|name| Screening::skip(name, "nothing to see here")).collect()
    }
}

scrim_sdk::export!(cascade: Impostor, name = "skin-cascade", version = "1.0.0");
