//! The next version of `cascade`: reads its state, and skips where that one looks.

use guests::{Config, Guest, State};
use scrim_sdk::{Cascade, Hints, Screening, Source, Thumbnail};

struct Next(Guest);

impl Cascade for Next {
    type Config = Config;
    type State = State;

    fn new(config: Config) -> Result<Self, String> {
        Guest::new(config).map(Self)
    }

    fn screen(&mut self, state: &mut State, _: u64, _: &Source, _: &Thumbnail, detectors: &[String], _: &Hints) -> Vec<Screening> {
        self.0.call(state);
        let reason = format!("call {}", state.calls);
        detectors.iter().map(|name| Screening::skip(name, &reason)).collect()
    }
}

scrim_sdk::export!(cascade: Next, name = "steady", version = "2.0.0");
