//! `scrim plugin add`: into the catalog.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::{ConfigArg, Context, Failure, Outcome, say};

/// Put a plugin into the catalog, building it first if a crate's folder is given
#[derive(Debug, clap::Args)]
pub struct Args {
    /// FILE.wasm, or the folder of a plugin crate
    #[arg(value_name = "FILE.wasm|DIR")]
    from: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let catalog = super::catalog(&args.config.load()?)?;
    let components = if args.from.is_dir() {
        super::build_guests(&args.from, context)?.into_iter().map(|guest| guest.bytes).collect()
    } else if args.from.is_file() {
        vec![std::fs::read(&args.from).with_context(|| format!("reading {}", args.from.display()))?]
    } else {
        return Err(Failure::Usage(anyhow::anyhow!("{} does not exist", args.from.display())));
    };
    for component in components {
        let loaded = catalog.add(&component, None).with_context(|| args.from.display().to_string())?;
        say(format!("{}  {}  {}", loaded.name, loaded.slot, loaded.digest))?;
    }
    Ok(())
}
