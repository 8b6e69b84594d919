//! `scrim plugin build`: a crate to components.

use std::path::PathBuf;

use super::size;
use crate::cli::{Context, Outcome, say};

/// Build a plugin crate into WebAssembly components
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The crate's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to put NAME-VERSION.wasm; without it target/plugins in the crate's folder
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: Args, context: &Context) -> Outcome {
    let out = args.out.unwrap_or_else(|| args.dir.join("target/plugins"));
    let guests = super::build_guests(&args.dir, context)?;
    std::fs::create_dir_all(&out)?;
    for guest in guests {
        let path = guest.write(&out)?;
        say(format!("{}  {}", path.display(), size(guest.bytes.len())))?;
    }
    Ok(())
}
