//! A clip is published in a loop while everything that can be done to a room's policies is done to them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use scrim_host::plugin::types::Slot;
use scrim_tests::publisher::Publisher;
use scrim_tests::served::Served;
use scrim_tests::watched::Watched;
use scrim_tests::{built, recorded};
use serde_json::{Value, json};

use super::{RATE, Room, SOON, clip, hello, hold, rest, settings_with_faces, turn};

/// Between two changes: more than a third of the delay, so that no more generations are in use than the host keeps.
const PAUSE: Duration = Duration::from_millis(300);
/// A frame's length, microseconds.
const FRAME_US: u64 = 33_333;

struct Admin<'a, 'w> {
    room: Room<'a>,
    publisher: &'w Publisher,
    watched: &'w mut Watched,
    changes: usize,
}

impl Admin<'_, '_> {
    /// A change, and a while in which frames come.
    fn change(&mut self, method: &str, slot: &str, what: &str, body: Value, status: u16) -> Result<Value> {
        let answer =
            self.room.send(method, &format!("/policy/{slot}{what}"), &body, status).with_context(|| format!("{slot}{what} {body}"))?;
        self.changes += usize::from(status == 200);
        self.breathe()?;
        Ok(answer)
    }

    fn put(&mut self, slot: &str, plugin: &str, config: Value) -> Result<Value> {
        self.change("PUT", slot, "", json!({ "plugin": plugin, "config": config }), 200)
    }

    fn breathe(&mut self) -> Result<()> {
        std::thread::sleep(PAUSE);
        self.watched.see_all(self.publisher, &*clip()?)
    }

    fn in_force(&self, slot: &str) -> Result<String> {
        let view = self.room.get(&format!("/policy/{slot}"))?;
        Ok(view["in_force"]["plugin"].as_str().unwrap_or_default().to_owned())
    }

    /// Puts a plugin in force that misbehaves from its second call on; the version before comes back by itself.
    fn suffer(&mut self, slot: &str, plugin: &str, how: &str) -> Result<()> {
        let before = self.in_force(slot)?;
        self.put(slot, plugin, json!({ "how": how, "after": 1 }))?;
        for _ in 0..SOON.as_millis() / PAUSE.as_millis() {
            if self.in_force(slot)? == before {
                return Ok(());
            }
            self.breathe()?;
        }
        anyhow::bail!("{plugin} ({how}) is still in force in the {slot} slot")
    }

    /// Says of some detections that they were right, and of some that they were wrong.
    fn report(&mut self) -> Result<usize> {
        let detections = self.room.events("detection")?;
        let mut counted = 0;
        for (index, event) in detections.iter().rev().take(3).enumerate() {
            let learned = self.room.send("POST", "/feedback", &json!({ "event_id": event["id"], "correct": index % 3 != 2 }), 200)?;
            counted += usize::from(learned["counted"] == true);
        }
        self.breathe()?;
        Ok(counted)
    }

    fn say(&mut self, text: &str) -> Result<Value> {
        self.room.send("POST", "/messages", &json!({ "text": text, "author": "ann" }), 200)
    }
}

#[test]
fn a_stream_stays_covered_while_its_policies_are_swapped_and_misbehave() -> Result<()> {
    let _turn = turn();
    let (home, clip) = (tempfile::tempdir()?, clip()?);
    let served = Served::start(home.path(), "")?;
    let room = Room::create(&served, "lobby", settings_with_faces())?;
    for guest in ["cascade", "threshold", "text"] {
        served.send("POST", "/v1/plugins", &[("content-type", "application/wasm")], &built::guest(guest)?)?.expect(201)?;
    }
    let publisher = Publisher::connect(&served, "lobby", "", 0)?;
    hello(&publisher)?;
    publisher.play(&clip, RATE);
    let mut watched = Watched::from(0);
    let recording = room.send("POST", "/recordings", &json!({}), 201)?;
    let mut admin = Admin { room, publisher: &publisher, watched: &mut watched, changes: 0 };
    admin.breathe()?;

    let mut reported = 0;
    for round in 0..3 {
        admin.put("cascade", "skin-cascade@1.0.0", json!({}))?;
        admin.put("threshold", "adaptive-threshold@1.0.0", json!({ "default_base": 0.2 }))?;
        admin.put("text", "profanity-context@2.0.0", json!({ "deny": ["pineapple"] }))?;
        ensure!(admin.say("that pineapple")?["flagged"] == true, "round {round}: the new settings are in force");
        reported += admin.report()?;
        admin.put("cascade", "skin-cascade@2.0.0", json!({}))?;
        admin.put("threshold", "adaptive-threshold@1.0.0", json!({ "default_base": 0.25 }))?;
        admin.put("text", "profanity-context@2.0.0", json!({}))?;
        ensure!(admin.say("that pineapple")?["flagged"] == false, "round {round}: the old settings are in force again");
    }
    ensure!(reported >= 3, "{reported} reports counted");

    for (slot, plugin) in [("cascade", "skin-cascade@1.0.0"), ("threshold", "steady-threshold@1.0.0"), ("text", "steady-text@1.0.0")] {
        let before = admin.in_force(slot)?;
        let candidate = json!({ "plugin": plugin, "config": {} });
        admin.change("POST", slot, "/shadow", candidate.clone(), 200)?;
        ensure!(admin.in_force(slot)? == before, "a shadow is not in force");
        admin.say("something to judge")?;
        admin.breathe()?;
        admin.change("POST", slot, "/discard", json!({}), 200)?;
        admin.change("POST", slot, "/promote", json!({}), 409)?;
        // Half sure is too much for the clip's face, so this one is only watched.
        if slot != "threshold" {
            admin.change("POST", slot, "/shadow", candidate, 200)?;
            admin.change("POST", slot, "/promote", json!({}), 200)?;
            ensure!(admin.in_force(slot)? == plugin, "{slot}");
            admin.change("POST", slot, "/rollback", json!({}), 200)?;
            ensure!(admin.in_force(slot)? == before, "{slot}");
        }
        admin.change("POST", slot, "/kill", json!({}), 200)?;
    }

    for how in ["trap", "loop", "huge", "nonsense"] {
        admin.suffer("cascade", "steady@1.0.0", how)?;
        admin.suffer("threshold", "steady-threshold@1.0.0", how)?;
    }
    admin.change("PUT", "cascade", "", json!({ "plugin": "steady@1.0.0", "config": { "how": "trap-configure" } }), 422)?;
    admin.change("PUT", "threshold", "", json!({ "plugin": "steady-threshold@1.0.0", "config": { "how": "loop-configure" } }), 422)?;
    admin.change("PUT", "cascade", "", json!({ "plugin": "steady-threshold@1.0.0", "config": {} }), 422)?;
    admin.change("PUT", "cascade", "", json!({ "plugin": "nobody@1.0.0", "config": {} }), 404)?;
    admin.breathe()?;

    let Admin { room, changes, .. } = admin;
    rest(&publisher, &mut watched, &clip)?;
    let live = room.get("")?["live"][0].clone();
    room.send("POST", "/recordings/stop", &json!({}), 200)?;
    let id = recording["id"].as_str().context("a recording has an id")?;
    let file = home.path().join("room.rec");
    std::fs::write(&file, served.get(&room.path(&format!("/recordings/{id}")))?.body)?;

    hold(&watched, &publisher, &live)?;
    ensure!(watched.face_frames > 300, "the clip shows a face: {watched:?}");
    ensure!(watched.area_ratio() < 1.8, "{:.2} times the faces' area is covered", watched.area_ratio());
    ensure!(live["exposed"] == 0, "the host's own auditor: {live}");
    took_effect_between_frames(&room, &file, changes)
}

/// Every judgement came from the generation that was in force when its frame was captured, and every swap is an event.
fn took_effect_between_frames(room: &Room, file: &std::path::Path, changes: usize) -> Result<()> {
    let shares = recorded::read(file)?;
    let mut commits = 0;
    for slot in Slot::ALL {
        let share = shares.get(&slot).with_context(|| format!("nothing of the {slot} slot is recorded"))?;
        let held = share.held_us.iter().max().copied().unwrap_or_default();
        println!("{slot}: {} judgements, {} commits, at most {held} us held up", share.judged.len(), share.commits.len());
        ensure!(held <= FRAME_US, "{slot}: calls were held up for {held} us");
        commits += share.commits.len();
        if slot != Slot::Text {
            let judges: std::collections::BTreeSet<u32> = share.judged.iter().map(|(_, generation, _)| generation.0).collect();
            // The cascade is asked where the picture moves, some twice in three seconds, and a generation may be replaced before that.
            ensure!(judges.len() * 3 >= share.commits.len(), "{slot}: of {} generations {} judged", share.commits.len(), judges.len());
            ensure!(share.judged.len() >= share.commits.len(), "{slot}: {} judgements", share.judged.len());
        }
    }
    let events = room.events("policy")?;
    let of = |kind: &str| events.iter().filter(|event| event["body"]["event"] == kind).count();
    println!("{changes} changes; {} commits, {} rollbacks, {} faults", of("committed"), of("rolled_back"), of("faulted"));
    ensure!(of("rolled_back") >= 10, "eight by themselves and two by hand");
    // Those that put the room's policies in before it was recorded are events too.
    ensure!(of("committed") + of("rolled_back") >= commits, "each is told");
    Ok(())
}
