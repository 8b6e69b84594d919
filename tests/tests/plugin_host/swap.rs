//! Swaps, rollbacks and shadows: who answers for which frame, and what a failure leaves behind.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use scrim_host::media::frame::Micros;
use scrim_host::plugin::catalog::Catalog;
use scrim_host::plugin::events::{PolicyEvent, Stage, StateFrom};
use scrim_host::plugin::executor::{Call, Refused};
use scrim_host::plugin::prepare::{Candidate, smoke_request};
use scrim_host::plugin::slot::SlotConfig;
use scrim_host::plugin::types::{CallId, Fault, Generation, Slot};
use scrim_tests::guest::{Guest, Hook, deed};

use crate::room::{Room, budgets, count_of, engines, feedback, load, mark_of};

const FRAME: u64 = 33_333;

fn frame(number: u64) -> Micros {
    Micros(number * FRAME)
}

/// Swaps `swaps` times between two generations that answer differently, with calls running all the while, about frames of before and after
/// each commit, in and out of order.
fn swap_often(slot: Slot, swaps: u64) -> Result<()> {
    let mut room = Room::with(slot, SlotConfig { mailbox_max: 10_000, ..SlotConfig::default() }, None)?;
    let guests = [Guest::new(slot, "1.0.0", 0.25), Guest::new(slot, "2.0.0", 0.75)];
    let marks = match slot {
        Slot::Cascade => ["1.0.0", "2.0.0"],
        Slot::Text | Slot::Threshold => ["0.25", "0.75"],
    };
    let loaded = [load(&guests[0])?, load(&guests[1])?];
    room.slot.install(&Candidate::Loaded(loaded[0].clone()), "{}", Micros::ZERO, None).map_err(anyhow::Error::msg)?;
    let request = smoke_request(slot);
    // What each call must be answered by.
    let mut due: HashMap<CallId, usize> = HashMap::new();
    let mut now = 0;
    for swap in 0..swaps {
        let old = swap as usize % 2;
        let new = 1 - old;
        for _ in 0..5 {
            now += 1;
            due.insert(room.post(frame(now), request.clone())?, old);
        }
        let prepared = match room.prepare(Candidate::Loaded(loaded[new].clone()), "{}", frame(now))? {
            Ok(prepared) => prepared,
            Err(refused) => anyhow::bail!("swap {swap}: {refused:?}"),
        };
        // Frames captured while it was prepared, and up to the commit, are the old one's whenever they are asked about.
        now += 1;
        due.insert(room.post(frame(now), request.clone())?, old);
        let commit_at = frame(now);
        let seen = room.events.len();
        room.slot.commit(prepared, commit_at);
        for ahead in [3, 1, 2] {
            due.insert(room.post(frame(now + ahead), request.clone())?, new);
            due.insert(room.post(frame(now - ahead % 2), request.clone())?, old);
        }
        now += 3;
        let event = room.outcome(seen)?;
        let PolicyEvent::Committed { generation, commit_at: committed, state, .. } = event else { anyhow::bail!("swap {swap}: {event:?}") };
        assert_eq!((generation, committed, state), (Generation(swap as u32 + 1), commit_at, StateFrom::Live));
        room.slot.retire_before(frame(now - 2));
    }
    let calls = due.len();
    for (id, expected) in due {
        let answer = room.answer(id)?;
        let reply = answer.result.with_context(|| format!("{id:?}"))?;
        assert_eq!(mark_of(&reply)?, marks[expected], "{id:?} at {:?}", answer.at);
    }
    assert_eq!(calls as u64, swaps * 12);
    let status = room.slot.status();
    assert_eq!((status.generation, status.faults), (Some(Generation(swaps as u32)), 0));
    assert!(status.retiring <= 2, "{} retiring", status.retiring);
    Ok(())
}

#[test]
fn the_cascade_is_swapped_200_times() -> Result<()> {
    swap_often(Slot::Cascade, 200)
}

#[test]
fn the_text_policy_is_swapped_200_times() -> Result<()> {
    swap_often(Slot::Text, 200)
}

#[test]
fn the_threshold_policy_is_swapped_200_times() -> Result<()> {
    swap_often(Slot::Threshold, 200)
}

#[test]
fn state_goes_to_the_same_name_only() -> Result<()> {
    let mut room = Room::new(Slot::Threshold)?;
    room.install(&Guest::new(Slot::Threshold, "1.0.0", 0.5))?;
    for report in 1..=7 {
        room.report(frame(report))?;
    }
    let event = room.swap(&Guest::new(Slot::Threshold, "1.1.0", 0.5), frame(10))?;
    assert!(matches!(event, PolicyEvent::Committed { state: StateFrom::Live, .. }), "{event:?}");
    assert_eq!(count_of(&mut room)?, 7);
    let event = room.swap(&Guest::new(Slot::Threshold, "1.0.0", 0.5).named("stranger"), frame(20))?;
    assert!(matches!(event, PolicyEvent::Committed { state: StateFrom::OtherPlugin { .. }, .. }), "{event:?}");
    assert_eq!(count_of(&mut room)?, 0);
    Ok(())
}

#[test]
fn a_bad_plugin_leaves_the_old_one_serving_every_time() -> Result<()> {
    for slot in Slot::ALL {
        let mut room = Room::new(slot)?;
        room.install(&Guest::new(slot, "1.0.0", 0.25))?;
        let before = mark_of(&room.ask(frame(1))?.result?)?;
        let next = || Guest::new(slot, "2.0.0", 0.75);
        let other_slot = if slot == Slot::Text { Slot::Cascade } else { Slot::Text };
        let bad = [
            (Stage::Slot, Guest::new(other_slot, "2.0.0", 0.75)),
            (Stage::Configure, next().doing(Hook::Configure, deed::TRAP)),
            (Stage::Configure, next().doing(Hook::Configure, deed::LOOP)),
            (Stage::Configure, next().doing(Hook::Configure, deed::REFUSE)),
            (Stage::Smoke, next().doing(Hook::Judge, deed::TRAP)),
            (Stage::Smoke, next().doing(Hook::Judge, deed::LOOP)),
            (Stage::Smoke, next().doing(Hook::Judge, deed::HOG)),
            (Stage::Smoke, next().doing(Hook::Judge, deed::HUGE_ANSWER)),
            (Stage::Smoke, next().doing(Hook::Snapshot, deed::TRAP)),
            (Stage::Smoke, next().doing(Hook::Snapshot, deed::BIG_SNAPSHOT)),
            (Stage::Smoke, next().doing(Hook::Restore, deed::REFUSE)),
        ];
        for (number, (stage, guest)) in bad.iter().enumerate() {
            let event = room.swap(guest, frame(2))?;
            assert!(matches!(&event, PolicyEvent::Refused { stage: at, .. } if at == stage), "{slot} {number}: {event:?}");
            let answer = room.ask(frame(3))?;
            assert_eq!((answer.generation, mark_of(&answer.result?)?), (Some(Generation(0)), before.clone()), "{slot} {number}");
        }
        assert_eq!(room.slot.status().faults, 0);
    }
    Ok(())
}

/// A version that reads its own snapshots but not its predecessor's passes the smoke call, and is refused at the commit.
#[test]
fn state_that_cannot_be_read_is_found_at_the_commit() -> Result<()> {
    const FUSSY: &str = "(if (i32.ne (i32.load (local.get 3)) (i32.const 0)) (then (i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const 256)) (i32.store (i32.const 520) (i32.const 2)) (return (i32.const 512))))";
    let mut room = Room::new(Slot::Threshold)?;
    room.install(&Guest::new(Slot::Threshold, "1.0.0", 0.25))?;
    room.report(frame(1))?;
    for deed in [FUSSY, "(if (i32.ne (i32.load (local.get 3)) (i32.const 0)) (then (unreachable)))"] {
        let event = room.swap(&Guest::new(Slot::Threshold, "2.0.0", 0.75).doing(Hook::Restore, deed), frame(2))?;
        assert!(matches!(event, PolicyEvent::Refused { stage: Stage::Restore, .. }), "{event:?}");
        assert_eq!(mark_of(&room.ask(frame(3))?.result?)?, "0.25");
        assert_eq!(count_of(&mut room)?, 1);
    }
    Ok(())
}

/// A frame is captured and asked about while the commit, whose time was read before it, is on its way to the slot.
#[test]
fn a_commit_counts_from_what_was_judged_already() -> Result<()> {
    let mut room = Room::new(Slot::Threshold)?;
    room.install(&Guest::new(Slot::Threshold, "1.0.0", 0.25))?;
    assert_eq!(mark_of(&room.ask(frame(5))?.result?)?, "0.25");
    let event = room.swap(&Guest::new(Slot::Threshold, "2.0.0", 0.75), frame(2))?;
    let PolicyEvent::Committed { commit_at, .. } = event else { anyhow::bail!("{event:?}") };
    assert_eq!(commit_at, frame(5));
    for (at, mark) in [(frame(4), "0.25"), (frame(5), "0.25"), (frame(6), "0.75")] {
        assert_eq!(mark_of(&room.ask(at)?.result?)?, mark, "{at:?}");
    }
    Ok(())
}

#[test]
fn bytes_that_rotted_in_the_catalog_are_refused_and_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let catalog = Arc::new(Catalog::open(folder.path(), engines(), budgets())?);
    let name = {
        let loaded = catalog.add(&Guest::new(Slot::Text, "2.0.0", 0.75).module()?, None)?;
        std::fs::write(folder.path().join("blobs").join(format!("{}.wasm", loaded.digest)), b"rot")?;
        loaded.name.clone()
    };
    let mut room = Room::new(Slot::Text)?;
    room.install(&Guest::new(Slot::Text, "1.0.0", 0.25))?;
    let event = room.swap_to(Candidate::Named(catalog, name), frame(1))?;
    let PolicyEvent::Refused { stage: Stage::Load, plugin, reason, .. } = event else { anyhow::bail!("{event:?}") };
    assert_eq!(plugin.as_deref(), Some("test-text@2.0.0"));
    assert!(reason.contains("digest"), "{reason}");
    assert_eq!(mark_of(&room.ask(frame(2))?.result?)?, "0.25");
    Ok(())
}

#[test]
fn a_configuration_that_the_schema_refuses_never_reaches_the_plugin() -> Result<()> {
    let mut room = Room::new(Slot::Text)?;
    let mut guest = Guest::new(Slot::Text, "1.0.0", 0.25);
    guest.schema = r#"{"type":"object","additionalProperties":false,"properties":{"level":{"type":"integer","maximum":5}}}"#.into();
    let loaded = load(&guest)?;
    assert!(room.prepare(Candidate::Loaded(loaded.clone()), r#"{"level":3}"#, frame(1))?.is_ok());
    for bad in [r#"{"level":6}"#, r#"{"lvel":3}"#, "[", "3"] {
        let refused = room.prepare(Candidate::Loaded(loaded.clone()), bad, frame(1))?;
        assert!(matches!(refused, Err(PolicyEvent::Refused { stage: Stage::Configure, .. })), "{bad}: {refused:?}");
    }
    Ok(())
}

#[test]
fn a_rollback_brings_state_and_reports_back() -> Result<()> {
    let mut room = Room::new(Slot::Threshold)?;
    room.install(&Guest::new(Slot::Threshold, "1.0.0", 0.25))?;
    for report in 1..=3 {
        room.report(frame(report))?;
    }
    room.swap(&Guest::new(Slot::Threshold, "2.0.0", 0.75), frame(10))?;
    // Two reports that the old version has not seen.
    room.report(frame(11))?;
    room.report(frame(12))?;
    let seen = room.events.len();
    room.slot.roll_back(frame(20));
    let event = room.outcome(seen)?;
    let PolicyEvent::RolledBack { generation, automatic: false, state, .. } = event else { anyhow::bail!("{event:?}") };
    assert_eq!((generation, state), (Generation(2), StateFrom::Journal { replayed: 2 }));
    assert_eq!(count_of(&mut room)?, 5);
    assert_eq!(mark_of(&room.ask(frame(21))?.result?)?, "0.25");
    assert_eq!(mark_of(&room.ask(frame(20))?.result?)?, "0.75", "captured before the rollback");
    // And forward again.
    let seen = room.events.len();
    room.slot.roll_back(frame(30));
    room.outcome(seen)?;
    assert_eq!(mark_of(&room.ask(frame(31))?.result?)?, "0.75");
    Ok(())
}

#[test]
fn after_repeated_faults_the_last_good_version_comes_back_by_itself() -> Result<()> {
    let mut room = Room::new(Slot::Threshold)?;
    room.install(&Guest::new(Slot::Threshold, "1.0.0", 0.25))?;
    room.report(frame(1))?;
    let traps_once_it_learned = "(if (i32.ge_u (global.get $count) (i32.const 2)) (then (unreachable)))";
    room.swap(&Guest::new(Slot::Threshold, "2.0.0", 0.75).doing(Hook::Judge, traps_once_it_learned), frame(10))?;
    room.report(frame(11))?;
    let seen = room.events.len();
    let mut number = 12;
    while !room.events[seen..].iter().any(|event| matches!(event, PolicyEvent::RolledBack { .. })) {
        number += 30;
        anyhow::ensure!(number < 10_000, "no rollback: {:?}", room.events);
        room.ask(frame(number))?;
        room.settle()?;
    }
    let event = room.outcome(seen)?;
    assert!(matches!(event, PolicyEvent::RolledBack { automatic: true, state: StateFrom::Journal { replayed: 1 }, .. }), "{event:?}");
    let faults = room.events[seen..].iter().filter(|event| matches!(event, PolicyEvent::Faulted { .. })).count();
    assert_eq!(faults, SlotConfig::default().faults_max);
    assert_eq!(count_of(&mut room)?, 2);
    assert_eq!(mark_of(&room.ask(frame(number + 1))?.result?)?, "0.25");
    let status = room.slot.status();
    assert_eq!(status.previous, None, "it does not go back to what just failed");
    Ok(())
}

#[test]
fn with_no_earlier_version_a_rollback_is_refused() -> Result<()> {
    let mut room = Room::new(Slot::Text)?;
    room.install(&Guest::new(Slot::Text, "1.0.0", 0.25))?;
    let seen = room.events.len();
    room.slot.roll_back(frame(1));
    let event = room.outcome(seen)?;
    assert!(matches!(event, PolicyEvent::Refused { stage: Stage::Rollback, .. }), "{event:?}");
    assert!(room.ask(frame(2))?.result.is_ok());
    Ok(())
}

#[test]
fn a_shadow_sees_what_the_live_one_sees_and_answers_nobody() -> Result<()> {
    let mut room = Room::new(Slot::Text)?;
    room.install(&Guest::new(Slot::Text, "1.0.0", 0.25))?;
    for (mark, agreed, differed) in [(0.25, 20, 0), (0.75, 0, 20)] {
        let candidate = Candidate::Loaded(load(&Guest::new(Slot::Text, "2.0.0", mark))?);
        let Ok(prepared) = room.prepare(candidate, "{}", frame(0))? else { anyhow::bail!("not prepared") };
        room.slot.shadow(prepared);
        for number in 0..20 {
            assert_eq!(mark_of(&room.ask(frame(number))?.result?)?, "0.25");
            let seen = number + 1;
            let counts = |room: &Room| room.slot.shadow_status().map(|(_, counts)| counts).unwrap_or_default();
            while counts(&room).agreed + counts(&room).differed < seen {
                std::thread::yield_now();
            }
        }
        let seen = room.events.len();
        room.slot.discard();
        let event = room.event(seen, |event| matches!(event, PolicyEvent::ShadowEnded { .. }))?;
        let PolicyEvent::ShadowEnded { agreed: a, differed: d, faulted: 0, shed: 0, .. } = event else { anyhow::bail!("{event:?}") };
        assert_eq!((a, d), (agreed, differed));
    }
    Ok(())
}

#[test]
fn a_promoted_shadow_is_committed_and_a_failing_one_goes() -> Result<()> {
    let mut room = Room::new(Slot::Cascade)?;
    room.install(&Guest::new(Slot::Cascade, "1.0.0", 0.0))?;
    let Ok(prepared) = room.prepare(Candidate::Loaded(load(&Guest::new(Slot::Cascade, "2.0.0", 0.0))?), "{}", frame(0))? else {
        anyhow::bail!("not prepared")
    };
    room.slot.shadow(prepared);
    assert_eq!(mark_of(&room.ask(frame(1))?.result?)?, "1.0.0");
    let seen = room.events.len();
    room.slot.promote(frame(2));
    let event = room.outcome(seen)?;
    assert!(matches!(event, PolicyEvent::Committed { state: StateFrom::Live, .. }), "{event:?}");
    assert_eq!(mark_of(&room.ask(frame(3))?.result?)?, "2.0.0");

    let failing = Guest::new(Slot::Cascade, "3.0.0", 0.0)
        .doing(Hook::Judge, "(if (i32.ge_u (global.get $count) (i32.const 1)) (then (unreachable)))");
    let Ok(prepared) = room.prepare(Candidate::Loaded(load(&failing)?), "{}", frame(4))? else { anyhow::bail!("not prepared") };
    let seen = room.events.len();
    room.slot.shadow(prepared);
    let mut number = 5;
    while room.events[seen..].iter().all(|event| !matches!(event, PolicyEvent::ShadowEnded { .. })) {
        anyhow::ensure!(number < 10_000, "the candidate goes on failing");
        assert_eq!(mark_of(&room.ask(frame(number))?.result?)?, "2.0.0");
        number += 1;
    }
    assert_eq!(room.slot.status().faults, 0, "the candidate's faults are its own");
    Ok(())
}

#[test]
fn a_full_mailbox_refuses_at_once_and_loses_nothing_that_it_took() -> Result<()> {
    let mut room = Room::with(Slot::Text, SlotConfig { mailbox_max: 8, ..SlotConfig::default() }, None)?;
    // Slow enough that calls pile up, fast enough to stay in its budget.
    let slow = "(local.set $i (i32.const 400000)) (loop (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))";
    room.install(&Guest::new(Slot::Text, "1.0.0", 0.25).doing(Hook::Judge, slow))?;
    let (mut taken, mut refused) = (Vec::new(), 0);
    for number in 0..200 {
        let call = Call { id: CallId(1000 + number), at: frame(number), expires: None, request: smoke_request(Slot::Text) };
        match room.slot.call(call) {
            Ok(()) => taken.push(CallId(1000 + number)),
            Err(Refused::Full(8)) => refused += 1,
            Err(other) => anyhow::bail!("{other}"),
        }
    }
    assert!(refused > 0 && taken.len() >= 8, "{refused} refused, {} taken", taken.len());
    assert_eq!(room.slot.refused(), refused);
    for id in taken {
        assert!(room.answer(id)?.result.is_ok());
    }
    let wrong = Call { id: CallId(0), at: frame(0), expires: None, request: feedback() };
    assert_eq!(room.slot.call(wrong).err(), Some(Refused::WrongSlot));
    Ok(())
}

#[test]
fn calls_without_a_plugin_past_their_deadline_or_of_a_gone_generation_are_answered_as_such() -> Result<()> {
    let mut room = Room::new(Slot::Text)?;
    assert_eq!(room.ask(frame(1))?.result.err(), Some(Fault::NoPlugin));
    room.install(&Guest::new(Slot::Text, "1.0.0", 0.25))?;
    room.swap(&Guest::new(Slot::Text, "2.0.0", 0.75), frame(10))?;
    assert_eq!(room.ask(frame(10))?.generation, Some(Generation(0)));
    room.slot.retire_before(frame(11));
    assert_eq!(room.ask(frame(10))?.result.err(), Some(Fault::Retired));
    assert_eq!(room.ask(frame(11))?.generation, Some(Generation(1)));
    let past = std::time::Instant::now() - std::time::Duration::from_millis(1);
    room.slot.call(Call { id: CallId(77), at: frame(12), expires: Some(past), request: smoke_request(Slot::Text) })?;
    assert_eq!(room.answer(CallId(77))?.result.err(), Some(Fault::Expired));
    Ok(())
}

#[test]
fn generations_still_in_use_are_not_piled_up() -> Result<()> {
    let mut room = Room::new(Slot::Text)?;
    room.install(&Guest::new(Slot::Text, "1.0.0", 0.25))?;
    let mut refused = 0;
    for swap in 1..=6 {
        match room.swap(&Guest::new(Slot::Text, "2.0.0", 0.75), frame(swap))? {
            PolicyEvent::Committed { .. } => {}
            PolicyEvent::Refused { stage: Stage::Commit, .. } => refused += 1,
            other => anyhow::bail!("{other:?}"),
        }
    }
    assert_eq!((refused, room.slot.status().retiring), (3, 3));
    room.slot.retire_before(frame(7));
    let event = room.swap(&Guest::new(Slot::Text, "2.0.0", 0.75), frame(7))?;
    assert!(matches!(event, PolicyEvent::Committed { .. }), "{event:?}");
    Ok(())
}
