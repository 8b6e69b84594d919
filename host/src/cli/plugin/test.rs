//! `scrim plugin test`: does a plugin work, and does it still decide as recorded.

use std::path::PathBuf;

use crate::cli::{ConfigArg, Failure, Outcome, say};
use crate::media::frame::Micros;
use crate::plugin::prepare::{Candidate, prepare};
use crate::plugin::replay::{DecisionDiff, Scope, replay};

/// Check a plugin as a swap would, and hold it against recorded decisions
///
/// Loads it, configures it with its defaults, makes a call of each kind and gives its snapshot back to it. With --replay every recorded
/// input is put to it again, and each decision that differs is printed. Exits with 1 if anything fails or differs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// FILE.wasm, or NAME@VERSION of the catalog
    plugin: String,
    /// A file of `scrim censor --record` or `scrim plugin record`; may be given several times
    #[arg(long, value_name = "FILE")]
    replay: Vec<PathBuf>,
    /// Replay what other plugins of the slot were asked too, even if this one is in the recording
    #[arg(long, requires = "replay")]
    all: bool,
    /// Print the differences as JSON, one object a recording
    #[arg(long, requires = "replay")]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

pub fn run(args: Args) -> Outcome {
    let catalog = super::catalog(&args.config.load()?)?;
    let loaded = super::find(&catalog, &args.plugin)?;
    prepare(loaded.slot, &Candidate::Loaded(loaded.clone()), "{}", Micros::ZERO, catalog.budgets())
        .map_err(|(stage, reason)| anyhow::anyhow!("{}: {}: {reason}", loaded.name, stage.as_str()))?;
    if !args.json {
        say(format!("{}: loads, takes its defaults, answers, restores its own snapshot", loaded.name))?;
    }
    let scope = if args.all { Scope::All } else { Scope::Auto };
    let mut same = true;
    for file in &args.replay {
        let diff: DecisionDiff =
            replay(&loaded, file, scope, catalog.budgets()).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        if args.json {
            say(serde_json::to_string(&diff)?)?;
        } else {
            say(format!("{}: {diff}", file.display()))?;
        }
        same &= diff.is_empty();
    }
    if same { Ok(()) } else { Err(Failure::No) }
}
