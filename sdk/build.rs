//! Encodes the worlds of `wit/` into the custom sections that `export!` puts into a plugin, so that a core module says by itself
//! which world it was built for.

use std::path::Path;

use anyhow::{Context, Result};
use wit_component::{StringEncoding, metadata};
use wit_parser::Resolve;

fn main() -> Result<()> {
    let wit = Path::new("../wit");
    println!("cargo::rerun-if-changed={}", wit.display());
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("wasm32") {
        return Ok(());
    }
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).context("parsing the policy contract")?;
    let out = std::env::var("OUT_DIR").context("OUT_DIR")?;
    for world in ["cascade-policy", "text-policy", "threshold-policy"] {
        let id = resolve.select_world(&[package], Some(world)).with_context(|| format!("world {world}"))?;
        let bytes = metadata::encode(&resolve, id, StringEncoding::UTF8, None)?;
        std::fs::write(Path::new(&out).join(world), bytes)?;
    }
    Ok(())
}
