//! The command line: one file a command. A command parses what it was given, calls the library, prints what came of it.
//!
//! Exit codes: 0 it worked, 1 it failed while running (or the answer is "no": a replay that differs, something essential missing),
//! 64 the command line or the configuration is at fault and nothing was begun (`EX_USAGE` of sysexits.h).

#![warn(clippy::print_stdout, reason = "`println!` panics when whoever reads has gone; `say` does not")]

mod censor;
mod client;
mod doctor;
mod judge;
mod models;
mod page;
mod plugin;
mod policy;
mod report;
mod rooms;
mod serve;
mod summary;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{MultiProgress, ProgressBar};

use crate::config::{Config, ConfigError};
use crate::host::HostError;
use crate::telemetry::{self, TelemetryError};

/// Failed while running.
const EXIT_FAILED: u8 = 1;
/// The command line or the configuration is at fault: `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;

/// Scrim stands between a live broadcaster and the viewers: it takes every frame, decides what may be seen, and passes on the result.
/// What is decided is policy, and policies are WebAssembly plugins that can be replaced while they work.
#[derive(Debug, Parser)]
#[command(name = "scrim", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done · 1 failed while running · 64 bad command line or configuration, nothing begun")]
struct Cli {
    /// What to log to standard error: a level, or a list such as `warn,scrim_host::plugin=debug`
    #[arg(long, global = true, env = "SCRIM_LOG", value_name = "FILTER", default_value = telemetry::FILTER_DEFAULT)]
    log: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Key(serve::KeyArgs),
    Rooms(rooms::Args),
    /// Choose and show the policies of a running host's room
    #[command(subcommand)]
    Policy(policy::Command),
    Report(report::Args),
    Censor(censor::Args),
    /// Write, build, check, measure and keep policies
    #[command(subcommand)]
    Plugin(plugin::Command),
    Models(models::Args),
    Doctor(doctor::Args),
    Judge(judge::Args),
}

/// What stopped a command.
enum Failure {
    /// The command line or the configuration: nothing was begun.
    Usage(anyhow::Error),
    /// Everything else.
    Run(anyhow::Error),
    /// The command has said all there is to say; its answer is "no".
    No,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

type Outcome = Result<(), Failure>;

/// What every command gets.
struct Context {
    /// Progress bars, kept apart from the log lines.
    bars: MultiProgress,
}

impl Context {
    /// Shows that something is being done, and what.
    fn spinner(&self, what: &'static str) -> ProgressBar {
        let spinner = self.bars.add(ProgressBar::new_spinner()).with_message(what);
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and are no faults. A closed pipe is no reason to complain.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let context = Context { bars: MultiProgress::new() };
    match telemetry::init(&cli.log, &context.bars).map_err(usage_or_run).and_then(|()| run(cli.command, &context)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => report(&error, EXIT_USAGE),
        Err(Failure::Run(error)) => report(&error, EXIT_FAILED),
        Err(Failure::No) => ExitCode::from(EXIT_FAILED),
    }
}

fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Serve(args) => serve::run(args, context),
        Command::Key(args) => serve::key(&args),
        Command::Rooms(args) => rooms::run(args),
        Command::Policy(command) => policy::run(command),
        Command::Report(args) => report::run(args),
        Command::Censor(args) => censor::run(args, context),
        Command::Plugin(command) => plugin::run(command, context),
        Command::Models(args) => models::run(args, context),
        Command::Doctor(args) => doctor::run(args, context),
        Command::Judge(args) => judge::run(args, context),
    }
}

fn usage_or_run(error: TelemetryError) -> Failure {
    match error {
        TelemetryError::Filter { .. } => Failure::Usage(error.into()),
        TelemetryError::AlreadySet => Failure::Run(error.into()),
    }
}

/// What in the configuration is at fault is told as such.
fn host_failure(error: HostError) -> Failure {
    match error {
        HostError::NoSuchLabel { .. } | HostError::NoDataDir | HostError::Policy { .. } | HostError::Delay(_) => {
            Failure::Usage(error.into())
        }
        _ => Failure::Run(error.into()),
    }
}

fn report(error: &anyhow::Error, code: u8) -> ExitCode {
    // Standard error may be gone; the code still tells.
    let _ = writeln!(io::stderr(), "scrim: {error:#}");
    ExitCode::from(code)
}

/// `--config FILE`, for the commands that work by a configuration.
#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// Settings to work by (docs/configuration.md); without it the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArg {
    fn load(&self) -> Result<Config, Failure> {
        self.config.as_deref().map_or_else(|| Ok(Config::default()), load)
    }
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|error| match error {
        ConfigError::Unreadable { .. } | ConfigError::Faults { .. } => Failure::Usage(error.into()),
    })
}

/// Prints a line of a command's result. A reader that has seen enough (`| head`) is no failure, and does not end the command.
fn say(line: impl Display) -> io::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Columns as wide as their widest cell; the last may be as long as it likes.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> io::Result<()> {
    let rows: Vec<Vec<String>> = std::iter::once(head.iter().map(|&cell| cell.to_owned()).collect()).chain(rows).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in &rows {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        say(line.join("  ").trim_end())?;
    }
    Ok(())
}
