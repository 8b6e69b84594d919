//! `scrim doctor`: what is present, what is missing, and the command that would mend it.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::{ConfigArg, Context, Failure, Outcome};
use crate::config::Config;

/// Say what is present and what is missing, and how to mend it
///
/// Checks the machine, the programs and files that Scrim needs, and the configuration if one is given. Exits with 1 if something
/// is missing that `scrim censor` cannot do without.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print a JSON array of checks instead of a table
    #[arg(long)]
    json: bool,
}

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Works without, less well or not everything.
    Note,
    /// Nothing works without.
    Missing,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), fix: None }
    }

    fn note(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Note, found: found.into(), fix: Some(fix.into()) }
    }

    fn missing(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Missing, found: found.into(), fix: Some(fix.into()) }
    }
}

pub fn run(args: Args, _: &Context) -> Outcome {
    let config = args.config.load()?;
    let checks = vec![machine(), data_dir(&config), ffmpeg(), guest_toolchain()];
    if args.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        print(&checks);
    }
    if checks.iter().any(|check| check.state == State::Missing) { Err(Failure::No) } else { Ok(()) }
}

fn print(checks: &[Check]) {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in checks {
        let mark = match check.state {
            State::Ok => "ok     ",
            State::Note => "note   ",
            State::Missing => "MISSING",
        };
        println!("{mark}  {:width$}  {}", check.name, check.found);
        if let Some(fix) = &check.fix {
            println!("         {:width$}  → {fix}", "");
        }
    }
}

fn machine() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Linux only; elsewhere the amount is left out.
    let total_kib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    });
    let memory = total_kib.map_or(String::new(), |kib| format!(", {:.1} GiB memory", kib as f64 / (1 << 20) as f64));
    Check::ok("machine", format!("{cores} cores{memory}, {} {}", std::env::consts::OS, std::env::consts::ARCH))
}

fn data_dir(config: &Config) -> Check {
    const NAME: &str = "data directory";
    let Some(path) = config.data_dir() else {
        return Check::missing(NAME, "the user has no home directory", "set data_dir in scrim.toml, or XDG_DATA_HOME");
    };
    match writable(&path) {
        Ok(()) => Check::ok(NAME, format!("{} is writable", path.display())),
        Err(error) => Check::missing(
            NAME,
            format!("{} cannot be written: {error}", path.display()),
            "set data_dir in scrim.toml to a folder that can",
        ),
    }
}

/// Whether a file can be made in `folder`, which is made first if need be.
fn writable(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    tempfile::tempfile_in(folder).map(drop)
}

fn ffmpeg() -> Check {
    const NAME: &str = "ffmpeg";
    match first_line(Command::new("ffmpeg").arg("-version")) {
        Some(line) => Check::ok(NAME, line),
        None => Check::missing(NAME, "not on the path", "install it with the system's package manager (apt-get install ffmpeg)"),
    }
}

fn guest_toolchain() -> Check {
    const NAME: &str = "guest toolchain";
    let sysroot = first_line(Command::new("rustc").args(["--print", "sysroot"]));
    let target = "lib/rustlib/wasm32-unknown-unknown/lib";
    if let Some(sysroot) = sysroot.filter(|sysroot| Path::new(sysroot).join(target).is_dir()) {
        return Check::ok(NAME, format!("wasm32-unknown-unknown of {sysroot}"));
    }
    if Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml").is_file() || Path::new("/usr/bin/wasm-ld-19").is_file() {
        return Check::ok(NAME, "Debian's rustc with its own standard library");
    }
    Check::note(NAME, "no target wasm32-unknown-unknown, so no plugin can be built here", "rustup target add wasm32-unknown-unknown")
}

/// The first line that a program prints; `None` if it cannot be run or fails.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}
