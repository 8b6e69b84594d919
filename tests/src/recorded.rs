//! What a recording says about swaps: each judgement was given by the generation that was in force when its frame or message was captured.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use scrim_host::media::frame::Micros;
use scrim_host::plugin::events::PolicyEvent;
use scrim_host::plugin::record::{Entry, Recording, Step};
use scrim_host::plugin::types::{Generation, Reply, Slot};

/// One slot's share of a recording.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// Generations in the order in which they came into force, each for what was captured after this time.
    pub commits: Vec<(Generation, Micros)>,
    /// How long calls were held up for each, microseconds.
    pub held_us: Vec<u64>,
    pub refused: usize,
    /// Judgements in the order in which they were made.
    pub judged: Vec<(Micros, Generation, Option<Reply>)>,
    pub faults: usize,
    pub late: usize,
    pub not_made: usize,
}

impl Share {
    /// The generation that was in force for what was captured then; none is the one before the recording's first.
    pub fn in_force(&self, at: Micros) -> Option<Generation> {
        self.commits.iter().rev().find(|(_, since)| at > *since).map(|(generation, _)| *generation)
    }
}

/// Reads a recording, and holds every judgement in it against the commits.
///
/// # Errors
/// When it can't be read, is cut off, or a judgement came from another generation than was in force.
pub fn read(file: &Path) -> Result<BTreeMap<Slot, Share>> {
    let mut shares: BTreeMap<Slot, Share> = BTreeMap::new();
    for entry in Recording::open(file)? {
        match entry? {
            Entry::Event(PolicyEvent::Committed { slot, generation, commit_at, held_us, .. }) => {
                let share = shares.entry(slot).or_default();
                share.commits.push((generation, commit_at));
                share.held_us.push(held_us);
            }
            Entry::Event(PolicyEvent::RolledBack { slot, generation, commit_at, .. }) => {
                shares.entry(slot).or_default().commits.push((generation, commit_at));
            }
            Entry::Event(PolicyEvent::Refused { slot, .. }) => shares.entry(slot).or_default().refused += 1,
            Entry::Event(PolicyEvent::Faulted { slot, .. }) => shares.entry(slot).or_default().faults += 1,
            Entry::Step { slot, generation, step: Step::Called { at, request, result, .. } } if request.is_judgement() => {
                shares.entry(slot).or_default().judged.push((at, generation, result.ok()));
            }
            Entry::Late { slot, .. } => shares.entry(slot).or_default().late += 1,
            Entry::NotMade { slot, .. } => shares.entry(slot).or_default().not_made += 1,
            Entry::Full => anyhow::bail!("{} is full: it does not hold the whole run", file.display()),
            Entry::Step { .. } | Entry::Event(_) => {}
        }
    }
    for (slot, share) in &shares {
        for pair in share.commits.windows(2) {
            ensure!(pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1, "{slot}: commits do not grow: {pair:?}");
        }
        // The first of all is in force from the beginning of time; others came after one that the recording does not name.
        let begins = share.commits.first().map_or(Generation(u32::MAX), |(first, _)| Generation(first.0.max(1)));
        for (at, generation, _) in &share.judged {
            let right = match share.in_force(*at) {
                Some(in_force) => *generation == in_force,
                None => *generation < begins,
            };
            ensure!(right, "{slot}: captured at {} us, judged by generation {}: {:?}", at.0, generation.0, share.commits);
        }
    }
    Ok(shares)
}
