//! Guests that misbehave: each costs its instance at most, and the next call is answered.

use std::sync::Arc;

use anyhow::Result;
use scrim_host::media::frame::Micros;
use scrim_host::plugin::catalog::load_bytes;
use scrim_host::plugin::engine::{EngineConfig, Engines, TickerMode};
use scrim_host::plugin::instance::PolicyInstance;
use scrim_host::plugin::prepare::smoke_request;
use scrim_host::plugin::types::{Fault, Slot};
use scrim_tests::guest::{Guest, Hook, deed};

use crate::room::{Room, budgets, count_of, engine_config, load};

fn at(frame: u64) -> Micros {
    Micros(frame * 1_000_000)
}

fn fault_of(slot: Slot, hook: Hook, deed: &str) -> Result<Fault> {
    let loaded = load(&Guest::new(slot, "1.0.0", 0.5).doing(hook, deed))?;
    let mut instance = PolicyInstance::start(&loaded, at(0), &budgets())?;
    instance.configure(at(0), "{}")?.map_err(anyhow::Error::msg)?;
    let fault = match hook {
        Hook::Snapshot => instance.snapshot(at(1)).err(),
        Hook::Current => instance.current(at(1)).err(),
        _ => instance.call(at(1), &smoke_request(slot)).err(),
    };
    assert!(instance.is_poisoned(), "{slot} {hook:?}");
    assert_eq!(instance.snapshot(at(2)), Err(Fault::Restarting), "nothing enters a poisoned store");
    fault.ok_or_else(|| anyhow::anyhow!("{slot}: no fault from {deed}"))
}

#[test]
fn every_slot_survives_every_deed() -> Result<()> {
    for slot in Slot::ALL {
        assert_eq!(fault_of(slot, Hook::Judge, deed::LOOP)?, Fault::OutOfTime, "{slot}");
        assert_eq!(fault_of(slot, Hook::Judge, deed::HOG)?, Fault::OutOfMemory, "{slot}");
        for (deed, name) in [(deed::TRAP, "trap"), (deed::HUGE_ANSWER, "huge answer")] {
            let fault = fault_of(slot, Hook::Judge, deed)?;
            assert!(matches!(fault, Fault::Trap(_)), "{slot}, {name}: {fault:?}");
        }
        let fault = fault_of(slot, Hook::Judge, deed::LONG_ANSWER)?;
        assert!(matches!(fault, Fault::Trap(_) | Fault::BadAnswer(_)), "{slot}: {fault:?}");
        let fault = fault_of(slot, Hook::Snapshot, deed::BIG_SNAPSHOT)?;
        assert!(matches!(fault, Fault::Trap(_) | Fault::BadAnswer(_)), "{slot}: {fault:?}");
    }
    let fault = fault_of(Slot::Threshold, Hook::Judge, deed::NO_ANSWER)?;
    assert!(matches!(fault, Fault::BadAnswer(_)), "no verdict for a detection: {fault:?}");
    Ok(())
}

#[test]
fn marks_out_of_range_are_no_answer() -> Result<()> {
    for (slot, mark) in [(Slot::Text, 1.5), (Slot::Threshold, -0.1), (Slot::Threshold, f32::INFINITY)] {
        let mut guest = Guest::new(slot, "1.0.0", mark);
        if mark.is_infinite() {
            guest.mark = f32::MAX;
        }
        let mut instance = PolicyInstance::start(&load(&guest)?, at(0), &budgets())?;
        let fault = instance.call(at(1), &smoke_request(slot)).err();
        assert!(matches!(fault, Some(Fault::BadAnswer(_))), "{slot}: {fault:?}");
    }
    Ok(())
}

#[test]
fn a_log_flood_is_cut_and_the_answer_stands() -> Result<()> {
    let flood = load(&Guest::new(Slot::Text, "1.0.0", 0.5).doing(Hook::Judge, deed::LOG_FLOOD).doing(Hook::Judge, deed::LOG_LONG))?;
    let mut instance = PolicyInstance::start(&flood, at(0), &budgets())?;
    assert!(instance.call(at(1), &smoke_request(Slot::Text)).is_ok());
    // 20 of a thousand pass, and the long one does not.
    assert_eq!(instance.log_dropped(), 981);
    Ok(())
}

#[test]
fn a_fault_in_a_room_costs_one_answer_and_no_state() -> Result<()> {
    let mut room = Room::new(Slot::Threshold)?;
    room.install(&Guest::new(Slot::Threshold, "1.0.0", 0.5).doing(Hook::Judge, deed::TRAP_AFTER_THREE))?;
    // Reports count; from the third on the guest traps in every judgement.
    for report in 1..=3 {
        room.report(at(report))?;
    }
    assert_eq!(count_of(&mut room)?, 3);
    let fault = room.ask(at(4))?.result.err();
    assert!(matches!(fault, Some(Fault::Trap(_))), "{fault:?}");
    room.settle()?;
    // The journal brought the three reports back.
    assert_eq!(count_of(&mut room)?, 3);
    assert_eq!(room.slot.status().restarts, 1);
    assert!(room.report(at(20))?.result.is_ok());
    assert_eq!(count_of(&mut room)?, 4);
    Ok(())
}

#[test]
fn a_guest_that_keeps_failing_waits_longer_each_time() -> Result<()> {
    let mut bad = Room::new(Slot::Text)?;
    // It behaves in its smoke call, and loops from its fourth answer on; a snapshot would bring that count back.
    bad.install(&Guest::new(Slot::Text, "1.0.0", 0.5).doing(Hook::Judge, deed::LOOP_AFTER_THREE))?;
    let mut faults = 0;
    let mut held_back = 0;
    for frame in 0..60 {
        match bad.ask(Micros(frame * 100_000))?.result {
            Err(Fault::OutOfTime) => faults += 1,
            Err(Fault::Restarting) => held_back += 1,
            Ok(_) => {}
            Err(other) => anyhow::bail!("unexpected: {other}"),
        }
    }
    // The wait doubles, so that of sixty calls few are lost to its budget.
    assert!((2..=10).contains(&faults), "{faults} faults");
    assert!(held_back > 0);
    assert!(bad.slot.status().restarts >= 2);
    Ok(())
}

#[test]
fn a_deadline_needs_the_ticker_and_nothing_else() -> Result<()> {
    let engines = Engines::start(&EngineConfig { ticker: TickerMode::ByHand, ..engine_config() })?;
    let loop_guest = Guest::new(Slot::Text, "1.0.0", 0.5).doing(Hook::Judge, deed::LOOP);
    let loaded = load_bytes(&engines, &loop_guest.component()?, &budgets())?;
    let mut instance = PolicyInstance::start(&loaded, at(0), &budgets())?;
    let (done, outcome) = std::sync::mpsc::channel();
    let guest = std::thread::spawn(move || {
        // The receiver outlives the thread.
        let _ = done.send(instance.call(at(1), &smoke_request(Slot::Text)));
    });
    // 20 ms of budget and one tick to spare are 21 ticks from wherever the call was armed; before it was, ticks are not counted.
    engines.step(20);
    assert!(outcome.recv_timeout(std::time::Duration::from_millis(200)).is_err(), "it must run while nobody steps");
    let result = loop {
        engines.step(1);
        if let Ok(result) = outcome.recv_timeout(std::time::Duration::from_millis(1)) {
            break result;
        }
    };
    assert_eq!(result, Err(Fault::OutOfTime));
    guest.join().map_err(|_| anyhow::anyhow!("the guest's thread panicked"))?;
    Ok(())
}

#[test]
fn without_a_ticker_no_guest_runs() -> Result<()> {
    let engines: Arc<Engines> = Engines::start(&engine_config())?;
    let loaded = load_bytes(&engines, &Guest::new(Slot::Text, "1.0.0", 0.5).component()?, &budgets())?;
    let mut instance = PolicyInstance::start(&loaded, at(0), &budgets())?;
    assert!(engines.health().running);
    assert!(instance.call(at(1), &smoke_request(Slot::Text)).is_ok());
    engines.stop_ticker();
    assert!(!engines.health().running);
    assert!(matches!(instance.call(at(2), &smoke_request(Slot::Text)), Err(Fault::Host(_))));
    assert!(matches!(PolicyInstance::start(&loaded, at(2), &budgets()).err(), Some(Fault::Host(_))));
    Ok(())
}

#[test]
fn instances_give_their_places_back() -> Result<()> {
    let engines = Engines::start(&EngineConfig { rooms: 1, ..engine_config() })?;
    let loaded = load_bytes(&engines, &Guest::new(Slot::Text, "1.0.0", 0.5).doing(Hook::Judge, deed::TRAP).component()?, &budgets())?;
    // Many times as many as the pool holds.
    for _ in 0..1000 {
        let mut instance = PolicyInstance::start(&loaded, at(0), &budgets())?;
        assert!(instance.call(at(1), &smoke_request(Slot::Text)).is_err());
    }
    assert_eq!(engines.live_instances(), 0);
    Ok(())
}
