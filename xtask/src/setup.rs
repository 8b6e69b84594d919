//! What has to be there before anything runs: fetched files, built plugins, and for the tests a word list and a browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
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
    voice()?;
    browser()?;
    schemathesis()?;
    livekit()?;
    livekit_sdk()
}

/// What the rooms of `cargo xtask demo --livekit` and their tests need: a server, and what browsers join it with.
pub fn livekit() -> Result<()> {
    livekit_server()?;
    livekit_client()
}

/// The server that the tests of rooms talk to. Its module is checked by Go against the checksum database.
const LIVEKIT_SERVER: &str = "github.com/livekit/livekit-server/cmd/server@v1.13.5";

fn livekit_server() -> Result<()> {
    let folder = assets::folder()?;
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let (program, version) = (folder.join(assets::LIVEKIT_SERVER), folder.join("livekit-server.version"));
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

/// LiveKit's Python SDK, with which the tests try to get at what is not for them.
fn livekit_sdk() -> Result<()> {
    python::environment(&target().join("livekit-sdk"), &root().join("tests/livekit/sdk-requirements.txt"), &say)?;
    Ok(())
}

/// LiveKit's browser client, out of the npm package that `toolchain/livekit-client` pins with all that it needs; npm holds each against its
/// SHA-512.
fn livekit_client() -> Result<()> {
    let pinned = root().join("toolchain/livekit-client");
    let lock = pinned.join("package-lock.json");
    let pins = std::fs::read_to_string(&lock).with_context(|| format!("reading {}", lock.display()))?;
    let pins: serde_json::Value = serde_json::from_str(&pins).with_context(|| format!("reading {}", lock.display()))?;
    let package = &pins["packages"]["node_modules/livekit-client"];
    let (Some(number), Some(integrity)) = (package["version"].as_str(), package["integrity"].as_str()) else {
        bail!("{} pins no livekit-client", lock.display());
    };
    let wanted = format!("{number} {integrity}\n");
    let folder = assets::folder()?;
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let (script, version) = (folder.join(assets::LIVEKIT_CLIENT), folder.join("livekit-client.version"));
    if script.is_file() && std::fs::read_to_string(&version).is_ok_and(|got| got == wanted) {
        return Ok(());
    }
    node("LiveKit's browser client")?;
    say(&format!("fetching livekit-client {number}"));
    let into = target().join("livekit-client");
    std::fs::create_dir_all(&into).with_context(|| format!("making {}", into.display()))?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(pinned.join(name), into.join(name)).with_context(|| format!("copying {name} to {}", into.display()))?;
    }
    npm_ci(&into)?;
    // Beside its place first: a copy that is cut short must not count as the whole.
    let part = folder.join(format!(".{}.{}.part", assets::LIVEKIT_CLIENT, std::process::id()));
    let from = into.join("node_modules/livekit-client/dist/livekit-client.umd.js");
    std::fs::copy(&from, &part).with_context(|| format!("copying {} to {}", from.display(), part.display()))?;
    std::fs::rename(&part, &script).with_context(|| format!("writing {}", script.display()))?;
    std::fs::write(&version, wanted).with_context(|| format!("writing {}", version.display()))
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

/// What speaks in the tests of speech.
fn voice() -> Result<()> {
    const WHY: &str = "the tests of speech";
    for program in ["espeak-ng", "flite", "festival"] {
        installed(program, program, WHY)?;
    }
    let voice = || Path::new("/usr/share/festival/voices/us/cmu_us_slt_arctic_hts").is_dir();
    package_with(voice, "festival's voice cmu_us_slt_arctic_hts", "festvox-us-slt-hts", WHY)
}

/// What the tests of the pages need: Chromium, Node.js, and the packages that `tests/browser` pins.
fn browser() -> Result<()> {
    const WHY: &str = "the tests of the pages";
    installed("chromium", "chromium", WHY)?;
    node(WHY)?;
    let folder = root().join("tests/browser");
    let (pinned, installed) = (folder.join("package-lock.json"), folder.join("node_modules/.installed-lock.json"));
    let lock = std::fs::read(&pinned).with_context(|| format!("reading {}", pinned.display()))?;
    if std::fs::read(&installed).is_ok_and(|before| before == lock) {
        return Ok(());
    }
    npm_ci(&folder)?;
    std::fs::write(&installed, lock).with_context(|| format!("writing {}", installed.display()))
}

fn node(why: &str) -> Result<()> {
    installed("node", "nodejs", why)?;
    installed("npm", "npm", why)?;
    node_is_new_enough(why)
}

/// Installs Debian's package of a program that is not there.
fn installed(program: &str, package: &str, why: &str) -> Result<()> {
    package_with(|| on_path(program), &format!("`{program}`"), package, why)
}

/// Installs Debian's package of something that is not there.
fn package_with(is_there: impl Fn() -> bool, what: &str, package: &str, why: &str) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    say(&format!("installing Debian's {package}, for {why}"));
    // Whatever apt says, what counts is whether it is there.
    let _ = Command::new("apt-get").arg("update").status();
    let _ = Command::new("apt-get").args(["install", "-y", "--no-install-recommends", package]).status();
    ensure!(is_there(), "{what} is missing, for {why}: install Debian's {package} (apt-get update; apt-get install {package})");
    Ok(())
}

/// Puts what the folder's `package-lock.json` pins beside it.
fn npm_ci(folder: &Path) -> Result<()> {
    let status = Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder).status();
    let status = status.context("`npm` could not be run")?;
    ensure!(status.success(), "`npm ci` in {} ended with {status}; it needs the npm registry the first time", folder.display());
    Ok(())
}

/// What playwright-core asks for.
const NODE_MIN: u32 = 20;

fn node_is_new_enough(why: &str) -> Result<()> {
    let output = Command::new("node").arg("--version").output().context("`node` could not be run")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    ensure!(major.is_some_and(|major| major >= NODE_MIN), "Node.js {NODE_MIN} or later is needed for {why}, not {version:?}");
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
    // What an earlier version of this repository built is no plugin of this one.
    for left in std::fs::read_dir(target().join("plugins"))?.flatten().map(|entry| entry.path()) {
        if left.extension().is_some_and(|extension| extension == "wasm") && !files.contains(&left) {
            std::fs::remove_file(&left)?;
        }
    }
    Ok(files)
}
