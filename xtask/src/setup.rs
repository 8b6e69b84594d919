//! What has to be there before anything runs: fetched files and built plugins.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use scrim_toolchain::assets;
use scrim_toolchain::guest::Toolchain;
use scrim_toolchain::python;

use crate::run::{root, target};

/// The plugins of this repository.
const PLUGINS: [&str; 3] = ["skin-cascade", "profanity-context", "adaptive-threshold"];

fn say(line: &str) {
    eprintln!("   {line}");
}

/// Fetches models, libraries and clips; answers with their folder.
pub fn fetch() -> Result<PathBuf> {
    let folder = assets::fetch(&say)?;
    say(&format!("fetched files are in {}", folder.display()));
    Ok(folder)
}

/// The word list that the profanity rules are held against.
pub fn dictionary() -> Result<()> {
    let words = Path::new("/usr/share/dict/words");
    if !words.exists() {
        say("installing Debian's wamerican, for its word list");
        // Whatever apt says, what counts is whether the list is there.
        let _ = Command::new("apt-get").args(["install", "-y", "wamerican"]).status();
    }
    ensure!(words.exists(), "{} is missing: install Debian's wamerican (apt-get update; apt-get install wamerican)", words.display());
    Ok(())
}

/// What holds the service against its document.
pub fn schemathesis() -> Result<()> {
    python::environment(&target().join("spec"), &root().join("tests/spec/requirements.txt"), &say)?;
    Ok(())
}

/// Builds every plugin, each variant of it; answers with the components' files.
pub fn plugins() -> Result<Vec<PathBuf>> {
    let toolchain = Toolchain::find(&say)?;
    say(&format!("guests are built by {}", toolchain.way()));
    let mut files = Vec::new();
    for plugin in PLUGINS {
        for guest in toolchain.build(&root().join("plugins").join(plugin))? {
            let file = guest.write(&target().join("plugins"))?;
            say(&format!("{} ({} KiB)", file.display(), guest.bytes.len() / 1024));
            files.push(file);
        }
    }
    Ok(files)
}
