use super::*;
use proptest::prelude::*;

const NUDENET: &str = "nudenet";

fn config(base: f32) -> Config {
    Config { bases: [("*".to_owned(), base)].into(), ..Config::default() }
}

fn seen(label: &str, confidence: f32, trail: Option<u32>) -> Seen<'_> {
    Seen { detector: NUDENET, label, confidence, trail }
}

fn threshold_of(state: &mut State, config: &Config, at_us: u64, label: &str) -> f32 {
    state.weigh(config, at_us, "cam", &[seen(label, 0.5, None)])[0].threshold
}

#[test]
fn a_false_positive_raises_and_a_confirmed_one_lowers_down_to_the_base() {
    let (mut state, config) = (State::default(), config(0.5));
    let changed = state.feedback(&config, 0, "e1", "ann", &seen("A", 0.6, None), false);
    assert_eq!(changed, [LabelThreshold { detector: NUDENET.into(), label: "A".into(), threshold: 0.52 }]);
    assert!((state.feedback(&config, 0, "e2", "ann", &seen("A", 0.6, None), true)[0].threshold - 0.51).abs() < 1e-6);
    assert_eq!(state.feedback(&config, 0, "e3", "ann", &seen("A", 0.6, None), true)[0].threshold, 0.5);
    assert_eq!(state.feedback(&config, 0, "e4", "bob", &seen("A", 0.6, None), true), []);
    assert_eq!(threshold_of(&mut state, &config, 0, "B"), 0.5);
}

#[test]
fn ten_thousand_false_positives_leave_a_clear_detection_counting() {
    let (mut state, config) = (State::default(), config(0.5));
    for report in 0..10_000u64 {
        let at_us = report * 60_000_000;
        state.feedback(&config, at_us, &format!("e{report}"), &format!("r{}", report % 900), &seen("A", 0.9, None), false);
    }
    let verdict = state.weigh(&config, 10_000 * 60_000_000, "cam", &[seen("A", 0.9, None)])[0];
    assert!(verdict.counts && verdict.threshold > 0.6 && verdict.threshold <= 0.7, "{verdict:?}");
}

#[test]
fn one_person_moves_it_no_further_than_the_budget() {
    let (mut state, config) = (State::default(), config(0.5));
    for report in 0..100 {
        state.feedback(&config, report, &format!("e{report}"), "ann", &seen("A", 0.9, None), false);
    }
    assert!((threshold_of(&mut state, &config, 100, "A") - 0.56).abs() < 1e-4);
    // Many people together: the label's own budget.
    for report in 0..100 {
        state.feedback(&config, 100, &format!("f{report}"), &format!("r{report}"), &seen("A", 0.9, None), false);
    }
    assert!((threshold_of(&mut state, &config, 100, "A") - 0.60).abs() < 1e-4);
    // The next hour has its own.
    state.feedback(&config, HOUR_US, "g", "ann", &seen("A", 0.9, None), false);
    assert!(threshold_of(&mut state, &config, HOUR_US, "A") > 0.61);
}

#[test]
fn the_same_event_counts_once() {
    let (mut state, config) = (State::default(), config(0.5));
    for reporter in ["ann", "bob", "cleo"] {
        state.feedback(&config, 0, "same", reporter, &seen("A", 0.9, None), false);
    }
    assert_eq!(threshold_of(&mut state, &config, 0, "A"), 0.52);
}

#[test]
fn the_raise_halves_in_a_half_life_and_time_going_back_changes_nothing() {
    let (mut state, config) = (State::default(), config(0.5));
    state.feedback(&config, 0, "e", "ann", &seen("A", 0.9, None), false);
    let day = config.half_life_us();
    assert!((threshold_of(&mut state, &config, day, "A") - 0.51).abs() < 1e-6);
    assert!((threshold_of(&mut state, &config, day - HOUR_US / 2, "A") - 0.51).abs() < 1e-6);
    assert_eq!(threshold_of(&mut state, &config, 40 * day, "A"), 0.5);
}

#[test]
fn a_trail_that_counts_keeps_counting_within_the_margin() {
    let (mut state, config) = (State::default(), config(0.5));
    let mut counts = |source: &str, confidence, trail| state.weigh(&config, 0, source, &[seen("A", confidence, trail)])[0].counts;
    assert!(!counts("cam", 0.47, Some(1)));
    assert!(counts("cam", 0.5, Some(1)));
    assert!(counts("cam", 0.47, Some(1)));
    assert!(!counts("other", 0.47, Some(1)), "a trail's number is its source's own");
    assert!(!counts("cam", 0.44, Some(1)));
    assert!(!counts("cam", 0.47, Some(1)), "it stopped counting, so it needs the full threshold again");
    assert!(!counts("cam", 0.47, None));
    state.weigh(&config, 0, "cam", &[seen("A", 0.5, Some(2))]);
    state.source_ended(0, "cam");
    assert!(!state.weigh(&config, 0, "cam", &[seen("A", 0.47, Some(2))])[0].counts);
}

#[test]
fn a_broken_confidence_never_uncovers() {
    let (mut state, config) = (State::default(), config(0.5));
    let found = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|confidence| seen("A", confidence, None));
    let counts: Vec<bool> = state.weigh(&config, 0, "cam", &found).iter().map(|v| v.counts).collect();
    assert_eq!(counts, [true, true, false]);
}

#[test]
fn a_restarted_clock_takes_the_raise_along() {
    let (mut state, config) = (State::default(), config(0.5));
    let late = 50 * HOUR_US;
    state.feedback(&config, late, "e", "ann", &seen("A", 0.9, None), false);
    assert_eq!(threshold_of(&mut state, &config, 1_000, "A"), 0.52);
    assert!((threshold_of(&mut state, &config, 1_000 + config.half_life_us(), "A") - 0.51).abs() < 1e-6);
    assert_eq!(state.feedback(&config, 2_000, "e", "bob", &seen("A", 0.9, None), false), [], "the event is still known");
}

#[test]
fn a_raise_that_no_run_wrote_is_held_in_bounds() {
    let config = config(0.5);
    for raise in [f64::NAN, f64::INFINITY, -3.0, 1e9] {
        let mut state = State::default();
        state.labels.insert(key(NUDENET, "A"), Label { raise, ..Label::default() });
        let threshold = threshold_of(&mut state, &config, 5, "A");
        assert!((0.5..=0.7).contains(&threshold), "{raise} gave {threshold}");
    }
}

#[test]
fn floods_leave_the_state_bounded() {
    let (mut state, config) = (State::default(), config(0.5));
    for i in 0..20_000u32 {
        let label = format!("L{i}");
        state.feedback(&config, u64::from(i), &format!("e{i}"), &format!("r{i}"), &seen(&label, 0.9, None), false);
        state.weigh(&config, u64::from(i), "cam", &[seen("A", 0.9, Some(i)), seen(&"x".repeat(100_000), 0.9, None)]);
    }
    assert!(state.labels.len() <= LABELS_MAX && state.events.len() <= EVENTS_MAX);
    assert!(state.reporters.len() <= REPORTERS_MAX && state.trails.len() <= TRAILS_MAX);
    let bytes = scrim_sdk::state::encode(1, &state).len();
    assert!(bytes < 1 << 20, "{bytes} bytes must fit into a snapshot");
    assert_eq!(state.current(&config, 20_000).len(), state.labels.len());
}

#[derive(Debug, Clone)]
enum Call {
    Weigh { at_us: u64, label: String, confidence: f32, trail: Option<u32> },
    Feedback { at_us: u64, event: String, reporter: String, label: String, confidence: f32, correct: bool },
    Ended { at_us: u64 },
}

fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0u64..200 * HOUR_US, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn any_confidence() -> impl Strategy<Value = f32> {
    prop_oneof![4 => 0f32..=1.0, 1 => any::<f32>(), 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(f32::NEG_INFINITY)]
}

fn any_call() -> impl Strategy<Value = Call> {
    let label = || prop_oneof![8 => "[A-C]", 1 => ".{0,4}", 1 => Just("x".repeat(5_000))];
    prop_oneof![
        3 => (any_time(), label(), any_confidence(), any::<Option<u32>>())
            .prop_map(|(at_us, label, confidence, trail)| Call::Weigh { at_us, label, confidence, trail }),
        6 => (any_time(), ".{0,3}", "[a-f]{0,2}", label(), any_confidence(), prop::bool::weighted(0.2)).prop_map(
            |(at_us, event, reporter, label, confidence, correct)| Call::Feedback { at_us, event, reporter, label, confidence, correct }
        ),
        1 => any_time().prop_map(|at_us| Call::Ended { at_us }),
    ]
}

proptest! {
    #[test]
    fn thresholds_stay_in_their_bounds(base in 0f32..=0.99, calls in prop::collection::vec(any_call(), 0..200)) {
        let (mut state, config) = (State::default(), config(base));
        let ceiling = (f64::from(base) + RAISE_MAX) as f32;
        for call in calls {
            match call {
                Call::Weigh { at_us, label, confidence, trail } => {
                    let verdict = state.weigh(&config, at_us, "cam", &[seen(&label, confidence, trail)])[0];
                    prop_assert!(verdict.threshold <= ceiling && verdict.threshold <= THRESHOLD_MAX);
                    prop_assert!(verdict.threshold >= base - config.trail_margin - 1e-6 && verdict.threshold >= 0.0);
                    prop_assert_eq!(verdict.counts, confidence.is_nan() || confidence >= verdict.threshold);
                }
                Call::Feedback { at_us, event, reporter, label, confidence, correct } => {
                    let before = threshold_of(&mut state, &config, at_us, &label);
                    for changed in state.feedback(&config, at_us, &event, &reporter, &seen(&label, confidence, None), correct) {
                        prop_assert_eq!(changed.threshold < before, correct);
                        prop_assert!((changed.threshold - before).abs() <= RAISE_STEP as f32 + 1e-6);
                    }
                }
                Call::Ended { at_us } => state.source_ended(at_us, "cam"),
            }
            let now = state.now_us;
            for entry in state.current(&config, now) {
                prop_assert!(entry.threshold >= base && entry.threshold <= ceiling && entry.threshold <= THRESHOLD_MAX, "{:?}", entry);
            }
        }
    }
}
