//! The simulation in the continuous integration: the machine as it is stays green, each deliberate fault turns it red.

use std::collections::BTreeSet;

use scrim_host::room::mutant::Mutant;
use scrim_tests::sim::{self, Plan};

fn green(plan: Plan) {
    if !sim::plans().contains(&plan) {
        return;
    }
    for seed in sim::seeds() {
        match sim::run(seed, plan, sim::FRAMES, None) {
            Ok(summary) => println!("seed {seed}, {plan:?}: {summary}"),
            Err(failure) => panic!("{failure}"),
        }
    }
}

#[test]
fn calm() {
    green(Plan::Calm);
}

#[test]
fn changes() {
    green(Plan::Changes);
}

#[test]
fn one_late_look_at_a_time() {
    green(Plan::OneLate);
}

#[test]
fn faults() {
    green(Plan::Faults);
}

/// The runs that are green without a fault: if none turns red with it, the simulation is blind to it.
#[test]
fn every_mutant_turns_it_red() {
    let mut unseen = BTreeSet::new();
    for mutant in Mutant::ALL {
        // The plan that sees most of them first.
        let plans = [Plan::Faults, Plan::Changes, Plan::Calm, Plan::OneLate];
        let caught = sim::seeds()
            .into_iter()
            .flat_map(|seed| plans.map(|plan| (seed, plan)))
            .find_map(|(seed, plan)| sim::run(seed, plan, sim::FRAMES, Some(mutant)).err());
        match caught {
            Some(failure) => println!("{mutant:?}: seed {}, {:?}: {:?}: {}", failure.seed, failure.plan, failure.breach, failure.detail),
            None => _ = unseen.insert(format!("{mutant:?}")),
        }
    }
    assert!(unseen.is_empty(), "not noticed: {unseen:?}");
}

#[test]
fn a_seed_replays() {
    let run = || format!("{:?}", sim::run(7, Plan::Faults, 1500, None));
    assert_eq!(run(), run());
}
