//! Nothing leaks over many faults. Alone in its process, since it watches the process's memory.

use anyhow::Result;
use scrim_host::media::frame::Micros;
use scrim_host::plugin::catalog::load_bytes;
use scrim_host::plugin::engine::{EngineConfig, Engines};
use scrim_host::plugin::instance::{Budgets, PolicyInstance};
use scrim_host::plugin::prepare::smoke_request;
use scrim_host::plugin::types::Slot;
use scrim_tests::guest::{Guest, Hook, deed};
use scrim_tests::memory::resident_bytes;

/// `SCRIM_FAULTS=10000` makes the long run; this many are enough to tell a leak from none.
const FAULTS: usize = 1500;
/// A store that stayed would keep at least its dirtied pages, some 40 KiB: 60 MiB in the short run.
const GROWTH_MAX: usize = 24 << 20;

#[test]
fn faults_leave_no_memory_and_no_instances_behind() -> Result<()> {
    let faults = std::env::var("SCRIM_FAULTS").ok().and_then(|count| count.parse().ok()).unwrap_or(FAULTS);
    let engines = Engines::start(&EngineConfig { rooms: 1, ..EngineConfig::default() })?;
    let loop_budget = std::time::Duration::from_millis(2);
    let budgets = Budgets { cascade: loop_budget, text: loop_budget, threshold: loop_budget, ..Budgets::default() };
    // Each dirties eight pages first.
    const DIRTY: &str = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 32768))";
    let deeds = [deed::TRAP, deed::HOG, deed::HUGE_ANSWER, deed::LONG_ANSWER, deed::TRAP, deed::LOOP];
    let guests: Vec<_> = Slot::ALL
        .into_iter()
        .flat_map(|slot| deeds.map(|deed| Guest::new(slot, "1.0.0", 0.5).doing(Hook::Judge, DIRTY).doing(Hook::Judge, deed)))
        .map(|guest| Ok(load_bytes(&engines, &guest.component()?, &budgets)?))
        .collect::<Result<_>>()?;
    let run = |count: usize| -> Result<()> {
        for loaded in guests.iter().cycle().take(count) {
            let mut instance = PolicyInstance::start(loaded, Micros::ZERO, &budgets)?;
            assert!(instance.call(Micros(1), &smoke_request(loaded.slot)).is_err());
        }
        Ok(())
    };
    run(200)?;
    let before = resident_bytes()?;
    run(faults)?;
    let growth = resident_bytes()?.saturating_sub(before);
    println!("{faults} faults: {} KiB more resident", growth >> 10);
    assert_eq!(engines.live_instances(), 0);
    assert!(growth < GROWTH_MAX, "{growth} bytes more after {faults} faults");
    Ok(())
}
