//! The plugins this host knows: content-addressed on disk, `name@version` → digest.
//!
//! ```text
//! <root>/blobs/<sha256>.wasm              the component
//!        names/<name>@<version>           its digest, in hexadecimal
//!        compiled/<sha256>-<fingerprint>  32 bytes of MAC, then machine code
//!        key                              this installation's MAC key, readable by its owner alone
//! ```
//! What always holds: a name once given means the same bytes for ever; files appear whole or not at all; only machine code that this
//! installation made for this engine and CPU is loaded, since loading it is running it. Anything else is compiled anew.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, InstancePre};

use super::bindings::Exports;
use super::check::{CheckError, Checked, check};
use super::engine::{ClassName, Engines};
use super::guest::HostState;
use super::instance::{Budgets, PolicyInstance};
use super::types::{Fault, Manifest, Slot};
use crate::media::frame::Micros;

/// Bytes of a name and of a version.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of a plugin's config schema.
const SCHEMA_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("`{0}` is no plugin name: give NAME@VERSION, a name of small letters, digits and `-`, a semantic version")]
    Name(String),
    #[error("no plugin `{0}` in the catalog at {1}: add it with `scrim plugin add`")]
    Unknown(PluginName, PathBuf),
    #[error("`{0}` already means another plugin ({1}): raise the version")]
    Taken(PluginName, Digest),
    #[error("the stored bytes of `{0}` no longer have their digest: remove {1} and add the plugin again")]
    Corrupt(Digest, PathBuf),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("the component does not compile: {0}")]
    Compile(String),
    #[error("it does not fit the contract: {0}")]
    Contract(String),
    #[error("asked who it is, the plugin failed: {0}")]
    Describe(Fault),
    #[error("the plugin says it is `{said}`, but was added as `{added}`")]
    Liar { said: String, added: PluginName },
    #[error("the plugin's config schema cannot be used: {0}")]
    Schema(String),
    #[error("no randomness for this installation's key: {0}")]
    Key(String),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> CatalogError + '_ {
    move |source| CatalogError::Io { path: path.to_owned(), source }
}

/// `name@version`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginName {
    name: String,
    version: semver::Version,
}

impl PluginName {
    pub fn new(name: &str, version: &str) -> Result<Self, CatalogError> {
        let bad = || CatalogError::Name(format!("{name}@{version}"));
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let good = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(fits) && !name.starts_with('-');
        if !good || version.len() > NAME_BYTES_MAX {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), version: semver::Version::parse(version).map_err(|_| bad())? })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> &semver::Version {
        &self.version
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl FromStr for PluginName {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, CatalogError> {
        let (name, version) = text.split_once('@').ok_or_else(|| CatalogError::Name(text.to_owned()))?;
        Self::new(name, version)
    }
}

impl TryFrom<String> for PluginName {
    type Error = CatalogError;

    fn try_from(text: String) -> Result<Self, CatalogError> {
        text.parse()
    }
}

impl From<PluginName> for String {
    fn from(name: PluginName) -> String {
        name.to_string()
    }
}

/// SHA-256 of a component's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A plugin ready to be instantiated. Shared by every room that uses it; its machine code goes with the last.
pub struct Loaded {
    pub name: PluginName,
    pub manifest: Manifest,
    pub slot: Slot,
    pub digest: Digest,
    pub imports: Vec<String>,
    /// Bytes of the component.
    pub size: usize,
    pub(super) engines: Arc<Engines>,
    pub(super) class: ClassName,
    pub(super) pre: InstancePre<HostState>,
    pub(super) exports: Exports,
    schema: jsonschema::Validator,
}

impl Loaded {
    /// Whether the plugin's schema accepts a configuration. The error names every fault.
    pub fn check_config(&self, config: &str) -> Result<(), String> {
        let value: serde_json::Value = serde_json::from_str(config).map_err(|error| format!("it is no JSON: {error}"))?;
        let faults: Vec<String> = self.config_faults(&value).into_iter().map(|(path, fault)| format!("{path}: {fault}")).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    /// What the plugin's schema finds wrong with a configuration, each with its JSON pointer; the first sixteen.
    pub fn config_faults(&self, config: &serde_json::Value) -> Vec<(String, String)> {
        self.schema.iter_errors(config).take(16).map(|error| (error.instance_path().to_string(), error.to_string())).collect()
    }

    pub fn class(&self) -> ClassName {
        self.class
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loaded({} for {}, {})", self.name, self.slot, self.digest)
    }
}

/// How a load went: whether the compiled cache served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadedFrom {
    /// Another room has it loaded.
    Memory,
    Cache,
    /// No entry, or one that this installation did not make for this engine and CPU.
    Compiled,
}

/// Compiles, checks and describes a component without any catalog: for `scrim plugin inspect` and tests.
pub fn load_bytes(engines: &Arc<Engines>, bytes: &[u8], budgets: &Budgets) -> Result<Arc<Loaded>, CatalogError> {
    let checked = check(bytes)?;
    let component = compile(engines, &checked)?;
    let digest = Digest::of(&checked.bytes);
    finish(engines, &checked, digest, component, None, budgets).map(Arc::new)
}

fn compile(engines: &Engines, checked: &Checked) -> Result<Component, CatalogError> {
    Component::from_binary(&engines.class(checked.class).engine, &checked.bytes)
        .map_err(|error| CatalogError::Compile(format!("{error:#}")))
}

/// Links the compiled component, asks it who it is, and holds it to that.
fn finish(
    engines: &Arc<Engines>,
    checked: &Checked,
    digest: Digest,
    component: Component,
    added: Option<&PluginName>,
    budgets: &Budgets,
) -> Result<Loaded, CatalogError> {
    let class = engines.class(checked.class);
    let pre = class.linker.instantiate_pre(&component).map_err(|error| CatalogError::Contract(format!("{error:#}")))?;
    let exports = Exports::find(&component, checked.slot).map_err(CatalogError::Contract)?;
    let label: Arc<str> = added.map_or_else(|| "plugin".into(), |name| name.to_string().into());
    let manifest = PolicyInstance::describe(engines, checked.class, &pre, &exports, label, budgets).map_err(CatalogError::Describe)?;
    let said = PluginName::new(&manifest.name, &manifest.version)?;
    if let Some(added) = added
        && said != *added
    {
        return Err(CatalogError::Liar { said: said.to_string(), added: added.clone() });
    }
    if manifest.config_schema.len() > SCHEMA_BYTES_MAX {
        return Err(CatalogError::Schema(format!("it has {} bytes, at most {SCHEMA_BYTES_MAX} are read", manifest.config_schema.len())));
    }
    let schema = serde_json::from_str(&manifest.config_schema).map_err(|error| CatalogError::Schema(error.to_string()))?;
    let schema = jsonschema::validator_for(&schema).map_err(|error| CatalogError::Schema(error.to_string()))?;
    Ok(Loaded {
        name: said,
        manifest,
        slot: checked.slot,
        digest,
        imports: checked.imports.clone(),
        size: checked.bytes.len(),
        engines: engines.clone(),
        class: checked.class,
        pre,
        exports,
        schema,
    })
}

/// See the module's documentation.
pub struct Catalog {
    root: PathBuf,
    key: [u8; 32],
    engines: Arc<Engines>,
    budgets: Budgets,
    loaded: Mutex<HashMap<Digest, Weak<Loaded>>>,
}

impl Catalog {
    /// Opens the catalog in a folder, making it where it is not there.
    pub fn open(root: impl Into<PathBuf>, engines: Arc<Engines>, budgets: Budgets) -> Result<Self, CatalogError> {
        let root = root.into();
        for folder in ["blobs", "names", "compiled"] {
            let path = root.join(folder);
            std::fs::create_dir_all(&path).map_err(io(&path))?;
        }
        let key = installation_key(&root.join("key"))?;
        Ok(Self { root, key, engines, budgets, loaded: Mutex::default() })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn engines(&self) -> &Arc<Engines> {
        &self.engines
    }

    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Checks, compiles and describes a plugin, and keeps it under the name it gives itself; with `name`, that must be the same.
    pub fn add(&self, bytes: &[u8], name: Option<&PluginName>) -> Result<Arc<Loaded>, CatalogError> {
        let checked = check(bytes)?;
        let digest = Digest::of(&checked.bytes);
        let (component, _) = self.component(&checked, digest)?;
        let loaded = Arc::new(finish(&self.engines, &checked, digest, component, name, &self.budgets)?);
        if let Some(other) = self.digest(&loaded.name)?
            && other != digest
        {
            return Err(CatalogError::Taken(loaded.name.clone(), other));
        }
        write_whole(&self.blob(digest), &checked.bytes)?;
        write_whole(&self.root.join("names").join(loaded.name.to_string()), digest.to_string().as_bytes())?;
        self.remember(&loaded);
        Ok(loaded)
    }

    /// Takes a name away; its bytes go with their last name. A plugin that is loaded stays so.
    pub fn remove(&self, name: &PluginName) -> Result<(), CatalogError> {
        let digest = self.digest(name)?.ok_or_else(|| CatalogError::Unknown(name.clone(), self.root.clone()))?;
        let path = self.root.join("names").join(name.to_string());
        std::fs::remove_file(&path).map_err(io(&path))?;
        if !self.list()?.iter().any(|(_, other)| *other == digest) {
            let path = self.blob(digest);
            std::fs::remove_file(&path).map_err(io(&path))?;
        }
        Ok(())
    }

    /// Every name, sorted.
    pub fn list(&self) -> Result<Vec<(PluginName, Digest)>, CatalogError> {
        let folder = self.root.join("names");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(io(&folder))? {
            let file = entry.map_err(io(&folder))?.file_name();
            // Left-overs of an interrupted write are no names.
            let Some(Ok(name)) = file.to_str().map(PluginName::from_str) else { continue };
            if let Some(digest) = self.digest(&name)? {
                names.push((name, digest));
            }
        }
        names.sort();
        Ok(names)
    }

    /// The digest behind a name.
    pub fn digest(&self, name: &PluginName) -> Result<Option<Digest>, CatalogError> {
        let path = self.root.join("names").join(name.to_string());
        match std::fs::read_to_string(&path) {
            Ok(text) => match Digest::parse(text.trim()) {
                Some(digest) => Ok(Some(digest)),
                None => Err(CatalogError::Io { path, source: std::io::Error::other("the file holds no digest") }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(&path)(error)),
        }
    }

    pub fn load(&self, name: &PluginName) -> Result<Arc<Loaded>, CatalogError> {
        self.load_with(name).map(|(loaded, _)| loaded)
    }

    /// Also says where it came from.
    pub fn load_with(&self, name: &PluginName) -> Result<(Arc<Loaded>, LoadedFrom), CatalogError> {
        let digest = self.digest(name)?.ok_or_else(|| CatalogError::Unknown(name.clone(), self.root.clone()))?;
        let known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).and_then(Weak::upgrade);
        if let Some(loaded) = known {
            // The file of a name may have been written by somebody else.
            if loaded.name != *name {
                return Err(CatalogError::Liar { said: loaded.name.to_string(), added: name.clone() });
            }
            return Ok((loaded, LoadedFrom::Memory));
        }
        let path = self.blob(digest);
        let bytes = std::fs::read(&path).map_err(io(&path))?;
        if Digest::of(&bytes) != digest {
            return Err(CatalogError::Corrupt(digest, path));
        }
        let checked = check(&bytes)?;
        let (component, from) = self.component(&checked, digest)?;
        let loaded = Arc::new(finish(&self.engines, &checked, digest, component, Some(name), &self.budgets)?);
        self.remember(&loaded);
        Ok((loaded, from))
    }

    fn remember(&self, loaded: &Arc<Loaded>) {
        let mut known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, weak| weak.strong_count() > 0);
        known.insert(loaded.digest, Arc::downgrade(loaded));
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs").join(format!("{digest}.wasm"))
    }

    /// Machine code out of the cache when the entry is our own, otherwise compiled and put there.
    fn component(&self, checked: &Checked, digest: Digest) -> Result<(Component, LoadedFrom), CatalogError> {
        let class = self.engines.class(checked.class);
        let path = self.root.join("compiled").join(format!("{digest}-{}", Digest(class.fingerprint)));
        if let Ok(entry) = std::fs::read(&path)
            && let Some((mac, code)) = entry.split_first_chunk::<32>()
        {
            if same(mac, &self.mac(digest, &class.fingerprint, code)) {
                // SAFETY: the MAC proves that this installation wrote these bytes, for this digest, engine, settings and CPU,
                // as they came out of `Component::serialize`.
                match unsafe { Component::deserialize(&class.engine, code) } {
                    Ok(component) => return Ok((component, LoadedFrom::Cache)),
                    Err(error) => tracing::warn!(%digest, %error, "compiled plugin not loadable, compiling it again"),
                }
            } else {
                tracing::warn!(%digest, "compiled plugin was changed by somebody else, compiling it again");
                metrics::counter!(super::meter::CACHE_REJECTED).increment(1);
            }
        }
        let since = Instant::now();
        let component = compile(&self.engines, checked)?;
        metrics::histogram!(super::meter::COMPILE).record(since.elapsed().as_secs_f64());
        let code = component.serialize().map_err(|error| CatalogError::Compile(format!("{error:#}")))?;
        let mut entry = self.mac(digest, &class.fingerprint, &code).to_vec();
        entry.extend_from_slice(&code);
        write_whole(&path, &entry)?;
        Ok((component, LoadedFrom::Compiled))
    }

    fn mac(&self, digest: Digest, fingerprint: &[u8; 32], code: &[u8]) -> [u8; 32] {
        hmac_sha256(&self.key, &[&digest.0, fingerprint, code])
    }
}

/// How long one [`Catalog::load_with`] takes, for benches.
pub fn timed_load(catalog: &Catalog, name: &PluginName) -> Result<(Arc<Loaded>, LoadedFrom, Duration), CatalogError> {
    let since = Instant::now();
    let (loaded, from) = catalog.load_with(name)?;
    Ok((loaded, from, since.elapsed()))
}

/// RFC 2104 with a key no longer than a block.
fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Sha256::new().chain_update(pad(0x36));
    parts.iter().for_each(|part| inner.update(part));
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
}

/// Without telling by its duration where the two differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn installation_key(path: &Path) -> Result<[u8; 32], CatalogError> {
    match std::fs::read(path) {
        Ok(bytes) => {
            if let Ok(key) = bytes.try_into() {
                return Ok(key);
            }
            // A key of another length protects nothing; with a new one the cache is made again.
            std::fs::remove_file(path).map_err(io(path))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(path)(error)),
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| CatalogError::Key(error.to_string()))?;
    // tempfile makes files that only their owner can read.
    write_whole(path, &key)?;
    Ok(key)
}

/// Writes to a temporary file beside it, then renames: readers see the old file or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CatalogError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io(folder))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_data()).map_err(io(path))?;
    file.persist(path).map_err(|error| io(path)(error.error))?;
    // The new name is in the folder, which is written by itself. Only Unix opens folders as files.
    if cfg!(unix) {
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder))?;
    }
    Ok(())
}

/// What `describe` is asked at: it must not depend on time.
pub(super) const DESCRIBE_AT: Micros = Micros::ZERO;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_hmac_sha256() {
        // RFC 4231, test case 2, has a key shorter than ours; with zero padding to 32 bytes the key block is the same.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = hmac_sha256(&key, &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(Digest(mac).to_string(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn names_are_plain() {
        assert_eq!("skin-cascade@1.0.0".parse::<PluginName>().map(|name| name.to_string()).ok().as_deref(), Some("skin-cascade@1.0.0"));
        for bad in ["skin-cascade", "../x@1.0.0", "A@1.0.0", "a@1", "@1.0.0", "a@1.0.0/..", "-a@1.0.0"] {
            assert!(bad.parse::<PluginName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_are_read_as_written() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("é"), None);
    }
}
