//! A recorded decision replays to the same bytes; faults, swaps, late answers and reports replay as themselves.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use scrim_host::media::frame::Micros;
use scrim_host::plugin::record::{Entry, RECORDING_BYTES_MAX, Recorder, Recording, Step};
use scrim_host::plugin::replay::{ReplayError, Scope, recorded_plugins, replay};
use scrim_host::plugin::slot::SlotConfig;
use scrim_host::plugin::types::{Fault, Generation, Slot};
use scrim_tests::guest::{Guest, Hook, deed};

use crate::room::{Room, budgets, load};

fn frame(number: u64) -> Micros {
    Micros(number * 33_333)
}

fn old(slot: Slot) -> Guest {
    Guest::new(slot, "1.0.0", 0.25)
}

fn new(slot: Slot) -> Guest {
    Guest::new(slot, "2.0.0", 0.75)
}

/// Two versions, a swap and a rollback between them, reports, snapshots by the clock, and faults of both kinds.
fn record(slot: Slot, file: &Path, unruly: &str) -> Result<()> {
    let recorder = Arc::new(Recorder::create(file, RECORDING_BYTES_MAX)?);
    let mut room =
        Room::with(slot, SlotConfig { snapshot_every: Micros::from_millis(300), ..SlotConfig::default() }, Some(recorder.clone()))?;
    room.install(&old(slot).doing(Hook::Judge, unruly))?;
    let calls = |room: &mut Room, from: u64| -> Result<()> {
        for number in from..from + 30 {
            room.ask(frame(number))?;
            if slot == Slot::Threshold && number % 3 == 0 {
                room.report(frame(number))?;
            }
        }
        Ok(())
    };
    calls(&mut room, 1)?;
    room.swap(&new(slot), frame(30))?;
    calls(&mut room, 31)?;
    let seen = room.events.len();
    room.slot.roll_back(frame(60));
    room.outcome(seen)?;
    calls(&mut room, 61)?;
    let id = room.ask(frame(91))?.call;
    room.slot.late(id);
    room.settle()?;
    assert_eq!(recorder.finish()?, 0);
    Ok(())
}

#[test]
fn the_same_plugin_on_the_same_file_never_differs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for slot in Slot::ALL {
        for (number, unruly) in ["", deed::LOOP_AFTER_THREE, deed::TRAP_AFTER_THREE].into_iter().enumerate() {
            let file = folder.path().join(format!("{slot}-{number}"));
            record(slot, &file, unruly)?;
            for guest in [old(slot).doing(Hook::Judge, unruly), new(slot)] {
                let diff = replay(&load(&guest)?, &file, Scope::Auto, &budgets())?;
                assert!(diff.is_empty(), "{slot} {number} {}: {diff}", guest.version);
                assert!(diff.steps > 25 && diff.others > 25 && diff.late == 1, "{slot} {number}: {diff}");
                let faulted = guest.version == "1.0.0" && !unruly.is_empty();
                assert_eq!(diff.faults > 0, faulted, "{slot} {number}: {diff}");
            }
        }
    }
    Ok(())
}

#[test]
fn another_plugin_shows_where_it_would_have_decided_otherwise() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("recording");
    record(Slot::Text, &file, "")?;
    let candidate = load(&Guest::new(Slot::Text, "3.0.0", 0.5))?;
    let diff = replay(&candidate, &file, Scope::Auto, &budgets())?;
    // Every judgement has another mark; configuration and state do not differ.
    assert_eq!((diff.differing, diff.others), (91, 0), "{diff}");
    assert!(diff.differences[0].recorded.contains("0.25") && diff.differences[0].replayed.contains("0.5"), "{diff}");
    let all = replay(&load(&old(Slot::Text))?, &file, Scope::All, &budgets())?;
    assert_eq!(all.differing, 30, "only the time of version 2 differs: {all}");
    assert_eq!(recorded_plugins(&file)?.len(), 2);
    Ok(())
}

#[test]
fn a_recording_shows_who_judged_what() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("recording");
    record(Slot::Cascade, &file, "")?;
    let mut calls = 0;
    for entry in Recording::open(&file)? {
        let Entry::Step { generation, step: Step::Called { at, result, request, .. }, .. } = entry? else { continue };
        if !request.is_judgement() {
            continue;
        }
        let in_force = if at <= frame(30) {
            0
        } else if at <= frame(60) {
            1
        } else {
            2
        };
        assert_eq!(generation, Generation(in_force), "at {at:?}");
        assert!(result.is_ok());
        calls += 1;
    }
    assert_eq!(calls, 91);
    Ok(())
}

#[test]
fn an_endless_loop_in_the_recording_does_not_loop_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("recording");
    record(Slot::Text, &file, deed::LOOP_AFTER_THREE)?;
    let loops = Recording::open(&file)?
        .filter(|entry| matches!(entry, Ok(Entry::Step { step: Step::Called { result: Err(Fault::OutOfTime), .. }, .. })))
        .count() as u64;
    assert!(loops > 1, "{loops}");
    let diff = replay(&load(&old(Slot::Text).doing(Hook::Judge, deed::LOOP_AFTER_THREE))?, &file, Scope::Auto, &budgets())?;
    assert!(diff.is_empty() && diff.faults >= loops, "{diff}");
    Ok(())
}

#[test]
fn a_file_without_the_slot_is_told_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("recording");
    record(Slot::Text, &file, "")?;
    let nothing = replay(&load(&old(Slot::Cascade))?, &file, Scope::Auto, &budgets());
    assert!(matches!(nothing, Err(ReplayError::Nothing(Slot::Cascade))), "{nothing:?}");
    Ok(())
}
