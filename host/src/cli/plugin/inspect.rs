//! `scrim plugin inspect`: what a plugin is and asks for.

use super::size;
use crate::cli::{ConfigArg, Outcome, say};
use crate::plugin::tools::inspect_loaded;

/// Show a plugin's name, slot, contract, imports, size, memory and settings
#[derive(Debug, clap::Args)]
pub struct Args {
    /// FILE.wasm, or NAME@VERSION of the catalog
    plugin: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

pub fn run(args: Args) -> Outcome {
    let catalog = super::catalog(&args.config.load()?)?;
    let loaded = super::find(&catalog, &args.plugin)?;
    let found = inspect_loaded(&loaded, catalog.budgets());
    if args.json {
        return Ok(say(serde_json::to_string_pretty(&found)?)?);
    }
    let memory = match (&found.memory, &found.defaults_refused) {
        (Some(bytes), _) => size(*bytes),
        (None, why) => format!("unknown: it refuses its defaults: {}", why.as_deref().unwrap_or("no reason given")),
    };
    say(format!("plugin    {}@{}", found.name, found.version))?;
    say(format!("slot      {}", found.world))?;
    say(format!("contract  {}", found.contract))?;
    say(format!("imports   {}", if found.imports.is_empty() { "nothing".to_owned() } else { found.imports.join(", ") }))?;
    say(format!("runs as   {}", found.class))?;
    say(format!("size      {}", size(found.size)))?;
    say(format!("memory    {memory}"))?;
    say(format!("sha256    {}", found.digest))?;
    say(format!("settings  {}", serde_json::to_string_pretty(&found.schema)?.replace('\n', "\n          ")))?;
    Ok(())
}
