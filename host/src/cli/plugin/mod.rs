//! `scrim plugin …`: from an empty folder to a plugin in the catalog.

mod add;
mod bench;
mod build;
mod inspect;
mod list;
mod new;
mod record;
mod test;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;
use scrim_toolchain::guest::{Guest, Toolchain};

use super::{Context, Failure, Outcome};
use crate::config::Config;
use crate::host;
use crate::plugin::catalog::{Catalog, Loaded, PluginName, load_bytes};

#[derive(Debug, Subcommand)]
pub enum Command {
    New(new::Args),
    Build(build::Args),
    Inspect(inspect::Args),
    Test(test::Args),
    Bench(bench::Args),
    Add(add::Args),
    List(list::Args),
    Record(record::Args),
}

pub fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::New(args) => new::run(args),
        Command::Build(args) => build::run(args, context),
        Command::Inspect(args) => inspect::run(args),
        Command::Test(args) => test::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Add(args) => add::run(args, context),
        Command::List(args) => list::run(args),
        Command::Record(args) => record::run(args, context),
    }
}

/// The plugin that `given` means: a file, or a name of the catalog.
fn find(catalog: &Arc<Catalog>, given: &str) -> Result<Arc<Loaded>, Failure> {
    let path = Path::new(given);
    if path.is_file() {
        let bytes = std::fs::read(path).with_context(|| format!("reading {given}"))?;
        return Ok(load_bytes(catalog.engines(), &bytes, catalog.budgets()).with_context(|| given.to_owned())?);
    }
    match given.parse::<PluginName>() {
        Ok(name) => Ok(catalog.load(&name)?),
        Err(_) => Err(Failure::Usage(anyhow::anyhow!(
            "{given} is neither a file nor NAME@VERSION of the catalog; `scrim plugin list` shows what is in it"
        ))),
    }
}

fn catalog(config: &Config) -> Result<Arc<Catalog>, Failure> {
    Ok(host::open_catalog(config)?)
}

/// Builds the plugin crate in `folder`, every variant of it, and tells what is being done meanwhile.
fn build_guests(folder: &Path, context: &Context) -> Result<Vec<Guest>, Failure> {
    if !folder.join("Cargo.toml").is_file() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "{} holds no Cargo.toml; `scrim plugin new NAME --slot SLOT` makes a plugin",
            folder.display()
        )));
    }
    let spinner = context.spinner("looking for a compiler of guests");
    let toolchain = Toolchain::find(&|line| spinner.set_message(line.to_owned()))?;
    spinner.set_message(format!("building {}", folder.display()));
    let guests = toolchain.build(folder)?;
    spinner.finish_and_clear();
    Ok(guests)
}

/// Bytes as people read them.
fn size(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{:.1} KiB", bytes as f64 / 1024.0) } else { format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)) }
}
