//! Builds a plugin's crate into a WebAssembly component that imports what its world says and nothing else.
//!
//! Three ways to a compiler for `wasm32-unknown-unknown`, tried in order: the target is installed; rustup adds it; Debian's own Rust
//! builds the standard library for it. The same compiler and the same folder give the same bytes.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-19";
const DEBIAN_SOURCE: &str = "lib/rustlib/src/rust/library/std/Cargo.toml";

#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    #[error("{program} could not be run: {source}; {hint}")]
    Run { program: String, hint: &'static str, source: io::Error },
    #[error(
        "no rust compiler for {TARGET} ({tried}); run `rustup target add {TARGET}`, or as root on Debian `apt-get install {}`",
        DEBIAN_PACKAGES.join(" ")
    )]
    NoToolchain { tried: String },
    #[error("{what} failed with {status}; its messages are above")]
    Failed { what: String, status: std::process::ExitStatus },
    #[error("{} is not the manifest of a package", .0.display())]
    NotAPackage(PathBuf),
    #[error("cargo's answer about {what} is not understood: {source}")]
    Answer { what: &'static str, source: serde_json::Error },
    #[error("{package} made no WebAssembly module; its Cargo.toml needs `[lib] crate-type = [\"cdylib\", \"rlib\"]`")]
    NoModule { package: String },
    #[error("{name} is no component: {reason}; a plugin has one `scrim_sdk::export!` line")]
    Encode { name: String, reason: String },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Which compiler builds the guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The target was installed beside the Rust in use.
    Installed,
    /// rustup added the target just now.
    Added,
    /// Debian's Rust, which builds the standard library itself (the first time takes a minute or two).
    Debian,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Installed => "the installed target wasm32-unknown-unknown",
            Way::Added => "the target wasm32-unknown-unknown, just added by rustup",
            Way::Debian => "Debian's Rust (/usr/bin/rustc), which builds its own standard library",
        })
    }
}

/// A compiler for guests.
#[derive(Clone, Debug)]
pub struct Toolchain {
    way: Way,
}

/// A guest that was built.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The package's name, or the example's.
    pub name: String,
    /// The version that the manifest gives this variant.
    pub version: String,
    /// The component.
    pub bytes: Vec<u8>,
}

impl Guest {
    /// `NAME-VERSION.wasm`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.wasm", self.name, self.version)
    }

    /// Writes the component into `folder`, whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, GuestError> {
        let path = folder.join(self.file_name());
        let part = folder.join(format!(".{}.{}.part", self.file_name(), std::process::id()));
        let failed = |source| GuestError::File { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        std::fs::write(&part, &self.bytes).map_err(failed)?;
        std::fs::rename(&part, &path).map_err(failed)?;
        Ok(path)
    }
}

impl Toolchain {
    /// Finds a compiler, or installs one where that needs no one's leave (rustup's target; Debian's packages for root). `say` hears what
    /// is being tried.
    pub fn find(say: &dyn Fn(&str)) -> Result<Self, GuestError> {
        if has_target() {
            return Ok(Self { way: Way::Installed });
        }
        let mut tried = vec!["the target is not installed"];
        say("adding the target wasm32-unknown-unknown with rustup");
        let added = Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::null()).status();
        match added {
            Ok(status) if status.success() && has_target() => return Ok(Self { way: Way::Added }),
            Ok(_) => tried.push("rustup could not add it"),
            Err(_) => tried.push("there is no rustup"),
        }
        if !has_debian() {
            say("installing Debian's Rust for WebAssembly");
            tried.push(install_debian());
        }
        if has_debian() { Ok(Self { way: Way::Debian }) } else { Err(GuestError::NoToolchain { tried: tried.join(", ") }) }
    }

    /// A compiler that is there already; nothing is installed.
    pub fn present() -> Option<Self> {
        let way = if has_target() { Way::Installed } else { has_debian().then_some(Way::Debian)? };
        Some(Self { way })
    }

    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Builds the plugin in `folder`: one guest for each entry of its `[package.metadata.scrim] variants`, or one with the default
    /// features where there is none.
    pub fn build(&self, folder: &Path) -> Result<Vec<Guest>, GuestError> {
        let package = Package::read(folder)?;
        let mut guests = Vec::new();
        for variant in package.variants() {
            let mut modules = self.cargo(&package, &["--lib".into(), "--features".into(), variant.features.join(",").into()], true)?;
            let Some((_, module)) = modules.pop() else { return Err(GuestError::NoModule { package: package.name }) };
            guests.push(Guest { bytes: component(&package.name, &module)?, name: package.name.clone(), version: variant.version });
        }
        Ok(guests)
    }

    /// Builds every example of the package in `folder` (each a `cdylib`), with a quicker, less thorough link.
    pub fn build_examples(&self, folder: &Path) -> Result<Vec<Guest>, GuestError> {
        let package = Package::read(folder)?;
        let modules = self.cargo(&package, &["--examples".into()], false)?;
        let guest =
            |(name, module): (String, PathBuf)| Ok(Guest { bytes: component(&name, &module)?, name, version: package.version.clone() });
        modules.into_iter().map(guest).collect()
    }

    /// Runs `cargo build`, its messages to stderr; answers with the modules by target name.
    fn cargo(&self, package: &Package, what: &[OsString], whole_program: bool) -> Result<Vec<(String, PathBuf)>, GuestError> {
        let mut command = self.command(package, whole_program);
        // Cargo reads its configuration from where it stands.
        command.args(what).current_dir(package.manifest.parent().unwrap_or(&package.root));
        let output = command.stderr(Stdio::inherit()).output().map_err(|source| GuestError::Run {
            program: "cargo".into(),
            hint: "install Rust from rustup.rs",
            source,
        })?;
        if !output.status.success() {
            return Err(GuestError::Failed { what: format!("building {}", package.name), status: output.status });
        }
        let mut modules = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let message: Message = serde_json::from_str(line).map_err(|source| GuestError::Answer { what: "the build", source })?;
            let ours = message.manifest_path.as_deref() == Some(package.manifest.as_path());
            let module = message.filenames.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "wasm"));
            if let (true, Some(target), Some(module)) = (ours, message.target, module) {
                modules.push((target.name, module));
            }
        }
        Ok(modules)
    }

    fn command(&self, package: &Package, whole_program: bool) -> Command {
        let mut command = match self.way {
            Way::Installed | Way::Added => Command::new(cargo()),
            Way::Debian => Command::new("/usr/bin/cargo"),
        };
        // What was set for the native build must not reach the guest's.
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC", "RUSTC_WRAPPER", "CARGO_BUILD_RUSTC"] {
            command.env_remove(variable);
        }
        let mut target = package.target_directory.join("guests");
        if self.way == Way::Debian {
            command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER).arg("-Zbuild-std=std,panic_abort");
            target = package.target_directory.join("guests-debian");
        }
        // Paths of this machine have no place in a plugin's panic messages.
        let mut flags = vec!["-Ctarget-feature=+simd128".to_string(), format!("--remap-path-prefix={}=.", package.root.display())];
        if let Some(registry) = cargo_home() {
            flags.push(format!("--remap-path-prefix={}=cargo", registry.display()));
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command.env("CARGO_PROFILE_RELEASE_LTO", if whole_program { "fat" } else { "off" });
        command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", if whole_program { "1" } else { "16" });
        for (setting, value) in
            [("DEBUG", "none"), ("INCREMENTAL", "false"), ("OPT_LEVEL", "3"), ("PANIC", "abort"), ("STRIP", "debuginfo")]
        {
            command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
        }
        command.args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"]);
        command.arg("--manifest-path").arg(&package.manifest).arg("--target-dir").arg(target);
        command
    }
}

/// Makes a component of a core module that carries its world; a component stays what it is.
pub fn component(name: &str, module: &Path) -> Result<Vec<u8>, GuestError> {
    let bytes = std::fs::read(module).map_err(|source| GuestError::File { path: module.into(), source })?;
    let encode = || ComponentEncoder::default().validate(true).module(&bytes)?.encode();
    // `{:#}` gives the whole chain of causes.
    encode().map_err(|error| GuestError::Encode { name: name.into(), reason: format!("{error:#}") })
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo_home() -> Option<PathBuf> {
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

fn stdout(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn has_target() -> bool {
    let Some(folder) = stdout("rustc", &["--print", "target-libdir", "--target", TARGET]) else { return false };
    let Ok(files) = std::fs::read_dir(folder) else { return false };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn has_debian() -> bool {
    let sysroot = stdout("/usr/bin/rustc", &["--print", "sysroot"]);
    let source = sysroot.is_some_and(|sysroot| Path::new(&sysroot).join(DEBIAN_SOURCE).is_file());
    source && Path::new(DEBIAN_LINKER).is_file() && Path::new("/usr/bin/cargo").is_file()
}

fn install_debian() -> &'static str {
    if stdout("id", &["-u"]).as_deref() != Some("0") {
        return "Debian's Rust is not installed, and only root may install it";
    }
    let apt = |args: &[&str]| {
        let status = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let install: Vec<&str> = ["install", "-y", "--no-install-recommends"].into_iter().chain(DEBIAN_PACKAGES).collect();
    if apt(&install) || (apt(&["update"]) && apt(&install)) { "Debian's Rust lacks a part" } else { "Debian's Rust could not be installed" }
}

struct Package {
    name: String,
    version: String,
    manifest: PathBuf,
    root: PathBuf,
    target_directory: PathBuf,
    variants: Vec<Variant>,
}

#[derive(Clone, Debug, Deserialize)]
struct Variant {
    version: String,
    #[serde(default)]
    features: Vec<String>,
}

impl Package {
    fn read(folder: &Path) -> Result<Self, GuestError> {
        let manifest = folder.join("Cargo.toml");
        let manifest = manifest.canonicalize().map_err(|_| GuestError::NotAPackage(manifest))?;
        let mut command = Command::new(cargo());
        command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest).current_dir(folder);
        let output = command.stderr(Stdio::inherit()).output().map_err(|source| GuestError::Run {
            program: "cargo".into(),
            hint: "install Rust from rustup.rs",
            source,
        })?;
        if !output.status.success() {
            return Err(GuestError::Failed { what: format!("reading {}", manifest.display()), status: output.status });
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).map_err(|source| GuestError::Answer { what: "the package", source })?;
        let found = metadata.packages.into_iter().find(|package| package.manifest_path == manifest);
        let Some(package) = found else { return Err(GuestError::NotAPackage(manifest)) };
        Ok(Self {
            name: package.name,
            version: package.version,
            variants: package.metadata.unwrap_or_default().scrim.variants,
            manifest,
            root: metadata.workspace_root,
            target_directory: metadata.target_directory,
        })
    }

    fn variants(&self) -> Vec<Variant> {
        if self.variants.is_empty() {
            return vec![Variant { version: self.version.clone(), features: Vec::new() }];
        }
        self.variants.clone()
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    version: String,
    manifest_path: PathBuf,
    metadata: Option<AuthorMetadata>,
}

#[derive(Default, Deserialize)]
struct AuthorMetadata {
    #[serde(default)]
    scrim: ScrimMetadata,
}

#[derive(Default, Deserialize)]
struct ScrimMetadata {
    #[serde(default)]
    variants: Vec<Variant>,
}

/// One of cargo's JSON lines; other kinds of message lack these fields.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    target: Option<MessageTarget>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
}
