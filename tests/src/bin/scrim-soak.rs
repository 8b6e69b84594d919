//! `scrim-soak NAME [--short] [ARGUMENT…]`: what runs for hours, or its short version; stops at the first thing that is wrong.

use anyhow::{Context, bail};
use scrim_tests::{faults, fuzz, joins, sim, soak, sound};

/// Seeds of a whole soak and of a short one, 10,000 frames of each plan to a seed.
const SEEDS: u64 = 500;
const SEEDS_SHORT: u64 = 3;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let short = arguments.iter().any(|a| a == "--short");
    let mut words = arguments.iter().filter(|a| !a.starts_with("--"));
    match words.next().map(String::as_str).unwrap_or_default() {
        "simulation" => {
            let number = |word: Option<&String>, default: u64| match word {
                Some(word) => word.parse().with_context(|| format!("\"{word}\" is not a number: simulation [FIRST_SEED [SEEDS]]")),
                None => Ok(default),
            };
            let first = number(words.next(), 1000)?;
            let seeds = number(words.next(), if short { SEEDS_SHORT } else { SEEDS })?;
            Ok(sim::soak(first, seeds, sim::FRAMES)?)
        }
        "cuts" => faults::soak(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), short),
        "fuzz" => fuzz::soak(&arguments[1..]),
        "joins" => joins::soak(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), short),
        "serve" => soak::run(words.map(String::as_str).collect::<Vec<_>>().as_slice(), short),
        "sound" => sound::soak(words.map(String::as_str).collect::<Vec<_>>().as_slice(), short),
        other => bail!(
            "no soak is called \"{other}\"; there are cuts, fuzz [TARGET [MINUTES]] [--seed N], joins, serve [MINUTES], simulation [FIRST_SEED [SEEDS]] \
             and sound [MINUTES]"
        ),
    }
}
