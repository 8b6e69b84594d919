//! `scrim rooms`: the rooms of a running host.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::client::{Client, HostArgs};
use super::policy::Choice;
use super::{Outcome, say, table};

/// List a running host's rooms: live or not, delay, covers, policies
///
/// A policy stands as `SLOT=NAME@VERSION`; a slot without one has the host's own default.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Deserialize)]
struct Room {
    name: String,
    effective: Effective,
    live: Vec<Live>,
}

#[derive(Deserialize)]
struct Effective {
    delay_ms: u32,
    detectors: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Live {
    kind: String,
    width: usize,
    height: usize,
    shown: u64,
    covered: u64,
}

impl Room {
    fn live(&self) -> String {
        if self.live.is_empty() {
            return "no".to_owned();
        }
        let stream =
            |Live { kind, width, height, shown, covered }: &Live| format!("{kind} {width}x{height}, {covered} of {shown} frames covered");
        self.live.iter().map(stream).collect::<Vec<_>>().join("; ")
    }

    fn covers(&self) -> String {
        let detectors = &self.effective.detectors;
        if detectors.is_empty() {
            return "nothing: no detector is enabled".to_owned();
        }
        detectors.iter().map(|(name, labels)| format!("{name}: {}", labels.join(", "))).collect::<Vec<_>>().join("; ")
    }
}

pub fn run(args: Args) -> Outcome {
    let client = Client::new(&args.host)?;
    let rooms: Vec<Room> = client.get(&["rooms"])?;
    if rooms.is_empty() {
        return Ok(say("no rooms; `POST /v1/rooms` makes one (docs/http.md)")?);
    }
    let mut rows = Vec::new();
    for room in &rooms {
        let policies: Vec<Choice> = client.get(&["rooms", &room.name, "policy"])?;
        let policies: Vec<String> = policies.iter().filter_map(Choice::short).collect();
        rows.push(vec![room.name.clone(), room.live(), format!("{} ms", room.effective.delay_ms), room.covers(), policies.join(" ")]);
    }
    table(&["room", "live", "delay", "covers", "policies"], rows.into_iter())?;
    Ok(())
}
