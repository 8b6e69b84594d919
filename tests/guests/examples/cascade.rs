//! Looks with every detector, and says how many calls it has answered.

use guests::{Config, Guest, How, HUGE, State};
use scrim_sdk::{Cascade, Hints, Rect, Screening, Source, Thumbnail};

struct Steady(Guest);

impl Cascade for Steady {
    type Config = Config;
    type State = State;

    fn new(config: Config) -> Result<Self, String> {
        Guest::new(config).map(Self)
    }

    fn screen(&mut self, state: &mut State, _: u64, _: &Source, _: &Thumbnail, detectors: &[String], _: &Hints) -> Vec<Screening> {
        let reason = format!("call {}", state.calls + 1);
        if !self.0.call(state) {
            return detectors.iter().map(|name| Screening::look(name, &reason)).collect();
        }
        let far = Rect { x: f32::NAN, y: -3.0, width: f32::INFINITY, height: 9.0 };
        match self.0.how() {
            How::Huge => vec![Screening::look("nudity", "a long reason ".repeat(8)); HUGE],
            _ => vec![Screening::look_at("no-such-detector", vec![far], ""), Screening::look_at("nudity", vec![far], "")],
        }
    }

    fn source_ended(&mut self, _: &mut State, _: u64, _: &str) {
        self.0.ended();
    }
}

scrim_sdk::export!(cascade: Steady, name = "steady", version = "1.0.0");
