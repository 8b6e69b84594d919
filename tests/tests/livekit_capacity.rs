//! A broadcaster beyond what the host holds gets no token, and says so; one that comes all the same is not mirrored until there is a place.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use scrim_livekit::Event;
use scrim_tests::bench::livekit_pair::{Camera, Pair, token};
use scrim_tests::clip::scaled;
use scrim_tests::livekit::{Server, alone, library, wait_for};
use scrim_tests::served::Served;
use serde_json::{Value, json};

/// After the first broadcaster there is never a place for another. Nothing is looked for.
const CONFIGURATION: &str = "detectors = {}\n[policy.text]\nplugin = \"profanity-context@2.0.0\"\n[limits]\nload_percent = 1\n";
/// Longer than a place is kept for somebody who does not come.
const PLACE_HELD: Duration = Duration::from_secs(11);
const SIZE: (usize, usize) = (320, 240);

fn refusals(host: &Served) -> Result<Vec<Value>> {
    let page = host.get("/v1/rooms/studio/events?limit=1000")?.expect(200)?;
    let events = page["events"].as_array().context("a page has events")?.clone();
    Ok(events.into_iter().filter(|event| event["kind"] == "livekit" && event["body"]["event"] == "refused").collect())
}

#[test]
fn one_more_than_the_host_holds_is_refused_and_comes_when_there_is_a_place() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir)?;
    let host = Served::start_livekit_with(&[], &data_dir, &server, CONFIGURATION)?;
    host.json("POST", "/v1/rooms", &json!({ "name": "studio" }))?.expect(201)?;
    let token = |role: &str, name: &str| token(&host, "studio", role, name);
    let granted =
        |role: &str, name: &str| -> Result<Value> { token(role, name)?.map_err(|(status, why)| anyhow::anyhow!("{status}: {why}")) };
    let late = granted("broadcaster", "Late")?;
    let (status, why) = token("broadcaster", "Early")?.err().context("a place is kept for the first")?;
    ensure!(status == 503 && why.contains("limits.load_percent"), "{status}: {why}");
    // Viewers are no burden of the host's.
    let (viewer, other_viewer) = (granted("viewer", "Vera")?, granted("viewer", "Bob")?);
    std::thread::sleep(PLACE_HELD);
    let first = granted("broadcaster", "First")?;

    let clip = std::sync::Arc::new(scaled(&scrim_toolchain::assets::path("carphone.mp4")?, SIZE.0, SIZE.1, 30)?);
    let camera = Camera { clip, frames_per_s: 15.0, bitrate: 300_000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let pair = Pair::start(library()?, &first, &viewer, camera.clone()).await?;
        let third = token("broadcaster", "Third")?;
        ensure!(third.as_ref().is_err_and(|(status, _)| *status == 503), "the host is full: {third:?}");
        let mut watching = scrim_livekit::Room::join(
            library()?,
            other_viewer["url"].as_str().context("a url")?,
            other_viewer["token"].as_str().context("a token")?,
            scrim_livekit::Options { subscribe: true, dynacast: false, key: None },
        )
        .await?;
        let comes = Pair::broadcast(library()?, &late, camera).await?;
        let since = std::time::Instant::now();
        while refusals(&host)?.is_empty() && since.elapsed() < scrim_tests::livekit::SOON {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // Rounds of the guard go on finding it there.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let told = refusals(&host)?;
        ensure!(told.len() == 1, "told once: {told:?}");
        let identity = late["identity"].as_str().context("an identity")?;
        let body = &told[0]["body"];
        ensure!(body["identity"] == identity && body["reason"].as_str().is_some_and(|why| why.contains("load_percent")), "{body}");
        let mirrored = |event| match event {
            Event::Subscribed { identity, .. } => Some(identity),
            _ => None,
        };
        let who = wait_for(&mut watching, "a moderated track", mirrored).await?;
        ensure!(who == format!("mirror~{}", first["identity"].as_str().context("an identity")?), "{who}");
        let mirrors = tokio::time::timeout(Duration::from_millis(500), wait_for(&mut watching, "another", mirrored)).await;
        ensure!(mirrors.is_err(), "it is mirrored though it was refused: {mirrors:?}");
        // Who leaves makes room.
        drop(pair);
        let who = wait_for(&mut watching, "the other's moderated track", mirrored).await?;
        ensure!(who == format!("mirror~{identity}"), "{who}");
        drop(comes);
        Ok(())
    })
}
