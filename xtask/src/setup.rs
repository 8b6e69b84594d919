//! What has to be there before anything runs: fetched files, built plugins, and for the tests a word list and a browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
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

/// What the tests need beyond that.
pub fn for_tests() -> Result<()> {
    dictionary()?;
    browser()?;
    schemathesis()?;
    livekit_server()
}

/// The server that the tests of rooms talk to. Its module is checked by Go against the checksum database.
const LIVEKIT_SERVER: &str = "github.com/livekit/livekit-server/cmd/server@v1.13.5";

fn livekit_server() -> Result<()> {
    let folder = assets::folder()?;
    let (program, version) = (folder.join("livekit-server"), folder.join("livekit-server.version"));
    if program.is_file() && std::fs::read_to_string(&version).is_ok_and(|built| built == LIVEKIT_SERVER) {
        return Ok(());
    }
    let go = if on_path("go") {
        PathBuf::from("go")
    } else {
        python::environment(&target().join("go"), &root().join("tests/livekit/requirements.txt"), &say)?.join("go")
    };
    say("building LiveKit's server, which takes minutes");
    let into = folder.join("go");
    let status = Command::new(&go).args(["install", LIVEKIT_SERVER]).env("GOBIN", &into).env("CGO_ENABLED", "0").status();
    let status = status.with_context(|| format!("{} could not be run", go.display()))?;
    ensure!(status.success(), "`go install {LIVEKIT_SERVER}` ended with {status}; it needs the Go module proxy the first time");
    std::fs::rename(into.join("server"), &program).with_context(|| format!("writing {}", program.display()))?;
    std::fs::write(&version, LIVEKIT_SERVER).with_context(|| format!("writing {}", version.display()))
}

/// The word list that the profanity rules are held against.
fn dictionary() -> Result<()> {
    let words = Path::new("/usr/share/dict/words");
    if !words.exists() {
        say("installing Debian's wamerican, for its word list");
        // Whatever apt says, what counts is whether the list is there.
        let _ = Command::new("apt-get").args(["install", "-y", "wamerican"]).status();
    }
    ensure!(words.exists(), "{} is missing: install Debian's wamerican (apt-get update; apt-get install wamerican)", words.display());
    Ok(())
}

/// What the test of the page needs: Chromium, Node.js, and the packages that `tests/browser` pins.
fn browser() -> Result<()> {
    for (program, package) in [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")] {
        if on_path(program) {
            continue;
        }
        say(&format!("installing Debian's {package}, for the test of the page"));
        // Whatever apt says, what counts is whether the program is there.
        let _ = Command::new("apt-get").arg("update").status();
        let _ = Command::new("apt-get").args(["install", "-y", "--no-install-recommends", package]).status();
        ensure!(on_path(program), "`{program}` is missing: install Debian's {package} (apt-get update; apt-get install {package})");
    }
    node_is_new_enough()?;
    let folder = root().join("tests/browser");
    let (pinned, installed) = (folder.join("package-lock.json"), folder.join("node_modules/.installed-lock.json"));
    let lock = std::fs::read(&pinned).with_context(|| format!("reading {}", pinned.display()))?;
    if std::fs::read(&installed).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    let status = Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder).status();
    let status = status.context("`npm` could not be run")?;
    ensure!(status.success(), "`npm ci` in {} ended with {status}; it needs the npm registry the first time", folder.display());
    std::fs::write(&installed, lock).with_context(|| format!("writing {}", installed.display()))
}

/// What playwright-core asks for.
const NODE_MIN: u32 = 20;

fn node_is_new_enough() -> Result<()> {
    let output = Command::new("node").arg("--version").output().context("`node` could not be run")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    ensure!(
        major.is_some_and(|major| major >= NODE_MIN),
        "Node.js {NODE_MIN} or later is needed for the test of the page, not {version:?}"
    );
    Ok(())
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// What holds the service against its document.
fn schemathesis() -> Result<()> {
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
