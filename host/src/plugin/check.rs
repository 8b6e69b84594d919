//! What can be known of a plugin from its bytes alone, before anything of it runs: world, contract version, imports, size.

use wit_component::ComponentEncoder;
use wit_parser::decoding::DecodedWasm;

use super::engine::ClassName;
use super::types::Slot;
use super::{bindings, wasi};

/// Largest plugin that is accepted. componentize-py makes components of about 40 MiB.
pub const PLUGIN_BYTES_MAX: usize = 48 << 20;

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("the file has {0} bytes; a plugin may have at most {PLUGIN_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the file is no WebAssembly: it must begin with `\\0asm`; precompiled code is not accepted, give the `.wasm`")]
    NotWasm,
    #[error("the core module cannot be made a component: {0}; was it built with the SDK or another generator of component bindings?")]
    Encode(String),
    #[error("the component cannot be read: {0}")]
    Decode(String),
    #[error("the file holds a WIT package, no component")]
    WitPackage,
    #[error(
        "it exports none of the worlds of {}@{}: expected lifecycle and one of cascade, text, threshold",
        bindings::PACKAGE,
        bindings::VERSION
    )]
    NoWorld,
    #[error("it exports several slots' interfaces ({0}); a plugin fills one slot")]
    ManyWorlds(String),
    #[error("it exports `{0}` but not `{lifecycle}`", lifecycle = bindings::LIFECYCLE)]
    NoLifecycle(String),
    #[error("it speaks contract `{0}`; this host speaks {package}@{version}: build the plugin against that", package = bindings::PACKAGE, version = bindings::VERSION)]
    Version(String),
    #[error("it imports `{0}`, which no plugin is given; allowed are `{log}` and WASI preview 2 ({wasi})", log = bindings::LOG, wasi = wasi::PACKAGES.join(", "))]
    Import(String),
}

/// A component that has passed every check of its bytes.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The component; what was given, or what was made of a core module.
    pub bytes: Vec<u8>,
    pub slot: Slot,
    pub class: ClassName,
    /// Names of the imports, sorted.
    pub imports: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Module,
    Component,
}

/// The preamble's second word tells a core module from a component.
fn layer(bytes: &[u8]) -> Result<Layer, CheckError> {
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => Ok(Layer::Module),
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(Layer::Component),
        _ => Err(CheckError::NotWasm),
    }
}

/// Reads world, contract version and imports. Core modules are encoded as components first.
pub fn check(bytes: &[u8]) -> Result<Checked, CheckError> {
    if bytes.len() > PLUGIN_BYTES_MAX {
        return Err(CheckError::TooLarge(bytes.len()));
    }
    let bytes = match layer(bytes)? {
        Layer::Component => bytes.to_vec(),
        Layer::Module => guarded(|| encode(bytes)).unwrap_or_else(|panic| Err(CheckError::Encode(panic)))?,
    };
    let decode = || wit_parser::decoding::decode(&bytes).map_err(|error| CheckError::Decode(format!("{error:#}")));
    let decoded = guarded(decode).unwrap_or_else(|panic| Err(CheckError::Decode(panic)))?;
    let DecodedWasm::Component(resolve, world) = decoded else { return Err(CheckError::WitPackage) };
    let world = &resolve.worlds[world];
    let mut imports: Vec<String> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    // Types alone: nothing there can be called.
    imports.retain(|name| name != bindings::TYPES);
    imports.sort();
    let exports: Vec<String> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let slot = slot_of(&exports)?;
    let class = class_of(&imports)?;
    Ok(Checked { bytes, slot, class, imports })
}

fn encode(module: &[u8]) -> Result<Vec<u8>, CheckError> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    encoder.module(module).and_then(|encoder| encoder.encode()).map_err(|error| CheckError::Encode(format!("{error:#}")))
}

/// The readers are other people's code on bytes from anywhere: should one panic, the plugin is refused and nothing else happens.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).map_err(|_| "reading it failed within the host's parser".to_owned())
}

fn slot_of(exports: &[String]) -> Result<Slot, CheckError> {
    let ours = |name: &&String| name.strip_prefix(bindings::PACKAGE).is_some_and(|rest| rest.starts_with('/'));
    let suffix = format!("@{}", bindings::VERSION);
    if let Some(other) = exports.iter().filter(ours).find(|name| !name.ends_with(&suffix)) {
        return Err(CheckError::Version(other.clone()));
    }
    let interface = |slot: &Slot| match slot {
        Slot::Cascade => bindings::CASCADE,
        Slot::Text => bindings::TEXT,
        Slot::Threshold => bindings::THRESHOLD,
    };
    let slots: Vec<Slot> = Slot::ALL.into_iter().filter(|slot| exports.iter().any(|name| name == interface(slot))).collect();
    match slots[..] {
        [] => Err(CheckError::NoWorld),
        [slot] if exports.iter().any(|name| name == bindings::LIFECYCLE) => Ok(slot),
        [slot] => Err(CheckError::NoLifecycle(interface(&slot).to_owned())),
        _ => Err(CheckError::ManyWorlds(slots.iter().map(|slot| slot.as_str()).collect::<Vec<_>>().join(", "))),
    }
}

fn class_of(imports: &[String]) -> Result<ClassName, CheckError> {
    let mut class = ClassName::Sandbox;
    for import in imports {
        if import == bindings::LOG {
            continue;
        }
        let package = import.split('/').next().unwrap_or_default();
        let is_preview_2 = import.rsplit_once('@').is_some_and(|(_, version)| version.starts_with("0.2."));
        if !(wasi::PACKAGES.contains(&package) && is_preview_2) {
            return Err(CheckError::Import(import.clone()));
        }
        class = ClassName::Wasi;
    }
    Ok(class)
}
