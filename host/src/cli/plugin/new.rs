//! `scrim plugin new`: a plugin that builds and passes its own test, to be changed.

use std::path::PathBuf;

use scrim_toolchain::template::{self, TemplateError};

use crate::cli::{Failure, Outcome, say};
use crate::plugin::types::Slot;

/// Start a plugin: a crate with a policy of a few lines and its test
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The plugin's name: small letters, digits and hyphens
    name: String,
    /// The slot it fills: cascade (what is looked at), text (which words are found), threshold (which detections count)
    #[arg(long, value_name = "cascade|text|threshold")]
    slot: Slot,
    /// The folder to make; without it the name
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// The folder of scrim-sdk; without it the one of the checkout that this program was built from
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

pub fn run(args: Args) -> Outcome {
    let sdk = args.sdk.or_else(template::own_sdk);
    let sdk = sdk.ok_or_else(|| {
        Failure::Usage(anyhow::anyhow!("the checkout that this program was built from is gone; name the SDK with --sdk DIR"))
    })?;
    let folder = args.path.unwrap_or_else(|| PathBuf::from(&args.name));
    let files = template::create(&folder, &args.name, args.slot.as_str(), &sdk).map_err(|error| match error {
        TemplateError::File { .. } => Failure::Run(error.into()),
        _ => Failure::Usage(error.into()),
    })?;
    for file in files {
        say(format!("made  {}", file.display()))?;
    }
    let folder = folder.display();
    say(format!("\nnext  cd {folder} && cargo test       the policy, natively"))?;
    say(format!("      scrim plugin add {folder}        builds it and puts it into the catalog"))?;
    Ok(say(format!("      scrim censor IN -o OUT --policy {}={}@0.1.0", args.slot, args.name))?)
}
