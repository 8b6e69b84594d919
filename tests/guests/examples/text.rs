//! Finds every word `bad`.

use guests::{Config, Guest, How, HUGE, State};
use scrim_sdk::{Category, Finding, Text, Utterance, WordRange};

struct Bad(Guest);

fn finding(first: u32, count: u32, severity: f32) -> Finding {
    let words = WordRange { first, count };
    Finding { words, category: Category::Profanity, severity, confidence: 1.0, reason: "the word bad".into() }
}

impl Text for Bad {
    type Config = Config;
    type State = State;

    fn new(config: Config) -> Result<Self, String> {
        Guest::new(config).map(Self)
    }

    fn judge(&mut self, state: &mut State, _: u64, utterance: &Utterance) -> Vec<Finding> {
        if !self.0.call(state) {
            let bad = utterance.words.iter().enumerate().filter(|(_, word)| word.text == "bad");
            return bad.map(|(at, _)| finding(at as u32, 1, 0.5)).collect();
        }
        match self.0.how() {
            How::Huge => vec![finding(0, 1, 0.5); HUGE],
            _ => vec![finding(u32::MAX, 3, f32::NAN), finding(0, u32::MAX, -1.0)],
        }
    }

    fn source_ended(&mut self, _: &mut State, _: u64, _: &str) {
        self.0.ended();
    }
}

scrim_sdk::export!(text: Bad, name = "steady-text", version = "1.0.0");
