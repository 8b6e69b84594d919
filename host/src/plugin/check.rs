//! What can be known of a plugin from its bytes alone, before anything of it runs: world, contract version, imports, size.

use std::collections::{BTreeMap, BTreeSet};

use wit_component::ComponentEncoder;
use wit_parser::decoding::DecodedWasm;
use wit_parser::{PackageName, Resolve};

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

/// Which package needs which.
type Needs = BTreeMap<PackageName, BTreeSet<PackageName>>;

/// The encoder follows packages to those that they need, and takes for granted that this ends: in a circle its stack overflows, which nothing
/// can catch. So circles in the types that a module carries are looked for first.
fn without_circles(module: &[u8]) -> Result<(), CheckError> {
    let unreadable = |error: &dyn std::fmt::Display| CheckError::Encode(format!("{error:#}"));
    let mut needs = Needs::new();
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        if let wasmparser::Payload::CustomSection(section) = payload.map_err(|error| unreadable(&error))?
            && section.name().starts_with("component-type")
        {
            let (resolve, _) = wit_parser::decoding::decode_world(section.data()).map_err(|error| unreadable(&error))?;
            add_needs(&resolve, &mut needs);
        }
    }
    // Packages whose needs are met go, round after round; what never goes needs itself.
    while !needs.is_empty() {
        let left = needs.len();
        let known: BTreeSet<PackageName> = needs.keys().cloned().collect();
        needs.retain(|_, on| on.iter().any(|package| known.contains(package)));
        if needs.len() == left {
            let names: Vec<String> = needs.keys().map(ToString::to_string).collect();
            return Err(CheckError::Encode(format!("its types need each other in a circle: {}", names.join(", "))));
        }
    }
    Ok(())
}

fn add_needs(resolve: &Resolve, needs: &mut Needs) {
    for (id, package) in resolve.packages.iter() {
        let on = resolve.package_direct_deps(id).map(|needed| resolve.packages[needed].name.clone());
        needs.entry(package.name.clone()).or_default().extend(on);
    }
}

fn encode(module: &[u8]) -> Result<Vec<u8>, CheckError> {
    without_circles(module)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of equal length, so that one name can be put in another's place within the binary.
    const TYPES: &str = "
        package one:one;
        world plugin { import two:two/middle; }
        package two:two { interface middle { use low:low/base.{thing}; f: func(t: thing); } }
        package low:low { interface base { record thing { x: u32 } } }
    ";

    fn module() -> Vec<u8> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("types.wit", TYPES).expect("WIT");
        let world = resolve.select_world(&[package], Some("plugin")).expect("a world");
        let types = wit_component::metadata::encode(&resolve, world, wit_component::StringEncoding::UTF8, None).expect("types");
        let name = "component-type:plugin";
        let mut section = vec![name.len() as u8];
        section.extend_from_slice(name.as_bytes());
        section.extend_from_slice(&types);
        let mut module = b"\0asm\x01\0\0\0\0".to_vec();
        let length = section.len() as u32;
        // Unsigned LEB128 in two bytes.
        module.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        module.extend(section);
        module
    }

    #[test]
    fn types_that_need_each_other_in_a_circle_are_refused() {
        let good = module();
        assert!(without_circles(&good).is_ok());
        let (from, to) = (b"low:low", b"one:one");
        let mut bad = good;
        for at in 0..bad.len() - from.len() {
            if bad[at..].starts_with(from) {
                bad[at..at + to.len()].copy_from_slice(to);
            }
        }
        let refused = check(&bad).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("in a circle"), "{refused:?}");
    }
}
