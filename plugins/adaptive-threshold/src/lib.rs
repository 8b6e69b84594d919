//! Thresholds that learn from people's reports, a little and for a while. The rules live in [`adapt`], pure and natively tested;
//! this file is the export.

pub mod adapt;
pub mod config;
pub mod decay;

use adapt::{Seen, State};
use config::Config;
use scrim_sdk::{Detection, LabelThreshold, Source, Threshold, Verdict};

/// The policy: an admin's settings, checked.
pub struct AdaptiveThreshold(Config);

impl Threshold for AdaptiveThreshold {
    type Config = Config;
    type State = State;

    fn new(config: Config) -> Result<Self, String> {
        config.validate()?;
        Ok(Self(config))
    }

    fn source_ended(&mut self, state: &mut State, at_us: u64, source_id: &str) {
        state.source_ended(at_us, source_id);
    }

    fn weigh(&mut self, state: &mut State, at_us: u64, source: &Source, found: &[Detection]) -> Vec<Verdict> {
        let seen: Vec<Seen<'_>> = found.iter().map(seen).collect();
        let weighed = state.weigh(&self.0, at_us, &source.id, &seen);
        weighed.into_iter().map(|w| Verdict { counts: w.counts, threshold: w.threshold }).collect()
    }

    fn feedback(
        &mut self,
        state: &mut State,
        at_us: u64,
        event_id: &str,
        reporter: &str,
        found: &Detection,
        correct: bool,
    ) -> Vec<LabelThreshold> {
        state.feedback(&self.0, at_us, event_id, reporter, &seen(found), correct).into_iter().map(label_threshold).collect()
    }

    fn current(&mut self, state: &mut State, at_us: u64) -> Vec<LabelThreshold> {
        state.current(&self.0, at_us).into_iter().map(label_threshold).collect()
    }
}

scrim_sdk::export!(threshold: AdaptiveThreshold);

fn seen(found: &Detection) -> Seen<'_> {
    Seen { detector: &found.detector, label: &found.label, confidence: found.confidence, trail: found.trail }
}

fn label_threshold(of: adapt::LabelThreshold) -> LabelThreshold {
    LabelThreshold { detector: of.detector, label: of.label, threshold: of.threshold }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scrim_sdk::testing::Harness;

    fn found() -> Detection {
        Detection { detector: "nudenet".into(), label: "FACE_FEMALE".into(), confidence: 0.9, area: None, trail: None }
    }

    #[test]
    fn what_was_learnt_survives_a_swap_and_a_rollback() {
        let mut old = Harness::<AdaptiveThreshold>::new(r#"{"bases": {"FACE_*": 0.5}}"#);
        assert_eq!(old.feedback(0, "e1", "ann", &found(), false)[0].threshold, 0.52);
        let before = old.snapshot();
        let mut new = Harness::<AdaptiveThreshold>::new(r#"{"bases": {"FACE_*": 0.6}}"#);
        new.restore("1.0.0", &before).unwrap();
        assert_eq!(new.current(0)[0].threshold, 0.62, "the base is the new settings', the raise was kept");
        assert_eq!(new.feedback(0, "e1", "ann", &found(), false), [], "the event was counted before the swap");
        new.feedback(0, "e2", "bob", &found(), false);
        new.restore("1.0.0", &before).unwrap();
        assert_eq!(new.snapshot(), before);
        assert!(new.restore("0.9.0", b"what?").is_err());
        assert_eq!(new.snapshot(), before, "a refused state changes nothing");
    }

    #[test]
    fn bad_settings_are_refused() {
        let mut policy = Harness::<AdaptiveThreshold>::new("{}");
        for bad in [r#"{"default_base": 2.0}"#, r#"{"base": 0.5}"#, r#"{"half_life_minutes": 0}"#] {
            assert!(policy.configure(bad).is_err(), "{bad}");
        }
        assert!(Harness::<AdaptiveThreshold>::manifest().config_schema.contains("half_life_minutes"));
    }
}
