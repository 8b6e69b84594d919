//! A recording is made of what is judged, fetched, and replayed to the same decisions.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::shared::{Shared, catalog_of, face_jpeg, post_picture, problem, room, say, scrim, text};

static HOST: Shared = Shared::new();

#[test]
fn what_was_recorded_replays_to_the_same_decisions() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "taped", json!({ "skip_max_ms": 100 }))?;
    // Something before, so that the recording begins with a state.
    say(&host, "taped", "you are an idiot")?;
    let started = host.send("POST", "/v1/rooms/taped/recordings", &[], &[])?.expect(201)?;
    ensure!(started["running"] == true, "{started}");
    let id = started["id"].as_str().context("an id")?;
    problem(host.send("POST", "/v1/rooms/taped/recordings", &[], &[])?, 409)?;
    problem(host.get(&format!("/v1/rooms/taped/recordings/{id}"))?, 409)?;

    let verdict = post_picture(&host, "taped", "", &face_jpeg()?)?.expect(200)?;
    let face = verdict["detections"].as_array().into_iter().flatten().find(|found| found["event_id"].is_string()).context("a face")?;
    host.json("POST", "/v1/rooms/taped/feedback", &json!({ "event_id": face["event_id"], "correct": false }))?.expect(200)?;
    post_picture(&host, "taped", "", &face_jpeg()?)?.expect(200)?;
    for line in ["what the fuck is this", "lovely", "you stupid idiot"] {
        say(&host, "taped", line)?;
    }
    let stopped = host.send("POST", "/v1/rooms/taped/recordings/stop", &[], &[])?.expect(200)?;
    ensure!(stopped["running"] == false && stopped["dropped"] == 0 && stopped["id"] == id, "{stopped}");
    problem(host.send("POST", "/v1/rooms/taped/recordings/stop", &[], &[])?, 409)?;

    let fetched = host.get(&format!("/v1/rooms/taped/recordings/{id}"))?;
    ensure!(fetched.status == 200 && Some(fetched.body.len() as u64) == stopped["bytes"].as_u64(), "{stopped}");
    let file = host.folder.path().join("taped.rec").display().to_string();
    std::fs::write(&file, &fetched.body)?;
    for plugin in ["skin-cascade@2.0.0", "profanity-context@2.0.0", "adaptive-threshold@1.0.0"] {
        let config = catalog_of(host.folder.path());
        let output = scrim(&["plugin", "test", plugin, "--replay", &file, "--json", "--config", &config])?;
        ensure!(output.status.success(), "{plugin}: {}{}", text(&output.stdout), text(&output.stderr));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        ensure!(told["steps"].as_u64().is_some_and(|steps| steps > 0) && told["differing"] == 0, "{plugin}: {told}");
    }
    problem(host.get("/v1/rooms/taped/recordings/0199aaaa-0000-7000-8000-000000000000")?, 404)?;
    problem(host.get("/v1/rooms/taped/recordings/x")?, 404)?;
    let events = host.get("/v1/rooms/taped/events?limit=1000")?.expect(200)?.to_string();
    for kind in ["started", "stopped", "fetched"] {
        ensure!(events.contains(&format!("\"event\":\"{kind}\"")) && events.contains("\"by\":\"local\""), "{kind} in {events}");
    }
    Ok(())
}

#[test]
fn a_new_recording_replaces_the_last() -> Result<()> {
    let host = HOST.host()?;
    room(&host, "again", json!({}))?;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let started = host.send("POST", "/v1/rooms/again/recordings", &[], &[])?.expect(201)?;
        ids.push(started["id"].as_str().context("an id")?.to_owned());
        say(&host, "again", "hello")?;
        host.send("POST", "/v1/rooms/again/recordings/stop", &[], &[])?.expect(200)?;
    }
    problem(host.get(&format!("/v1/rooms/again/recordings/{}", ids[0]))?, 404)?;
    ensure!(host.get(&format!("/v1/rooms/again/recordings/{}", ids[1]))?.status == 200, "the newest");
    // A room's recording is not another's.
    room(&host, "stranger", json!({}))?;
    problem(host.get(&format!("/v1/rooms/stranger/recordings/{}", ids[1]))?, 404)?;
    Ok(())
}
