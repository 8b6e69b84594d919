//! Plugins that the guest toolchain builds: the shipped ones, and those of `tests/guests/`, which are written with the SDK as an author
//! would write them. Cargo keeps what it has built, so only the first test run pays.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use scrim_toolchain::guest::{Guest, Toolchain};

/// What was built in this process: the package's folder, and its components.
static BUILT: Mutex<Vec<(PathBuf, Vec<Guest>)>> = Mutex::new(Vec::new());

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The component of `tests/guests/examples/NAME.rs`.
pub fn guest(name: &str) -> Result<Vec<u8>> {
    let folder = root().join("tests/guests");
    let guests = built(&folder, |toolchain| Ok(toolchain.build_examples(&folder)?))?;
    let found = guests.into_iter().find(|guest| guest.name == name);
    Ok(found.with_context(|| format!("tests/guests has no example {name}"))?.bytes)
}

/// The component of a shipped plugin's version, `plugin("skin-cascade", "1.0.0")`.
pub fn plugin(name: &str, version: &str) -> Result<Vec<u8>> {
    let folder = root().join("plugins").join(name);
    let guests = built(&folder, |toolchain| Ok(toolchain.build(&folder)?))?;
    let found = guests.into_iter().find(|guest| guest.version == version);
    Ok(found.with_context(|| format!("plugins/{name} has no version {version}"))?.bytes)
}

fn built(folder: &Path, build: impl FnOnce(&Toolchain) -> Result<Vec<Guest>>) -> Result<Vec<Guest>> {
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, guests)) = built.iter().find(|(own, _)| own == folder) {
        return Ok(guests.clone());
    }
    let toolchain = Toolchain::find(&|line| eprintln!("{line}"))?;
    let guests = build(&toolchain)?;
    built.push((folder.to_path_buf(), guests.clone()));
    Ok(guests)
}
