//! `scrim plugin …`: from an empty folder to a plugin in the catalog.

mod add;
mod build;
mod list;
mod new;

use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;
use scrim_toolchain::guest::{Guest, Toolchain};

use super::{Context, Failure, Outcome};
use crate::config::Config;
use crate::host;
use crate::plugin::catalog::Catalog;

#[derive(Debug, Subcommand)]
pub enum Command {
    New(new::Args),
    Build(build::Args),
    Add(add::Args),
    List(list::Args),
}

pub fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::New(args) => new::run(args),
        Command::Build(args) => build::run(args, context),
        Command::Add(args) => add::run(args, context),
        Command::List(args) => list::run(args),
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
