//! Everything counts that is at least a quarter sure; feedback moves nothing.

use guests::{Config, Guest, How, HUGE, State};
use scrim_sdk::{Detection, LabelThreshold, Source, Threshold, Verdict};

/// Below the score from which the reference takes a face for one, so that what it lets pass is no exposure.
const SURE: f32 = 0.25;

struct Quarter(Guest);

impl Threshold for Quarter {
    type Config = Config;
    type State = State;

    fn new(config: Config) -> Result<Self, String> {
        Guest::new(config).map(Self)
    }

    fn weigh(&mut self, state: &mut State, _: u64, _: &Source, found: &[Detection]) -> Vec<Verdict> {
        if !self.0.call(state) {
            return found.iter().map(|one| Verdict { counts: one.confidence >= SURE, threshold: SURE }).collect();
        }
        match self.0.how() {
            How::Huge => vec![Verdict { counts: false, threshold: 1.0 }; HUGE],
            _ => vec![Verdict { counts: false, threshold: f32::NAN }; found.len() + 1],
        }
    }

    fn feedback(&mut self, state: &mut State, _: u64, _: &str, _: &str, found: &Detection, _: bool) -> Vec<LabelThreshold> {
        self.0.call(state);
        let (detector, label) = (found.detector.clone(), found.label.clone());
        vec![LabelThreshold { detector, label, threshold: SURE }]
    }

    fn current(&mut self, _: &mut State, _: u64) -> Vec<LabelThreshold> {
        Vec::new()
    }

    fn source_ended(&mut self, _: &mut State, _: u64, _: &str) {
        self.0.ended();
    }
}

scrim_sdk::export!(threshold: Quarter, name = "steady-threshold", version = "1.0.0");
