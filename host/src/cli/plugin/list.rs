//! `scrim plugin list`: the catalog.

use serde::Serialize;

use super::size;
use crate::cli::{ConfigArg, Outcome, say, table};
use crate::plugin::types::Slot;

/// List the plugins of the catalog: version, slot, size, digest
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Serialize)]
struct Row {
    plugin: String,
    digest: String,
    /// `None`: it cannot be loaded.
    slot: Option<Slot>,
    size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

pub fn run(args: Args) -> Outcome {
    let catalog = super::catalog(&args.config.load()?)?;
    let mut rows = Vec::new();
    for (name, digest) in catalog.list()? {
        let loaded = catalog.load(&name);
        rows.push(Row {
            plugin: name.to_string(),
            digest: digest.to_string(),
            slot: loaded.as_ref().ok().map(|loaded| loaded.slot),
            size: loaded.as_ref().ok().map(|loaded| loaded.size),
            fault: loaded.err().map(|error| error.to_string()),
        });
    }
    if args.json {
        say(serde_json::to_string_pretty(&rows)?)?;
    } else if rows.is_empty() {
        say(format!("the catalog at {} is empty; `scrim plugin add FILE.wasm|DIR` fills it", catalog.root().display()))?;
    } else {
        let cells = |row: &Row| {
            let slot = row.slot.map_or_else(|| "unusable".to_owned(), |slot| slot.to_string());
            vec![row.plugin.clone(), slot, row.size.map(size).unwrap_or_default(), row.fault.clone().unwrap_or_else(|| row.digest.clone())]
        };
        table(&["plugin", "slot", "size", "sha256"], rows.iter().map(cells))?;
    }
    Ok(())
}
