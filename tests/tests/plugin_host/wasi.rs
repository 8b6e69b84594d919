//! Components of other toolchains: WASI is there, and nothing is behind it.

use anyhow::Result;
use scrim_host::media::frame::Micros;
use scrim_host::plugin::check::check;
use scrim_host::plugin::engine::ClassName;
use scrim_host::plugin::instance::PolicyInstance;
use scrim_host::plugin::types::Slot;
use scrim_tests::guest::{Guest, Hook, deed};

use crate::room::{budgets, load};

fn guest(deed: &str) -> Guest {
    Guest::new(Slot::Threshold, "1.0.0", 0.5).with_wasi().doing(Hook::Current, deed)
}

fn counts(deed: &str, at: &[Micros]) -> Result<Vec<u32>> {
    let mut instance = PolicyInstance::start(&load(&guest(deed))?, Micros::ZERO, &budgets())?;
    at.iter().map(|at| Ok((instance.current(*at)?[0].threshold * 1000.0).round() as u32)).collect()
}

#[test]
fn a_component_with_wasi_goes_into_its_own_class() -> Result<()> {
    let checked = check(&guest("").module()?)?;
    assert_eq!(checked.class, ClassName::Wasi);
    assert!(checked.imports.iter().any(|import| import == "wasi:random/random@0.2.0"), "{:?}", checked.imports);
    assert_eq!(load(&guest(""))?.class(), ClassName::Wasi);
    Ok(())
}

#[test]
fn randomness_replays() -> Result<()> {
    let times = [Micros(1), Micros(2), Micros(3), Micros(4)];
    let first = counts(deed::RANDOM_COUNT, &times)?;
    assert_eq!(first, counts(deed::RANDOM_COUNT, &times)?);
    assert!(first.windows(2).any(|pair| pair[0] != pair[1]), "{first:?} is not random at all");
    Ok(())
}

#[test]
fn the_clock_is_the_calls_time_and_sleeping_takes_none() -> Result<()> {
    assert_eq!(counts(deed::CLOCK_COUNT, &[Micros::from_millis(7), Micros::from_millis(900)])?, [7, 900]);
    let sleeper = format!("{} {}", deed::SLEEP, deed::CLOCK_COUNT);
    assert_eq!(counts(&sleeper, &[Micros::from_millis(5)])?, [5]);
    Ok(())
}
