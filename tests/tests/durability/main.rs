//! What the service keeps, and what it does when it can't: kills under load, full and read-only disks, damaged files, idle rooms.

mod faults;
mod kills;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_host::media::picture;
use scrim_tests::coverage::variants::{self, Variant};
use scrim_tests::served::Served;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// A picture that shows a face, as JPEG.
fn face() -> Result<Vec<u8>> {
    let frames = variants::frames(&scrim_toolchain::assets::path("carphone.mp4")?, Variant::Plain, 0.1)?;
    Ok(picture::encode_jpeg(frames.first().context("the clip has frames")?, 95)?)
}

/// Has the picture judged in a room, and gives the event of what was detected.
fn detection(served: &Served, room: &str, jpeg: &[u8]) -> Result<Option<Value>> {
    let answer = served.send("POST", &format!("/v1/rooms/{room}/frames"), &[("content-type", "image/jpeg")], jpeg)?.expect(200)?;
    let detections = answer["detections"].as_array().context("a verdict lists what was detected")?;
    Ok(detections.iter().map(|found| found["event_id"].clone()).find(Value::is_string))
}

/// Waits until the answer to a GET is as it should be.
fn wait(served: &Served, path: &str, what: &str, holds: impl Fn(u16, &Value) -> bool) -> Result<Value> {
    let since = Instant::now();
    loop {
        let answer = served.get(path)?;
        let (status, body) = (answer.status, answer.json().unwrap_or_default());
        if holds(status, &body) {
            return Ok(body);
        }
        if since.elapsed() > SOON {
            bail!("{what}: not within {SOON:?}; {path} is {status}: {body}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The log's last lines, for what went wrong.
fn log(data_dir: &Path) -> String {
    let log = std::fs::read_to_string(data_dir.join("serve.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[test]
fn an_idle_room_gives_its_instances_back_and_comes_back_with_what_it_learnt() -> Result<()> {
    let (home, jpeg) = (tempfile::tempdir()?, face()?);
    let more = "[serve]\nidle_s = 1\n";
    let served = Served::start(home.path(), more)?;
    served.json("POST", "/v1/rooms", &json!({ "name": "studio", "cover": ["FACE_*"] }))?.expect(201)?;
    let event = detection(&served, "studio", &jpeg)?.context("the picture shows a face")?;
    let report = served.json("POST", "/v1/rooms/studio/feedback", &json!({ "event_id": event, "correct": false }))?.expect(200)?;
    ensure!(report["counted"] == true && report["changed"].as_array().is_some_and(|changed| !changed.is_empty()), "{report}");
    let learnt = |served: &Served| Ok::<_, anyhow::Error>(served.get("/v1/rooms/studio/report")?.expect(200)?["thresholds"].clone());
    let before = learnt(&served)?;
    ensure!(before.as_array().is_some_and(|thresholds| !thresholds.is_empty()), "{before}");

    let idle = |served: &Served| wait(served, "/v1/rooms/studio", "the room is idle", |_, room| room["warm"] == false);
    idle(&served)?;
    let plugins = served.get("/health")?.json()?["parts"]["plugins"]["detail"].clone();
    ensure!(plugins == "0 instances", "an idle room keeps {plugins}");
    same(&before, &learnt(&served)?, "while it is idle")?;
    // Asked for anything, it is warm again.
    served.json("POST", "/v1/rooms/studio/messages", &json!({ "text": "hello", "author": "ann" }))?.expect(200)?;
    ensure!(served.get("/v1/rooms/studio")?.json()?["warm"] == true);
    same(&before, &learnt(&served)?, "when it comes back")?;
    let again = served.json("POST", "/v1/rooms/studio/feedback", &json!({ "event_id": event, "correct": false }))?.expect(200)?;
    ensure!(again["counted"] == false, "the same report counts once: {again}");

    served.terminate(SOON)?;
    let served = Served::start(home.path(), more)?;
    served.json("POST", "/v1/rooms/studio/messages", &json!({ "text": "hello", "author": "ann" }))?.expect(200)?;
    same(&before, &learnt(&served)?, "after a restart")?;
    idle(&served)?;
    Ok(())
}

/// Thresholds fall back a little with time.
fn same(before: &Value, after: &Value, when: &str) -> Result<()> {
    let read = |thresholds: &Value| {
        let thresholds = thresholds.as_array().cloned().unwrap_or_default();
        thresholds.iter().map(|t| (t["label"].to_string(), t["threshold"].as_f64().unwrap_or(0.0))).collect::<Vec<_>>()
    };
    let (before, after) = (read(before), read(after));
    let alike = before.len() == after.len()
        && before.iter().zip(&after).all(|((label, threshold), (other, now))| label == other && (threshold - now).abs() < 0.002);
    ensure!(alike, "{when}: {after:?} instead of {before:?}");
    Ok(())
}
