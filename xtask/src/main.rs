//! `cargo xtask …`: set-up, demo, tests, benches. Each command does the set-up that it needs; what is there already is not done again.

#![forbid(unsafe_code)]

mod demo;
mod livekit;
mod run;
mod setup;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use run::{Stages, built, cargo, execute};

/// Set-up, demo, tests and benches of Scrim.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch ONNX Runtime, the models and the sample clips into the user's cache
    Fetch {
        /// LiveKit's server and browser client too
        #[arg(long)]
        livekit: bool,
    },
    /// Build the plugins of this repository
    #[command(subcommand)]
    Plugin(Plugin),
    /// Make a clip and serve it live, raw and moderated side by side; with --livekit, a room for cameras; with --file, cover it into a file
    Demo(demo::Demo),
    /// Everything CI checks: set-up, format, lints, plugins, all tests, the benches and soaks in short
    Test,
    /// Measure; without a name, say which benches there are
    Bench(Bench),
    /// Run for as long as it takes to find leaks and drift
    Soak(Bench),
}

#[derive(Subcommand)]
enum Plugin {
    /// Build every plugin into target/plugins
    Build,
}

#[derive(Args)]
struct Bench {
    /// Which one
    name: Option<String>,
    /// Passed on to the bench
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Fetch { livekit } => {
            setup::fetch()?;
            if livekit { setup::livekit() } else { Ok(()) }
        }
        Command::Plugin(Plugin::Build) => setup::plugins().map(drop),
        Command::Demo(demo) => demo::run(&demo),
        Command::Test => test(),
        Command::Bench(bench) => measure("scrim-bench", &bench),
        Command::Soak(bench) => measure("scrim-soak", &bench),
    }
}

fn test() -> Result<()> {
    // With what a GPU takes, which nothing else builds here; without it one function of a few lines is another, and the tests build that.
    let clippy = ["clippy", "--release", "--workspace", "--all-targets", "--features", "scrim-host/gpu", "--", "-D", "warnings"];
    let mut stages = Stages::new(6);
    stages.run("format", || cargo(&["fmt", "--all", "--check"]))?;
    stages.run("set-up", || setup::fetch().and_then(|_| setup::for_tests()))?;
    stages.run("plugins", || setup::plugins().map(drop))?;
    stages.run("lints", || cargo(&clippy))?;
    stages.run("tests", || cargo(&["test", "--release", "--workspace", "--no-fail-fast"]))?;
    stages.run("short benches", short_benches)?;
    stages.summary();
    Ok(())
}

/// Each fails when something is broken, not when the machine is slow. The tests have built what runs here.
fn short_benches() -> Result<()> {
    let bench = |args: &[&str]| execute(built("scrim-bench").args(args));
    let soak = |args: &[&str]| execute(built("scrim-soak").args(args));
    // In virtual time: the whole of it takes a second.
    bench(&["batcher"])?;
    for name in ["cascade", "coverage", "pipeline", "rooms", "swap"] {
        bench(&[name, "--short"])?;
    }
    soak(&["simulation", "--short"])?;
    soak(&["serve", "--short"])?;
    soak(&["fuzz", "all", "--short"])
}

/// The benches and soaks that need LiveKit's server, too.
const OF_LIVEKIT: [&str; 6] = ["cuts", "hogs", "joins", "livekit", "livekit-rooms", "sound"];

/// The figures of `scrim-bench` come from the same optimised build as everything else.
fn measure(binary: &str, bench: &Bench) -> Result<()> {
    setup::fetch()?;
    if bench.name.as_deref().is_some_and(|name| OF_LIVEKIT.contains(&name)) {
        setup::livekit()?;
    }
    setup::plugins()?;
    cargo(&["build", "--release", "--workspace"])?;
    execute(built(binary).args(&bench.name).args(&bench.args))
}
