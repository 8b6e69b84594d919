//! A policy's settings and state live apart: neither a change of settings nor a refused restore touches what was learnt.

use schemars::JsonSchema;
use scrim_sdk::testing::Harness;
use scrim_sdk::{Cascade, Detection, Hints, LabelThreshold, NoConfig, Screening, Source, SourceKind, Threshold, Thumbnail, Verdict, log};
use serde::{Deserialize, Serialize};

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Every how many frames to look.
    every: u32,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    seen: u32,
    ended: Vec<String>,
}

struct Nth(Config);

impl Cascade for Nth {
    type Config = Config;
    type State = State;
    const STATE_VERSION: u32 = 2;

    fn new(config: Config) -> Result<Self, String> {
        if config.every > 100 { Err("every: at most 100".into()) } else { Ok(Self(config)) }
    }

    fn upgrade(version: u32, bytes: &[u8]) -> Result<State, String> {
        match version {
            1 => Ok(State { seen: scrim_sdk::state::decode(bytes)?, ended: Vec::new() }),
            _ => Err(format!("no way from {version}")),
        }
    }

    fn screen(&mut self, state: &mut State, _: u64, _: &Source, _: &Thumbnail, detectors: &[String], _: &Hints) -> Vec<Screening> {
        state.seen += 1;
        log::debug(format_args!("frame {}", state.seen));
        let due = state.seen.is_multiple_of(self.0.every.max(1));
        detectors.iter().map(|name| if due { Screening::look(name, "due") } else { Screening::skip(name, "not due") }).collect()
    }

    fn source_ended(&mut self, state: &mut State, _: u64, source_id: &str) {
        state.ended.push(source_id.into());
    }
}

scrim_sdk::export!(cascade: Nth, name = "nth-frame", version = "2.1.0");

struct Fixed;

impl Threshold for Fixed {
    type Config = NoConfig;
    type State = std::collections::BTreeMap<(String, String), f32>;

    fn new(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }

    fn weigh(&mut self, state: &mut Self::State, _: u64, _: &Source, found: &[Detection]) -> Vec<Verdict> {
        found
            .iter()
            .map(|one| {
                let threshold = state.get(&(one.detector.clone(), one.label.clone())).copied().unwrap_or(0.5);
                Verdict { counts: one.confidence >= threshold, threshold }
            })
            .collect()
    }

    fn feedback(&mut self, state: &mut Self::State, _: u64, _: &str, _: &str, found: &Detection, correct: bool) -> Vec<LabelThreshold> {
        let threshold = if correct { 0.1 } else { 0.7 };
        state.insert((found.detector.clone(), found.label.clone()), threshold);
        self.current(state, 0)
    }

    fn current(&mut self, state: &mut Self::State, _: u64) -> Vec<LabelThreshold> {
        let entry = |((detector, label), threshold): (&(String, String), &f32)| LabelThreshold {
            detector: detector.clone(),
            label: label.clone(),
            threshold: *threshold,
        };
        state.iter().map(entry).collect()
    }
}

scrim_sdk::export!(threshold: Fixed);

fn camera() -> Source {
    Source { id: "cam".into(), kind: SourceKind::Camera, owner: "ann".into() }
}

fn looks(policy: &mut Harness<Nth>) -> bool {
    policy.screen(0, &camera(), &Thumbnail::filled(4, 2, 16, 128, 128), &["nudity".into()], &Hints::default())[0].look
}

#[test]
fn the_manifest_names_the_crate_unless_told_otherwise() {
    let manifest = Harness::<Fixed>::manifest();
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("scrim-sdk", env!("CARGO_PKG_VERSION")));
    let manifest = Harness::<Nth>::manifest();
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("nth-frame", "2.1.0"));
    let schema: serde_json::Value = serde_json::from_str(&manifest.config_schema).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["every"]["description"], "Every how many frames to look.");
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn settings_change_and_the_state_stays() {
    let mut policy = Harness::<Nth>::new(r#"{"every": 3}"#);
    assert_eq!([looks(&mut policy), looks(&mut policy), looks(&mut policy)], [false, false, true]);
    policy.configure(r#"{"every": 4}"#).unwrap();
    assert!(looks(&mut policy), "the fourth frame since the start is due");
}

#[test]
fn refused_settings_leave_those_in_force() {
    let mut policy = Harness::<Nth>::new(r#"{"every": 2}"#);
    assert_eq!(policy.configure(r#"{"every": 101}"#).unwrap_err(), "every: at most 100");
    let error = policy.configure(r#"{"evry": 1}"#).unwrap_err();
    assert!(error.contains("evry"), "{error}");
    assert!(policy.configure("[").is_err());
    assert_eq!([looks(&mut policy), looks(&mut policy)], [false, true]);
}

#[test]
fn a_snapshot_restores_to_the_same_bytes() {
    let mut policy = Harness::<Nth>::new("{}");
    looks(&mut policy);
    policy.source_ended(1, "cam");
    let snapshot = policy.snapshot();
    let mut other = Harness::<Nth>::new("{}");
    other.restore("2.0.0", &snapshot).unwrap();
    assert_eq!(other.snapshot(), snapshot);
    assert_ne!(Harness::<Nth>::new("{}").snapshot(), snapshot);
}

#[test]
fn an_older_state_goes_through_upgrade() {
    let mut policy = Harness::<Nth>::new(r#"{"every": 6}"#);
    policy.restore("1.0.0", &scrim_sdk::state::encode(1, &5u32)).unwrap();
    assert!(looks(&mut policy), "five frames were seen before, this is the sixth");
}

#[test]
fn a_refused_restore_leaves_the_state() {
    let mut policy = Harness::<Fixed>::new("{}");
    let found = Detection { detector: "nudity".into(), label: "FACE".into(), confidence: 0.6, area: None, trail: None };
    policy.feedback(0, "event", "ann", &found, false);
    let before = policy.snapshot();
    let mut truncated = before.clone();
    truncated.pop();
    let mut longer = before.clone();
    longer.push(0);
    let unknown = scrim_sdk::state::encode(7, &());
    for (snapshot, says) in [
        (unknown.as_slice(), "state version 7 is unknown to this plugin, which reads version 1"),
        (truncated.as_slice(), "do not fit its type"),
        (longer.as_slice(), "1 bytes more"),
        (&[1, 0], "starts with 4 bytes"),
    ] {
        let error = policy.restore("9.9.9", snapshot).unwrap_err();
        assert!(error.contains(says) && error.contains("9.9.9"), "{error}");
        assert_eq!(policy.snapshot(), before);
    }
    assert!(!policy.weigh(0, &camera(), &[found])[0].counts);
}

#[test]
fn what_a_policy_logs_can_be_read() {
    let mut policy = Harness::<Nth>::new("{}");
    looks(&mut policy);
    assert_eq!(policy.logs(), [(log::Level::Debug, "frame 1".to_string())]);
    assert_eq!(policy.logs(), []);
}
