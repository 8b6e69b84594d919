//! Runs programs from the repository's root and says what it is at.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A program of this workspace that has been built.
pub fn built(name: &str) -> Command {
    Command::new(target().join("release").join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// Runs cargo with its output on the terminal.
pub fn cargo(args: &[&str]) -> Result<()> {
    execute(Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(args))
}

/// Runs a command to its end, in the root, with fetched programs within reach.
pub fn execute(command: &mut Command) -> Result<()> {
    command.current_dir(root()).env("PATH", scrim_toolchain::clip::program_path()?);
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_owned();
    let words: Vec<_> = std::iter::once(program.as_os_str()).chain(command.get_args()).map(OsStr::to_string_lossy).collect();
    let mut shown = words.join(" ");
    if shown.len() > 160 {
        shown = format!("{} …", shown.chars().take(160).collect::<String>());
    }
    let status = command.status().with_context(|| format!("`{shown}` could not be run"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Numbered stages, each timed; the first that fails ends the run.
pub struct Stages {
    total: usize,
    done: Vec<(&'static str, Duration)>,
}

impl Stages {
    pub fn new(total: usize) -> Self {
        Self { total, done: Vec::new() }
    }

    pub fn run(&mut self, name: &'static str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("== [{}/{}] {name}", self.done.len() + 1, self.total);
        let start = Instant::now();
        stage().with_context(|| format!("stage {name:?} failed"))?;
        self.done.push((name, start.elapsed()));
        Ok(())
    }

    pub fn summary(&self) {
        eprintln!("== all {} stages passed", self.done.len());
        for (name, took) in &self.done {
            eprintln!("   {:>6.1} s  {name}", took.as_secs_f64());
        }
    }
}
