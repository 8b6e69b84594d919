//! `scrim plugin bench`: what a plugin costs.

use super::size;
use crate::cli::{ConfigArg, Failure, Outcome, say, table};
use crate::plugin::tools::{Times, bench};

/// Measure a plugin: start, one call, snapshot (median and 95th percentile) and memory
///
/// A cascade is shown a thumbnail of 320 × 180, a text policy a sentence, a threshold policy eight detections.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// FILE.wasm, or NAME@VERSION of the catalog
    plugin: String,
    /// How many calls
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    calls: u32,
    /// The plugin's settings, JSON
    #[arg(long, default_value = "{}", value_name = "JSON")]
    settings: String,
    /// Print JSON, times in microseconds
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

pub fn run(args: Args) -> Outcome {
    let catalog = super::catalog(&args.config.load()?)?;
    let loaded = super::find(&catalog, &args.plugin)?;
    loaded.check_config(&args.settings).map_err(|reason| Failure::Usage(anyhow::anyhow!("--settings: {reason}")))?;
    let measured = bench(&loaded, &args.settings, args.calls as usize, catalog.budgets())?;
    let rows = [("start", &measured.start), ("call", &measured.call), ("snapshot", &measured.snapshot)];
    let us = |times: &Times, share| times.quantile(share).as_nanos() as f64 / 1e3;
    if args.json {
        let times: serde_json::Map<_, _> = rows
            .iter()
            .map(|(name, times)| {
                ((*name).to_owned(), serde_json::json!({ "p50_us": us(times, 0.5), "p95_us": us(times, 0.95), "count": times.len() }))
            })
            .collect();
        return Ok(say(serde_json::json!({ "plugin": loaded.name.to_string(), "times": times, "memory_bytes": measured.memory }))?);
    }
    let cells = |(name, times): &(&str, &Times)| {
        vec![(*name).to_owned(), format!("{:.1} us", us(times, 0.5)), format!("{:.1} us", us(times, 0.95)), times.len().to_string()]
    };
    say(format!("{} ({})", loaded.name, loaded.slot))?;
    table(&["what", "p50", "p95", "times"], rows.iter().map(cells))?;
    Ok(say(format!("memory {}", size(measured.memory)))?)
}
