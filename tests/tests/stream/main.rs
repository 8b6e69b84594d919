//! Streams over HTTP and WebSocket, against a real `scrim serve`: a publisher's pictures come back covered, all of them, once, in order,
//! whatever is done to the room or to the connection meanwhile.

mod connections;
mod policies;
mod settings;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use scrim_host::media::frame::Frame;
use scrim_host::media::wire::{Control, Format};
use scrim_tests::coverage::variants::{self, Variant};
use scrim_tests::publisher::{Clip, Publisher};
use scrim_tests::served::Served;
use scrim_tests::watched::Watched;
use serde_json::{Value, json};

/// Frames a second of what is published.
const RATE: f64 = 30.0;
/// How long anything may take that does not depend on the machine's speed.
const SOON: Duration = Duration::from_secs(20);
/// A machine that lets a sleeping thread oversleep by so much is too busy for looks to come in time.
const LATE: Duration = Duration::from_millis(15);

/// A stream's looks have deadlines, so these tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carphone() -> Result<Vec<Frame>> {
    variants::frames(&scrim_toolchain::assets::path("carphone.mp4")?, Variant::Plain, 13.0)
}

/// The packaged clip that shows a face, with the reference's faces, which take a while to find.
fn clip() -> Result<Arc<Clip>> {
    static CLIP: OnceLock<Arc<Clip>> = OnceLock::new();
    if let Some(clip) = CLIP.get() {
        return Ok(clip.clone());
    }
    let clip = Arc::new(Clip::with_faces(carphone()?, Format::Jpeg)?);
    Ok(CLIP.get_or_init(|| clip).clone())
}

/// One room of a host.
struct Room<'a> {
    served: &'a Served,
    name: &'a str,
}

impl<'a> Room<'a> {
    fn create(served: &'a Served, name: &'a str, settings: Value) -> Result<Self> {
        let mut body = settings;
        body["name"] = name.into();
        served.json("POST", "/v1/rooms", &body)?.expect(201)?;
        Ok(Self { served, name })
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/rooms/{}{rest}", self.name)
    }

    fn send(&self, method: &str, rest: &str, body: &Value, status: u16) -> Result<Value> {
        self.served.json(method, &self.path(rest), body)?.expect(status)
    }

    fn get(&self, rest: &str) -> Result<Value> {
        self.served.get(&self.path(rest))?.expect(200)
    }

    /// Every event of this kind since the room was made.
    fn events(&self, kind: &str) -> Result<Vec<Value>> {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let page = self.get(&format!("/events?after={after}&limit=1000"))?;
            let found = page["events"].as_array().cloned().unwrap_or_default();
            if found.is_empty() {
                return Ok(events);
            }
            after = page["next"].as_i64().unwrap_or(i64::MAX);
            events.extend(found.into_iter().filter(|event| event["kind"] == kind));
        }
    }
}

/// Waits until everything that was sent has come back, or been told of as dropped.
fn rest(publisher: &Publisher, watched: &mut Watched, clip: &Clip) -> Result<()> {
    publisher.pause();
    std::thread::sleep(Duration::from_millis(100));
    let last = publisher.heard().last_sent;
    // The last may be among the dropped ones.
    let came = publisher.wait(SOON / 4, "the last frame", |heard| heard.shown.back().map(|shown| shown.sequence) == last);
    watched.see_all(publisher, clip)?;
    let missing = last.zip(watched.last).map_or(0, |(sent, seen)| sent - seen);
    watched.lost += missing;
    if missing > publisher.heard().dropped() { came } else { Ok(()) }
}

/// Whether the machine was too busy for everything to be in time, as the test's own thread felt it and as the host counted it.
fn was_late(publisher: &Publisher, live: &Value) -> bool {
    publisher.heard().late_max > LATE || live["late"].as_u64().unwrap_or(0) > 0
}

/// What holds of every stream of the clip: nothing out of order, nothing shown that should not be, nothing lost in silence; and where the
/// machine kept up, nothing lost or covered whole at all.
fn hold(watched: &Watched, publisher: &Publisher, live: &Value) -> Result<()> {
    let heard = publisher.heard();
    println!(
        "{} frames, {} with faces, {} exposed, {} lost, {} dropped, full covers {:?}, area {:.2}x, slept {:?} too long at most; host: {live}",
        watched.frames,
        watched.face_frames,
        watched.exposed,
        watched.lost,
        heard.dropped(),
        watched.full,
        watched.area_ratio(),
        heard.late_max
    );
    ensure!(heard.unreadable.is_empty(), "messages not as described: {:?}", heard.unreadable);
    drop(heard);
    ensure!(watched.repeated == 0, "{} frames came twice or out of order", watched.repeated);
    ensure!(watched.exposed == 0, "a face shows in frames {:?}: {watched:?}", watched.exposed_at);
    ensure!(watched.shows_through == 0, "{} pictures are not covered where their verdict says so", watched.shows_through);
    ensure!(watched.passed_unjudged == 0, "{watched:?}");
    ensure!(watched.lost == publisher.heard().dropped(), "{} frames lost, {} told", watched.lost, publisher.heard().dropped());
    if was_late(publisher, live) {
        println!("the machine was late: {} full covers and {} lost frames are put down to it", watched.full_covers(), watched.lost);
        return Ok(());
    }
    // A shorter delay was asked for.
    let wanted = publisher.heard().dropped_for(|reason| reason == "shortened");
    ensure!(watched.lost == wanted, "{} frames lost", watched.lost);
    ensure!(watched.full_covers() == 0, "covered whole without need: {:?}", watched.full);
    Ok(())
}

fn hello(publisher: &Publisher) -> Result<Value> {
    publisher.wait(SOON, "hello", |heard| !heard.controls.is_empty())?;
    let first = publisher.heard().controls.first().cloned();
    ensure!(matches!(first, Some(Control::Hello { .. })), "not a hello first: {first:?}");
    Ok(serde_json::to_value(first)?)
}

fn settings_with_faces() -> Value {
    json!({ "cover": ["FACE_*"] })
}
