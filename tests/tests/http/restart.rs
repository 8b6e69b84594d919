//! What a host remembers when it ends and starts again, by request and by force.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use scrim_tests::served::Served;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::shared::{face_jpeg, post_picture, put, room, say, until};

const DRAIN_MAX: Duration = Duration::from_secs(20);

fn face_threshold(host: &Served, room: &str) -> Result<(Value, f64)> {
    let verdict = post_picture(host, room, "", &face_jpeg()?)?.expect(200)?;
    let faces = verdict["detections"].as_array().into_iter().flatten();
    let face =
        faces.filter(|found| found["event_id"].is_string()).find(|found| found["label"].as_str().is_some_and(|l| l.starts_with("FACE_")));
    let face = face.with_context(|| format!("a face in {verdict}"))?;
    Ok((face["event_id"].clone(), face["threshold"].as_f64().context("a threshold")?))
}

fn events(host: &Served, room: &str) -> Result<Vec<Value>> {
    let page = host.get(&format!("/v1/rooms/{room}/events?limit=1000"))?.expect(200)?;
    Ok(page["events"].as_array().context("events")?.clone())
}

#[test]
fn rooms_policies_thresholds_and_events_outlive_the_process() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Served::start(folder.path(), "")?;
    room(&host, "home", json!({ "hold_ms": 900, "cover": ["FACE_*"] }))?;
    room(&host, "empty", json!({}))?;
    put(&host, "home", "cascade", "skin-cascade@1.0.0", json!({ "skin_share": 0.3 }))?.expect(200)?;
    let global = json!({ "plugin": "profanity-context@2.0.0", "config": { "deny": ["anchovies"] } });
    host.json("PUT", "/v1/policy/text", &global)?.expect(200)?;
    let (event, first) = face_threshold(&host, "home")?;
    host.json("POST", "/v1/rooms/home/feedback", &json!({ "event_id": event, "correct": false }))?.expect(200)?;
    let (later, learned) = face_threshold(&host, "home")?;
    ensure!(learned > first, "{first} → {learned}");
    let (before, told) = (host.get("/v1/rooms/home")?.expect(200)?, events(&host, "home")?);
    host.terminate(DRAIN_MAX)?;

    let host = Served::start(folder.path(), "")?;
    let after = host.get("/v1/rooms/home")?.expect(200)?;
    for key in ["id", "revision", "created_at", "updated_at", "settings", "effective"] {
        ensure!(before[key] == after[key], "{key}: {} and {}", before[key], after[key]);
    }
    ensure!(host.get("/v1/rooms")?.expect(200)?.as_array().map(Vec::len) == Some(2), "both rooms");
    let kept = events(&host, "home")?;
    ensure!(kept == told, "{} of {}: {:?}", kept.len(), told.len(), kept.iter().zip(&told).find(|(now, then)| now != then));
    // An event of before can still be reported, and its report of before is known.
    let again = host.json("POST", "/v1/rooms/home/feedback", &json!({ "event_id": event, "correct": false }))?.expect(200)?;
    ensure!(again["counted"] == false, "{again}");
    let (_, relearned) = face_threshold(&host, "home")?;
    ensure!((relearned - learned).abs() < 0.01, "{learned} before, {relearned} after");
    let cascade = host.get("/v1/rooms/home/policy/cascade")?.expect(200)?;
    ensure!(cascade["in_force"]["plugin"] == "skin-cascade@1.0.0" && cascade["config"] == json!({ "skin_share": 0.3 }), "{cascade}");
    ensure!(cascade["origin"] == "room" && cascade["revision"] == 1, "{cascade}");
    ensure!(say(&host, "empty", "no anchovies please")?["flagged"] == true, "the global choice");
    // Numbers of events go on growing.
    let last = told.last().and_then(|event| event["seq"].as_i64()).context("an event")?;
    let new = events(&host, "home")?.last().and_then(|event| event["seq"].as_i64()).context("an event")?;
    ensure!(new > last, "{last} then {new}");
    let counted = host.json("POST", "/v1/rooms/home/feedback", &json!({ "event_id": later, "correct": false }))?.expect(200)?;
    ensure!(counted["counted"] == true, "{counted}");
    Ok(())
}

#[test]
fn a_report_that_was_answered_outlives_a_power_cut() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Served::start(folder.path(), "")?;
    room(&host, "cut", json!({}))?;
    let (event, _) = face_threshold(&host, "cut")?;
    host.json("POST", "/v1/rooms/cut/feedback", &json!({ "event_id": event, "correct": false }))?.expect(200)?;
    let (_, learned) = face_threshold(&host, "cut")?;
    host.json("PATCH", "/v1/rooms/cut", &json!({ "hold_ms": 123 }))?.expect(200)?;
    put(&host, "cut", "text", "profanity-context@2.0.0", json!({ "deny": ["kippers"] }))?.expect(200)?;
    host.kill()?;

    let host = Served::start(folder.path(), "")?;
    ensure!(host.get("/v1/rooms/cut")?.expect(200)?["settings"]["hold_ms"] == 123, "the settings");
    ensure!(say(&host, "cut", "kippers")?["flagged"] == true, "the policy");
    let report = host.get("/v1/rooms/cut/report")?.expect(200)?;
    ensure!(report["reports"] == 1, "{report}");
    let (_, kept) = face_threshold(&host, "cut")?;
    ensure!((kept - learned).abs() < 0.01, "{learned} before, {kept} after");
    Ok(())
}

/// The room's newest session.
fn session(host: &Served, room: &str) -> Result<Value> {
    let sessions = host.get(&format!("/v1/rooms/{room}/sessions"))?.expect(200)?;
    sessions.as_array().and_then(|all| all.first()).cloned().with_context(|| format!("a session in {sessions}"))
}

/// Publishes pictures until `enough` covered ones have come back; the connection is then given to `end`.
fn publish(host: &Served, room: &str, enough: usize, end: impl FnOnce(&Served) -> Result<()>) -> Result<()> {
    let jpeg = face_jpeg()?;
    let url = format!("ws://{}/v1/rooms/{room}/stream", host.address);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
        let (mut sent, mut back) = (0_u64, 0);
        let mut tick = tokio::time::interval(Duration::from_millis(40));
        while back < enough {
            tokio::select! {
                _ = tick.tick() => {
                    sent += 1;
                    let mut message = b"SCRM\x01\x01\0\0".to_vec();
                    message.extend(sent.to_le_bytes());
                    message.extend((sent * 40_000).to_le_bytes());
                    message.extend([0; 8]);
                    message.extend(&jpeg);
                    socket.send(Message::Binary(message.into())).await?;
                }
                heard = socket.next() => back += usize::from(heard.context("the host hung up")??.is_binary()),
            }
            ensure!(sent < 1000, "{back} of {enough} covered pictures after {sent}");
        }
        end(host)
    })
}

#[test]
fn sessions_say_how_they_ended() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let host = Served::start(folder.path(), "[serve]\nresume_s = 3\n")?;
    room(&host, "live", json!({}))?;
    publish(&host, "live", 8, |host| {
        let live = host.get("/v1/rooms/live")?.expect(200)?;
        ensure!(live["live"][0]["shown"].as_u64() >= Some(8) && live["live"][0]["width"] == 512, "{live}");
        ensure!(host.send("DELETE", "/v1/rooms/live", &[], &[])?.status == 409, "a live room stays");
        let running = session(host, "live")?;
        ensure!(running["ended_at"].is_null() && running["source"] == "local", "{running}");
        Ok(())
    })?;
    // The connection was dropped without a word, and nobody came back.
    until("the session's end", || Ok(!session(&host, "live")?["ended_at"].is_null()))?;
    let ended = session(&host, "live")?;
    ensure!(ended["end"] == "the publisher did not come back" && ended["frames"].as_u64() >= Some(8), "{ended}");
    ensure!(ended["covered"].as_u64() >= Some(1), "a face was covered: {ended}");

    // The host is killed while it is live.
    publish(&host, "live", 4, |_| Ok(()))?;
    ensure!(session(&host, "live")?["ended_at"].is_null(), "it waits for its publisher");
    host.kill()?;
    let host = Served::start(folder.path(), "")?;
    let stopped = session(&host, "live")?;
    ensure!(stopped["end"] == "the host stopped" && stopped["ended_at"].is_number(), "{stopped}");
    ensure!(host.get("/v1/rooms/live")?.expect(200)?["live"][0].is_null(), "it is not live");
    Ok(())
}
