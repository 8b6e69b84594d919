//! A later version of `cascade` that cannot read its state.

use scrim_sdk::{Cascade, Hints, NoConfig, Screening, Source, Thumbnail};

struct Unreadable;

impl Cascade for Unreadable {
    type Config = NoConfig;
    type State = String;
    const STATE_VERSION: u32 = 99;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn screen(&mut self, _: &mut String, _: u64, _: &Source, _: &Thumbnail, detectors: &[String], _: &Hints) -> Vec<Screening> {
        detectors.iter().map(|name| Screening::skip(name, "unreadable")).collect()
    }
}

scrim_sdk::export!(cascade: Unreadable, name = "steady", version = "3.0.0");
