//! What is let in, and what of it is trusted later.

use anyhow::{Context, Result};
use scrim_host::plugin::catalog::{Catalog, CatalogError, LoadedFrom, PluginName};
use scrim_host::plugin::check::{CheckError, PLUGIN_BYTES_MAX, check};
use scrim_host::plugin::types::Slot;
use scrim_tests::guest::{Guest, Hook, deed};

use crate::room::{budgets, engines};

fn open(folder: &std::path::Path) -> Result<Catalog> {
    Ok(Catalog::open(folder, engines(), budgets())?)
}

fn name(text: &str) -> Result<PluginName> {
    Ok(text.parse()?)
}

#[test]
fn a_core_module_and_its_component_are_the_same_plugin() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let catalog = open(folder.path())?;
    let guest = Guest::new(Slot::Text, "1.0.0", 0.5);
    let from_module = catalog.add(&guest.module()?, None)?;
    let from_component = catalog.add(&guest.component()?, Some(&name("test-text@1.0.0")?))?;
    assert_eq!(from_module.digest, from_component.digest);
    assert_eq!(catalog.list()?, [(name("test-text@1.0.0")?, from_module.digest)]);
    assert_eq!(from_module.slot, Slot::Text);
    assert_eq!(from_module.imports, ["scrim:policy/log@0.1.0"]);
    Ok(())
}

#[test]
fn compiled_code_is_used_again_unless_somebody_touched_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let plugin = name("test-text@1.0.0")?;
    open(folder.path())?.add(&Guest::new(Slot::Text, "1.0.0", 0.5).module()?, None)?;
    let load = || -> Result<LoadedFrom> { Ok(open(folder.path())?.load_with(&plugin)?.1) };
    assert_eq!(load()?, LoadedFrom::Cache);

    let entry = std::fs::read_dir(folder.path().join("compiled"))?.next().context("a compiled entry")??.path();
    let good = std::fs::read(&entry)?;
    for at in [0, 31, 32, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&entry, &bad)?;
        assert_eq!(load()?, LoadedFrom::Compiled, "byte {at} changed");
        assert_eq!(load()?, LoadedFrom::Cache, "and it was replaced");
    }
    std::fs::write(&entry, &good[..20])?;
    assert_eq!(load()?, LoadedFrom::Compiled, "cut off");

    // Another installation's code is not ours, however good.
    std::fs::write(folder.path().join("key"), [7; 32])?;
    assert_eq!(load()?, LoadedFrom::Compiled, "made under another key");
    Ok(())
}

#[cfg(unix)]
#[test]
fn the_key_is_its_owners_alone() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    open(folder.path())?;
    let key = std::fs::metadata(folder.path().join("key"))?;
    assert_eq!((key.len(), key.permissions().mode() & 0o777), (32, 0o600));
    Ok(())
}

#[test]
fn a_plugin_must_be_who_it_is_added_as_and_stay_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let catalog = open(folder.path())?;
    let guest = Guest::new(Slot::Threshold, "1.0.0", 0.5);
    let lie = catalog.add(&guest.module()?, Some(&name("test-threshold@2.0.0")?));
    assert!(matches!(lie, Err(CatalogError::Liar { .. })), "{lie:?}");
    assert_eq!(catalog.list()?, [], "and nothing stays behind");
    catalog.add(&guest.module()?, None)?;
    let other = Guest::new(Slot::Threshold, "1.0.0", 0.6);
    let taken = catalog.add(&other.module()?, None);
    assert!(matches!(taken, Err(CatalogError::Taken(..))), "{taken:?}");
    Ok(())
}

#[test]
fn stored_bytes_that_changed_are_not_loaded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let loaded = open(folder.path())?.add(&Guest::new(Slot::Text, "1.0.0", 0.5).module()?, None)?;
    let blob = folder.path().join("blobs").join(format!("{}.wasm", loaded.digest));
    std::fs::write(&blob, Guest::new(Slot::Text, "1.0.0", 0.9).component()?)?;
    let refused = open(folder.path())?.load(&loaded.name);
    assert!(matches!(refused, Err(CatalogError::Corrupt(..))), "{refused:?}");
    let unknown = open(folder.path())?.load(&name("nobody@1.0.0")?);
    assert!(matches!(unknown, Err(CatalogError::Unknown(..))), "{unknown:?}");
    Ok(())
}

#[test]
fn bytes_are_judged_before_anything_of_them_runs() -> Result<()> {
    let other = Guest::new(Slot::Cascade, "1.0.0", 0.5).contract("0.2.0");
    assert!(matches!(check(&other.module()?), Err(CheckError::Version(name)) if name.contains("@0.2.0")));

    let thief = Guest::new(Slot::Cascade, "1.0.0", 0.5).importing("treasure");
    assert!(matches!(check(&thief.module()?), Err(CheckError::Import(name)) if name == "scrim:policy/treasure@0.1.0"));

    assert!(matches!(check(&wat::parse_str("(component)")?), Err(CheckError::NoWorld)));
    assert!(matches!(check(b"\x7fELF machine code"), Err(CheckError::NotWasm)));
    assert!(matches!(check(b""), Err(CheckError::NotWasm)));
    assert!(matches!(check(&vec![0; PLUGIN_BYTES_MAX + 1]), Err(CheckError::TooLarge(_))));
    // A core module without the contract's types.
    assert!(check(&wat::parse_str("(module (memory 1))")?).is_err());
    let good = Guest::new(Slot::Cascade, "1.0.0", 0.5).component()?;
    for cut in [9, good.len() / 3, good.len() - 1] {
        assert!(check(&good[..cut]).is_err(), "{cut} bytes of it");
    }
    Ok(())
}

#[test]
fn no_byte_of_a_plugin_changed_can_harm_the_host() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let catalog = open(folder.path())?;
    let good = Guest::new(Slot::Text, "1.0.0", 0.5).component()?;
    for at in (8..good.len()).step_by(good.len() / 60) {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        // Whether it is refused depends on the byte; that the host answers does not.
        if let Ok(loaded) = catalog.add(&bad, None) {
            assert_eq!(loaded.slot, Slot::Text);
        }
    }
    Ok(())
}

#[test]
fn the_same_names_with_other_types_are_not_the_contract() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let altered = Guest::new(Slot::Threshold, "1.0.0", 0.5).altered("record verdict { counts: bool,", "record verdict { counts: u32,");
    let refused = open(folder.path())?.add(&altered.module()?, None);
    assert!(matches!(refused, Err(CatalogError::Describe(_))), "{refused:?}");
    Ok(())
}

#[test]
fn a_plugin_that_cannot_say_who_it_is_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let catalog = open(folder.path())?;
    for (hook, deed) in [(Hook::Describe, deed::TRAP), (Hook::Describe, deed::LOOP), (Hook::Start, deed::LOOP), (Hook::Start, deed::HOG)] {
        let refused = catalog.add(&Guest::new(Slot::Text, "1.0.0", 0.5).doing(hook, deed).module()?, None);
        assert!(matches!(refused, Err(CatalogError::Describe(_))), "{hook:?}: {refused:?}");
    }
    let nameless = catalog.add(&Guest::new(Slot::Text, "1.0.0", 0.5).named("No Name").module()?, None);
    assert!(matches!(nameless, Err(CatalogError::Name(_))), "{nameless:?}");
    let mut guest = Guest::new(Slot::Text, "1.0.0", 0.5);
    guest.schema = "{".into();
    assert!(matches!(catalog.add(&guest.module()?, None), Err(CatalogError::Schema(_))));
    assert_eq!(catalog.list()?, []);
    Ok(())
}
