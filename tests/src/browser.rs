//! Scripts that drive pages in headless Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A script of `tests/browser`, its output on the terminal.
///
/// # Errors
/// When set-up has not installed what it needs.
pub fn script(name: &str, arguments: &[&str]) -> Result<Command> {
    let folder = root().join("tests/browser");
    ensure!(
        folder.join("node_modules/playwright-core").is_dir(),
        "{} has no packages: run `npm ci` there, as `cargo xtask test` does",
        folder.display()
    );
    let mut command = Command::new("node");
    command.arg(folder.join(name)).args(arguments);
    Ok(command)
}

/// Runs a script to its end.
///
/// # Errors
/// When it fails.
pub fn browse(name: &str, arguments: &[&str]) -> Result<()> {
    let status = script(name, arguments)?.status().context("`node` could not be run")?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}
