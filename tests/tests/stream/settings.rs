//! What a publisher or an admin changes in mid-stream.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use scrim_host::media::frame::Frame;
use scrim_host::media::wire::{Extent, Format};
use scrim_tests::coverage::variants::{self, Variant};
use scrim_tests::publisher::{Clip, Publisher, Shown};
use scrim_tests::served::Served;
use scrim_tests::watched::Watched;
use serde_json::{Value, json};

use super::{RATE, Room, SOON, clip, hello, hold, rest, settings_with_faces, turn};

#[test]
fn the_pictures_may_change_their_size() -> Result<()> {
    let _turn = turn();
    let (home, small) = (tempfile::tempdir()?, clip()?);
    let path = scrim_toolchain::assets::path("carphone.mp4")?;
    // The left half: another size of another content.
    let other = Arc::new(Clip::with_faces(variants::frames(&path, Variant::Pan, 4.0)?, Format::I420)?);
    let served = Served::start(home.path(), "")?;
    let room = Room::create(&served, "lobby", settings_with_faces())?;
    let publisher = Publisher::connect(&served, "lobby", "", 0)?;
    hello(&publisher)?;
    let mut watched = Watched::from(0);
    let mut shots = std::collections::BTreeSet::new();
    for clip in [&small, &other, &small, &other] {
        let sent = publisher.heard().sent;
        publisher.play(clip, RATE);
        publisher.wait(SOON, "two seconds of a size", |heard| heard.sent >= sent + 60)?;
    }
    publisher.pause();
    let last = publisher.heard().last_sent;
    publisher.wait(SOON, "the last frame", |heard| heard.shown.back().map(|shown| shown.sequence) == last)?;
    for shown in publisher.take_shown() {
        let clip = if shown.width == small.frame(0).width { &small } else { &other };
        ensure!((shown.width, shown.height) == (clip.frame(0).width, clip.frame(0).height));
        shots.insert((shown.verdict.shot, shown.width));
        watched.see(&shown, clip.faces(shown.sequence));
    }
    hold(&watched, &publisher, &room.get("")?["live"][0])?;
    ensure!(shots.len() >= 4 && shots.iter().map(|(shot, _)| shot).collect::<std::collections::BTreeSet<_>>().len() == shots.len());
    Ok(())
}

/// What is captured after a change is answered, and what came of it.
fn after(publisher: &Publisher, room: &Room, change: Value) -> Result<u64> {
    room.send("PATCH", "", &change, 200)?;
    let first = publisher.heard().last_sent.map_or(0, |last| last + 1);
    publisher.wait(SOON, &format!("frames after {change}"), |heard| heard.shown.back().is_some_and(|s| s.sequence > first + 45))?;
    Ok(first)
}

/// The colour in the middle of the largest mask, if one is large enough to have a middle.
fn middle(shown: &Shown, frame: &Frame) -> Option<[u8; 3]> {
    let mask = shown.verdict.masks.iter().max_by(|a, b| a.area().total_cmp(&b.area()))?;
    if mask.width * (frame.width as f32) < 40.0 || mask.height * (frame.height as f32) < 40.0 {
        return None;
    }
    let (x, y) = mask.center();
    let (x, y) = ((x * frame.width as f32) as usize, (y * frame.height as f32) as usize);
    let [luma, cb, cr] = frame.planes();
    let chroma = y / 2 * frame.width.div_ceil(2) + x / 2;
    Some([luma[y * frame.width + x], cb[chroma], cr[chroma]])
}

#[test]
fn a_change_of_settings_binds_every_frame_captured_after_its_answer() -> Result<()> {
    let _turn = turn();
    let (home, clip) = (tempfile::tempdir()?, clip()?);
    let served = Served::start(home.path(), "")?;
    let room = Room::create(&served, "lobby", settings_with_faces())?;
    let publisher = Publisher::connect(&served, "lobby", "", 0)?;
    hello(&publisher)?;
    publisher.play(&clip, RATE);
    publisher.wait(SOON, "frames", |heard| heard.shown.len() > 40)?;

    let red = after(&publisher, &room, json!({ "color": "#ff0000" }))?;
    let smeared = after(&publisher, &room, json!({ "style": "pixelate" }))?;
    let bare = after(&publisher, &room, json!({ "cover": ["FEET_EXPOSED"], "style": null }))?;
    let again = after(&publisher, &room, json!({ "cover": ["FACE_*"], "color": null }))?;
    publisher.pause();
    let last = publisher.heard().last_sent;
    publisher.wait(SOON, "the last frame", |heard| heard.shown.back().map(|shown| shown.sequence) == last)?;
    let mut watched = Watched::from(0);
    let (mut reds, mut pixels, mut bares) = (0, 0, 0);
    for shown in publisher.take_shown() {
        let covered = !(bare..again).contains(&shown.sequence);
        // Between the change and its answer a frame may already be under the new setting: then nothing covers the face.
        let asked = covered && !(smeared..bare).contains(&shown.sequence);
        watched.see(&shown, if asked { clip.faces(shown.sequence) } else { &[] });
        let frame = shown.frame()?;
        let colour = middle(&shown, &frame);
        match shown.sequence {
            n if n >= again => ensure!(colour.is_none_or(|[y, ..]| y < 60), "frame {n} is {colour:?}, not black"),
            n if n >= bare => {
                bares += usize::from(shown.verdict.cover == Extent::Clear);
                ensure!(shown.verdict.cover != Extent::Masked, "frame {n} is covered by the old labels: {:?}", shown.verdict);
            }
            n if n >= smeared => pixels += usize::from(colour.is_some_and(|[_, _, cr]| cr < 200)),
            n if n >= red => {
                reds += usize::from(colour.is_some());
                ensure!(colour.is_none_or(|[_, _, cr]| cr > 200), "frame {n} is {colour:?}, not red");
            }
            _ => {}
        }
    }
    println!("{reds} red, {pixels} smeared, {bares} bare frames");
    ensure!(reds > 30 && pixels > 20 && bares > 20, "{reds} red, {pixels} smeared, {bares} bare frames");
    hold(&watched, &publisher, &room.get("")?["live"][0])
}

#[test]
fn a_longer_or_shorter_delay_repeats_and_bares_nothing() -> Result<()> {
    let _turn = turn();
    let (home, clip) = (tempfile::tempdir()?, clip()?);
    let served = Served::start(home.path(), "")?;
    let room = Room::create(&served, "lobby", settings_with_faces())?;
    let publisher = Publisher::connect(&served, "lobby", "", 0)?;
    hello(&publisher)?;
    publisher.play(&clip, RATE);
    let mut watched = Watched::from(0);
    publisher.wait(SOON, "frames", |heard| heard.shown.len() > 20)?;
    for delay in [1200, 300, 900, 400] {
        room.send("PATCH", "", &json!({ "delay_ms": delay }), 200)?;
        std::thread::sleep(Duration::from_millis(2500));
        let between = publisher.heard().shown.back().map(|shown| (shown.at, shown.capture_us));
        ensure!(between.is_some());
        watched.see_all(&publisher, &clip)?;
        ensure!((watched.repeated, watched.exposed) == (0, 0), "delay {delay}: {watched:?}");
        ensure!(room.get("")?["effective"]["delay_ms"] == delay);
    }
    // A delay that leaves a look no time is refused, and nothing changes.
    let refused = room.send("PATCH", "", &json!({ "delay_ms": 70 }), 409)?;
    ensure!(refused["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{refused}");
    ensure!(room.get("")?["effective"]["delay_ms"] == 400);
    rest(&publisher, &mut watched, &clip)?;
    let live = room.get("")?["live"][0].clone();
    // Twice the delay became shorter: from 1200 to 300 ms, and from 900 to 400.
    let shortened = ((900 + 500) as f64 * RATE / 1000.0) as u64;
    let left_out = publisher.heard().dropped_for(|reason| reason == "shortened");
    println!("{left_out} frames left out for shorter delays, about {shortened} expected");
    ensure!(left_out > 0 && left_out <= shortened + 6, "{left_out} frames left out where the delay became {shortened} frames shorter");
    hold(&watched, &publisher, &live)
}
