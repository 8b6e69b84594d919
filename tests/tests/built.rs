//! Plugins as an author's toolchain builds them, in the real host: what the SDK promises holds behind the sandbox too.

use std::sync::Arc;
use std::time::Duration;

use scrim_host::media::frame::Micros;
use scrim_host::plugin::catalog::{CatalogError, Loaded, load_bytes};
use scrim_host::plugin::check::{CheckError, check};
use scrim_host::plugin::engine::{ClassName, EngineConfig, Engines};
use scrim_host::plugin::instance::{Budgets, PolicyInstance};
use scrim_host::plugin::types::{Fault, Hints, Reply, Request, Screening, Slot, Source, SourceKind, Thumbnail, Utterance};
use scrim_tests::built;

fn engines() -> Arc<Engines> {
    Engines::start(&EngineConfig { rooms: 2, ..EngineConfig::default() }).unwrap()
}

fn load(engines: &Arc<Engines>, name: &str) -> Arc<Loaded> {
    load_bytes(engines, &built::guest(name).unwrap(), &Budgets::default()).unwrap()
}

fn start(engines: &Arc<Engines>, name: &str, config: &str) -> PolicyInstance {
    start_within(engines, name, config, &Budgets::default())
}

/// For what a busy machine may take longer over than a frame's budget: these tests are of another limit.
fn unhurried() -> Budgets {
    Budgets { cascade: Duration::from_secs(20), ..Budgets::default() }
}

fn start_within(engines: &Arc<Engines>, name: &str, config: &str, budgets: &Budgets) -> PolicyInstance {
    let mut instance = PolicyInstance::start(&load(engines, name), Micros(0), budgets).unwrap();
    instance.configure(Micros(0), config).unwrap().unwrap();
    instance
}

fn screen() -> Request {
    Request::Screen {
        source: Arc::new(Source { id: "cam".into(), kind: SourceKind::Camera, owner: "ann".into() }),
        thumbnail: Arc::new(Thumbnail::uniform(320, 180, 16, 128, 128)),
        detectors: vec!["nudity".into()],
        hints: Hints::default(),
    }
}

fn screened(instance: &mut PolicyInstance, at: u64) -> Result<Vec<Screening>, Fault> {
    match instance.call(Micros(at), &screen())? {
        Reply::Screenings(screenings) => Ok(screenings),
        other => panic!("{other:?} to a screen call"),
    }
}

#[test]
fn what_ships_imports_the_log_and_nothing_else() {
    for (name, version, slot) in [
        ("skin-cascade", "1.0.0", Slot::Cascade),
        ("skin-cascade", "2.0.0", Slot::Cascade),
        ("profanity-context", "2.0.0", Slot::Text),
        ("adaptive-threshold", "1.0.0", Slot::Threshold),
    ] {
        let checked = check(&built::plugin(name, version).unwrap()).unwrap();
        assert_eq!((checked.slot, checked.class), (slot, ClassName::Sandbox), "{name}");
        assert_eq!(checked.imports, ["scrim:policy/log@0.1.0"], "{name}");
    }
}

#[test]
fn the_manifest_is_the_exports() {
    let engines = engines();
    for (name, said, version) in [("cascade", "steady", "1.0.0"), ("next", "steady", "2.0.0"), ("impostor", "skin-cascade", "1.0.0")] {
        let manifest = load(&engines, name).manifest.clone();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), (said, version));
    }
}

#[test]
fn every_slot_answers() {
    let engines = engines();
    let screenings = screened(&mut start(&engines, "cascade", "{}"), 0).unwrap();
    assert_eq!((screenings.len(), screenings[0].look, screenings[0].reason.as_str()), (1, true, "call 1"));
    let utterance = Arc::new(Utterance::typed("line", "a bad word"));
    let reply = start(&engines, "text", "{}").call(Micros(0), &Request::Judge { utterance }).unwrap();
    assert!(matches!(&reply, Reply::Findings(found) if found.len() == 1 && (found[0].first, found[0].count) == (1, 1)), "{reply:?}");
    let source = Arc::new(Source { id: "cam".into(), kind: SourceKind::Camera, owner: "ann".into() });
    let reply = start(&engines, "threshold", "{}").call(Micros(0), &Request::Weigh { source, found: Vec::new() }).unwrap();
    assert_eq!(reply, Reply::Verdicts(Vec::new()));
}

#[test]
fn a_panic_traps_and_memory_is_capped() {
    let engines = engines();
    let mut trap = start(&engines, "cascade", r#"{"how": "trap", "after": 1}"#);
    assert!(screened(&mut trap, 0).is_ok());
    assert!(matches!(screened(&mut trap, 1), Err(Fault::Trap(_))));
    assert_eq!(screened(&mut trap, 2), Err(Fault::Restarting));
    let mut hog = start_within(&engines, "cascade", r#"{"how": "hog"}"#, &unhurried());
    assert!(matches!(screened(&mut hog, 0), Err(Fault::OutOfMemory)));
}

#[test]
fn endless_loops_end_in_every_place() {
    let engines = engines();
    assert!(matches!(screened(&mut start(&engines, "cascade", r#"{"how": "loop"}"#), 0), Err(Fault::OutOfTime)));
    let error = load_bytes(&engines, &built::guest("start").unwrap(), &Budgets::default()).unwrap_err();
    assert!(error.to_string().contains("CPU time"), "{error}");
    let loaded = load(&engines, "cascade");
    let mut instance = PolicyInstance::start(&loaded, Micros(0), &Budgets::default()).unwrap();
    assert!(matches!(instance.configure(Micros(0), r#"{"how": "loop-configure"}"#), Err(Fault::OutOfTime)));
}

#[test]
fn wrong_answers_are_refused() {
    let engines = engines();
    for how in ["huge", "nonsense"] {
        let config = format!(r#"{{"how": "{how}"}}"#);
        let fault = screened(&mut start(&engines, "cascade", &config), 0).unwrap_err();
        assert!(fault.costs_the_instance(), "{how}: {fault:?}");
        let utterance = Arc::new(Utterance::typed("line", "a bad word"));
        let fault = start(&engines, "text", &config).call(Micros(0), &Request::Judge { utterance }).unwrap_err();
        assert!(fault.costs_the_instance(), "{how}: {fault:?}");
        let source = Arc::new(Source { id: "cam".into(), kind: SourceKind::Camera, owner: "ann".into() });
        let fault = start(&engines, "threshold", &config).call(Micros(0), &Request::Weigh { source, found: Vec::new() }).unwrap_err();
        assert!(fault.costs_the_instance(), "{how}: {fault:?}");
    }
    let mut obese = start(&engines, "cascade", r#"{"how": "obese"}"#);
    screened(&mut obese, 0).unwrap();
    assert!(matches!(obese.snapshot(Micros(1)), Err(Fault::Trap(_))));
}

#[test]
fn a_flood_of_messages_is_dropped_and_counted() {
    let engines = engines();
    let mut flood = start_within(&engines, "cascade", r#"{"how": "flood"}"#, &unhurried());
    screened(&mut flood, 0).unwrap();
    assert!(flood.log_dropped() >= 9_980, "{}", flood.log_dropped());
}

#[test]
fn the_state_goes_to_the_next_version_and_no_further_than_it_is_understood() {
    let engines = engines();
    let mut old = start(&engines, "cascade", "{}");
    for at in 0..3 {
        screened(&mut old, at).unwrap();
    }
    let state = old.snapshot(Micros(3)).unwrap();
    let mut next = start(&engines, "next", "{}");
    next.restore(Micros(3), "1.0.0", &state).unwrap().unwrap();
    assert_eq!(screened(&mut next, 4).unwrap()[0].reason, "call 4");
    let mut unreadable = start(&engines, "unreadable", "{}");
    let before = unreadable.snapshot(Micros(3)).unwrap();
    let refusal = unreadable.restore(Micros(3), "1.0.0", &state).unwrap().unwrap_err();
    assert!(refusal.contains("state version 1 is unknown to this plugin, which reads version 99"), "{refusal}");
    assert_eq!(unreadable.snapshot(Micros(4)).unwrap(), before);
}

#[test]
fn refused_settings_leave_those_in_force() {
    let engines = engines();
    let mut steady = start(&engines, "cascade", "{}");
    assert_eq!(steady.configure(Micros(0), r#"{"how": "refuse"}"#).unwrap().unwrap_err(), "refused on purpose");
    assert!(screened(&mut steady, 1).unwrap()[0].look);
    assert!(matches!(steady.configure(Micros(2), r#"{"how": "trap-configure"}"#), Err(Fault::Trap(_))));
}

#[test]
fn wasi_is_there_and_empty() {
    let engines = engines();
    let checked = check(&built::guest("wasi").unwrap()).unwrap();
    assert_eq!(checked.class, ClassName::Wasi);
    let told = |at: u64| {
        let mut instance = start(&engines, "wasi", "{}");
        let screenings = screened(&mut instance, at).unwrap();
        screenings[0].reason.split("; ").map(str::to_owned).collect::<Vec<_>>()
    };
    let told_first = told(7_000_001);
    assert_eq!(told_first[0], "monotonic 7000001000", "nanoseconds of the call's at-us");
    assert_eq!(told_first[3..], ["environment []", "arguments []", "folders 0"]);
    assert_eq!(told_first, told(7_000_001), "the same call is told the same, random numbers included");
}

#[test]
fn an_import_that_no_plugin_is_given_is_named() {
    let error = check(&built::guest("forbidden").unwrap()).unwrap_err();
    assert!(matches!(&error, CheckError::Import(name) if name == "bank:vault/keys@1.0.0"), "{error}");
    let error = load_bytes(&engines(), &built::guest("forbidden").unwrap(), &Budgets::default()).unwrap_err();
    assert!(matches!(error, CatalogError::Check(_)), "{error}");
}
