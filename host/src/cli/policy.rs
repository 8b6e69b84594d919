//! `scrim policy …`: who decides in a room of a running host.

use std::str::FromStr;

use anyhow::anyhow;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::{Client, HostArgs};
use super::{Failure, Outcome, say, table};
use crate::config::PluginVersion;
use crate::plugin::types::Slot;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Set(SetArgs),
    Show(ShowArgs),
}

/// Put a plugin in force in a slot of a room
///
/// The host compiles, checks and tries it first, then swaps it in between two frames. Whatever fails leaves the one in force.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// The room's name, as `scrim rooms` lists it
    room: String,
    /// What is to decide where, such as cascade=skin-cascade@2.0.0
    #[arg(value_name = "SLOT=NAME@VERSION")]
    policy: InSlot,
    /// The plugin's settings, a JSON object; without it its defaults
    #[arg(long, value_name = "JSON")]
    config_json: Option<String>,
    #[command(flatten)]
    host: HostArgs,
}

/// Show who decides in a room's slots, by whose choice, and how that went
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The room's name, as `scrim rooms` lists it
    room: String,
    #[command(flatten)]
    host: HostArgs,
}

/// `SLOT=NAME@VERSION`.
#[derive(Clone, Debug)]
struct InSlot {
    slot: Slot,
    plugin: PluginVersion,
}

impl FromStr for InSlot {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (slot, plugin) = text.split_once('=').ok_or("give SLOT=NAME@VERSION, such as cascade=skin-cascade@2.0.0")?;
        Ok(Self { slot: slot.parse()?, plugin: plugin.parse().map_err(|error| format!("{error}"))? })
    }
}

/// Who decides in a slot, as the host says it.
#[derive(Deserialize)]
pub struct Choice {
    slot: String,
    plugin: Option<String>,
    config: Value,
    origin: String,
    in_force: Option<InForce>,
}

#[derive(Deserialize)]
struct InForce {
    plugin: Option<String>,
    serving: bool,
    calls: u64,
    faults: u64,
    restarts: u64,
    shadow: Option<Shadow>,
    last: Option<Decision>,
}

#[derive(Deserialize)]
struct Shadow {
    plugin: String,
    agreed: u64,
    differed: u64,
}

#[derive(Deserialize)]
struct Decision {
    summary: String,
}

impl Choice {
    /// `SLOT=NAME@VERSION`; none where the host's default decides.
    pub fn short(&self) -> Option<String> {
        self.plugin.as_ref().map(|plugin| format!("{}={plugin}", self.slot))
    }

    fn row(&self) -> Vec<String> {
        let origin = match self.origin.as_str() {
            "room" => "this room's own",
            "global" => "global",
            "file" => "scrim.toml",
            _ => "nobody's",
        };
        let plugin = self.plugin.as_deref().unwrap_or("the host's default");
        let (now, counts) = match &self.in_force {
            None => ("idle".to_owned(), [String::new(), String::new(), String::new()]),
            Some(now) => {
                let what = match &now.plugin {
                    Some(plugin) if now.serving => plugin.clone(),
                    Some(plugin) => format!("{plugin} (down: the host's default stands in)"),
                    None => "the host's default".to_owned(),
                };
                (what, [now.calls, now.faults, now.restarts].map(|count| count.to_string()))
            }
        };
        let [calls, faults, restarts] = counts;
        let config = if self.plugin.is_some() { self.config.to_string() } else { String::new() };
        vec![self.slot.clone(), plugin.to_owned(), origin.to_owned(), now, calls, faults, restarts, config]
    }
}

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Set(args) => set(args),
        Command::Show(args) => show(&args),
    }
}

fn set(args: SetArgs) -> Outcome {
    let InSlot { slot, plugin } = args.policy;
    let config: Map<String, Value> = match &args.config_json {
        Some(text) => serde_json::from_str(text).map_err(|error| Failure::Usage(anyhow!("--config-json is no JSON object: {error}")))?,
        None => Map::new(),
    };
    let client = Client::new(&args.host)?;
    let body = json!({ "plugin": plugin.to_string(), "config": config });
    let choice: Choice = client.put(&["rooms", &args.room, "policy", slot.as_str()], &body)?;
    Ok(say(format!("{} of room {} is {plugin} now", choice.slot, args.room))?)
}

fn show(args: &ShowArgs) -> Outcome {
    let client = Client::new(&args.host)?;
    let choices: Vec<Choice> = client.get(&["rooms", &args.room, "policy"])?;
    table(&["slot", "chosen", "whose choice", "in force", "calls", "faults", "restarts", "settings"], choices.iter().map(Choice::row))?;
    for choice in &choices {
        let Some(now) = &choice.in_force else { continue };
        if let Some(shadow) = &now.shadow {
            let Shadow { plugin, agreed, differed } = shadow;
            say(format!("{}: {plugin} in the shadow, {agreed} decisions alike, {differed} different", choice.slot))?;
        }
        if let Some(last) = &now.last {
            say(format!("{}: last decision: {}", choice.slot, last.summary))?;
        }
    }
    Ok(())
}
