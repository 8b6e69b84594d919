//! The network is cut under a broadcaster, a viewer, both, and the host: a viewer sees no face, and what it is to see comes again by itself.
//! `scrim-soak cuts` cuts for 1, 10 and 60 s; a test of every run for 1 and 10.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::livekit::{Server, alone_with};
use crate::net::{Place, Wire};
use crate::peer::{Peer, Watching};
use crate::portrait::{self, SIZE, Shows};
use crate::served::Served;

/// Within this a stream is there, for the first time or again, on a busy machine: the longest pause before another try is 10 s.
pub const BACK_MAX: Duration = Duration::from_secs(90);
/// What was under way when a wire was cut has come by then: the room's delay, the wait before the card, and what a busy machine adds.
const UNDER_WAY: Duration = Duration::from_secs(4);
/// Of a whole soak.
const LENGTHS: [u64; 3] = [1, 10, 60];
const LENGTHS_SHORT: [u64; 2] = [1, 10];

/// Who is cut off from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Broadcaster,
    Viewer,
    Both,
    Host,
}

/// The host here, and a broadcaster and a viewer in places of their own.
struct Stage {
    host: Wire,
    broadcaster: Wire,
    viewer: Wire,
}

/// Puts a host, with the room `studio`, in front of a server.
///
/// # Errors
/// When it does not start.
pub fn host(folder: &Path, server: &Server) -> Result<Served> {
    let data_dir = folder.join("data");
    std::fs::create_dir_all(&data_dir)?;
    let host = Served::start_livekit(&data_dir, server, "")?;
    host.json("POST", "/v1/rooms", &json!({ "name": "studio", "cover": ["FACE_*"] }))?.expect(201)?;
    Ok(host)
}

/// A token for the room `studio`.
///
/// # Errors
/// When the host gives none.
pub fn token(host: &Served, name: &str, role: &str) -> Result<String> {
    let minted: Value = host.json("POST", "/v1/rooms/studio/tokens", &json!({ "name": name, "role": role }))?.expect(201)?;
    Ok(minted["token"].as_str().with_context(|| format!("a token in {minted}"))?.to_owned())
}

/// `scrim-soak cuts [--short]`.
///
/// # Errors
/// When something is seen that must not be, or does not come again.
pub fn soak(words: &[&str], short: bool) -> Result<()> {
    if alone_with(words)? {
        return Ok(());
    }
    cuts(if short { &LENGTHS_SHORT } else { &LENGTHS })
}

/// The cuts of every run of the tests, in a network namespace.
///
/// # Errors
/// As [`soak`].
pub fn short_cuts() -> Result<()> {
    cuts(&LENGTHS_SHORT)
}

fn cuts(lengths: &[u64]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hub = Place::new()?;
    let (his, hers) = (Place::new()?, Place::new()?);
    let stage = Stage {
        host: Wire::between(&hub, None, 0)?,
        broadcaster: Wire::between(&hub, Some(his.clone()), 1)?,
        viewer: Wire::between(&hub, Some(hers.clone()), 2)?,
    };
    let server = Server::start_at(folder.path(), hub)?;
    let host = host(folder.path(), &server)?;
    let outcome = under_cuts(&stage, &server, &host, [&his, &hers], lengths);
    if outcome.is_err() {
        println!("the host's log:\n{}", std::fs::read_to_string(host.data_dir.join("serve.log")).unwrap_or_default());
    }
    outcome?;
    host.terminate(Duration::from_secs(20))
}

fn under_cuts(stage: &Stage, server: &Server, host: &Served, [his, hers]: [&Arc<Place>; 2], lengths: &[u64]) -> Result<()> {
    let face = portrait::face(&portrait::picture(SIZE)?)?;
    let _broadcaster = Peer::broadcast(Some(his), &server.url(), &token(host, "Bob", "broadcaster")?)?;
    let viewer = Peer::watch(Some(hers), &server.url(), &token(host, "Vera", "viewer")?, face)?;
    let (mut viewer, begin) = (Watching::new(viewer), Instant::now());
    let after = viewer.look_until("the first pictures", BACK_MAX, |viewer| viewer.is_well(begin, SIZE.0))?;
    println!("the viewer sees what it is to see after {after:?}");
    for &seconds in lengths {
        for side in [Side::Broadcaster, Side::Viewer, Side::Both, Side::Host] {
            let long = Duration::from_secs(seconds);
            let cut = Instant::now();
            stage.wires(side).try_for_each(Wire::cut)?;
            viewer.look_for(long)?;
            stage.wires(side).try_for_each(Wire::mend)?;
            let mended = Instant::now();
            let came = viewer.since(cut + UNDER_WAY).map(|seen| seen.shows);
            let (cards, others): (Vec<_>, Vec<_>) = came.partition(|shows| *shows == Shows::Card);
            ensure!(others.is_empty(), "{side:?} cut for {seconds} s: {} pictures that are no card came meanwhile", others.len());
            let gets_cards = side == Side::Broadcaster;
            ensure!(cards.is_empty() || gets_cards, "{side:?} cut for {seconds} s: {} cards came over it", cards.len());
            ensure!(!cards.is_empty() || !gets_cards || long < 2 * UNDER_WAY, "nothing tells viewers that the stream is interrupted");
            let back = viewer.look_until("what was seen before", BACK_MAX, |viewer| viewer.is_well(mended, SIZE.0))?;
            println!("{side:?} cut for {seconds} s: {} cards meanwhile; back {:.1} s after the end of it", cards.len(), back.as_secs_f32());
        }
    }
    let of = |shows: Shows| viewer.pictures.iter().filter(|seen| seen.shows == shows).count();
    println!(
        "{} pictures: {} of all but the face, {} of nothing, {} cards; none with a face",
        viewer.pictures.len(),
        of(Shows::Rest),
        of(Shows::Nothing),
        of(Shows::Card)
    );
    Ok(())
}

impl Stage {
    fn wires(&self, side: Side) -> impl Iterator<Item = &Wire> {
        let wires: Vec<&Wire> = match side {
            Side::Broadcaster => vec![&self.broadcaster],
            Side::Viewer => vec![&self.viewer],
            Side::Both => vec![&self.broadcaster, &self.viewer],
            Side::Host => vec![&self.host],
        };
        wires.into_iter()
    }
}
