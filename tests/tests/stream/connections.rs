//! What connections do: a second publisher, watchers, cuts, too much at once, nonsense, good-byes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scrim_host::media::wire::{Control, Format};
use scrim_tests::publisher::{Clip, Heard, Publisher, Shown};
use scrim_tests::served::Served;
use scrim_tests::watched::Watched;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{RATE, Room, SOON, carphone, clip, hello, hold, rest, settings_with_faces, turn};

#[test]
fn a_room_has_one_publisher_and_its_watchers_see_the_same() -> Result<()> {
    let _turn = turn();
    let (home, clip) = (tempfile::tempdir()?, clip()?);
    let served = Served::start(home.path(), "")?;
    let room = Room::create(&served, "lobby", settings_with_faces())?;
    // It waits for a stream to begin.
    let watcher = Publisher::connect(&served, "lobby", "watch=true", 0)?;
    let publisher = Publisher::connect(&served, "lobby", "", 0)?;
    hello(&publisher)?;
    hello(&watcher)?;
    publisher.play(&clip, RATE);
    let mut watched = Watched::from(0);
    publisher.wait(SOON, "some frames", |heard| heard.shown.len() > 30)?;
    ensure!(Publisher::refusal(&served, "lobby", "")? == 409, "a second publisher is refused before the upgrade");
    ensure!(served.get(&room.path("/stream"))?.status == 426, "without a WebSocket there is nothing to be had");
    ensure!(Publisher::refusal(&served, "nowhere", "")? == 404);
    publisher.wait(SOON, "the first goes on", |heard| heard.shown.len() > 90)?;

    publisher.pause();
    let last = publisher.heard().last_sent;
    for viewer in [&publisher, &watcher] {
        viewer.wait(SOON, "the last frame", |heard| heard.shown.back().map(|shown| shown.sequence) == last)?;
    }
    let pictures = |heard: &Heard| heard.shown.iter().map(|shown| (shown.sequence, shown.picture.clone())).collect::<Vec<_>>();
    let (mine, theirs) = (pictures(&publisher.heard()), pictures(&watcher.heard()));
    // A viewer that the machine kept from reading is told what it missed; what both saw is the same.
    let missed = (publisher.heard().dropped(), watcher.heard().dropped());
    ensure!(missed != (0, 0) || mine == theirs, "{} frames and {}", mine.len(), theirs.len());
    ensure!(theirs.iter().all(|(sequence, picture)| mine.iter().all(|(other, mine)| other != sequence || mine == picture)));
    watched.see_all(&publisher, &clip)?;
    hold(&watched, &publisher, &room.get("")?["live"][0])?;
    ends_with_its_counts(&room, publisher, watched.frames)?;

    // The watcher stays for the next stream.
    let next = Publisher::connect(&served, "lobby", "", 0)?;
    next.play(&clip, RATE);
    watcher.wait(SOON, "the next stream's hello", |heard| heard.controls.iter().filter(|c| matches!(c, Control::Hello { .. })).count() == 2)
}

/// A good-bye ends the session, and its counts are kept.
fn ends_with_its_counts(room: &Room, publisher: Publisher, frames: u64) -> Result<()> {
    publisher.close();
    publisher.wait(SOON, "the good-bye is answered", |heard| heard.over)?;
    let since = Instant::now();
    while room.get("")?["live"][0] != Value::Null {
        ensure!(since.elapsed() < SOON, "the stream does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let sessions = room.get("/sessions")?;
    let session = sessions.get(0).context("one session")?;
    ensure!(session["frames"] == frames && session["exposed"] == 0, "{session}");
    ensure!(session["ended_at"].is_i64() && session["end"] == "the publisher left", "{session}");
    Ok(())
}

#[test]
fn a_cut_off_publisher_goes_on_with_its_session_and_shows_nothing_raw() -> Result<()> {
    let _turn = turn();
    let (home, clip) = (tempfile::tempdir()?, clip()?);
    let served = Served::start(home.path(), "[serve]\nresume_s = 3\n")?;
    let room = Room::create(&served, "lobby", settings_with_faces())?;
    let mut next = 0;
    let mut session: Option<(Value, u32)> = None;
    // At once, after less than a gap, and after more than the whole delay line.
    for away in [0, 100, 1000, 0] {
        std::thread::sleep(Duration::from_millis(away));
        let publisher = reconnected(&served, next)?;
        let hello = hello(&publisher)?;
        let mut watched = Watched::from(next);
        if let Some((before, _)) = &session {
            ensure!(hello["session"] == *before, "another session: {hello}");
            ensure!(hello["resume"] == next - 1, "resumes after {}, not {}", hello["resume"], next - 1);
        }
        publisher.play(&clip, RATE);
        std::thread::sleep(Duration::from_millis(1500));
        rest(&publisher, &mut Watched::default(), &clip).ok();
        next = publisher.heard().last_sent.context("frames were sent")? + 1;
        publisher.play(&clip, RATE);
        let last = next + 20;
        publisher.wait(SOON, "more frames", |heard| heard.last_sent >= Some(last))?;
        // Cut with frames in the line: they are shown to nobody, or to watchers.
        let seen = publisher.take_shown();
        watched.last = seen.first().and_then(|shown| shown.sequence.checked_sub(1));
        seen.iter().for_each(|shown| watched.see(shown, clip.faces(shown.sequence)));
        ensure!(watched.exposed == 0 && watched.passed_unjudged == 0, "after a gap of {away} ms: {watched:?}");
        let shot = seen.last().map_or(0, |shown| shown.verdict.shot);
        if let Some((_, before)) = session {
            ensure!(shot > before, "shot {shot} after shot {before}: the gap of {away} ms begins none");
        }
        next = publisher.heard().last_sent.context("frames were sent")? + 1;
        session = Some((hello["session"].clone(), shot));
        settle(&room, next)?;
        publisher.cut();
    }
    let (before, _) = session.context("four connections")?;
    // Nobody comes back: the session ends by itself.
    let since = Instant::now();
    while room.get("")?["live"][0] != Value::Null {
        ensure!(since.elapsed() < SOON, "the stream does not end");
        std::thread::sleep(Duration::from_millis(100));
    }
    let sessions = room.get("/sessions")?;
    ensure!(sessions.as_array().map(Vec::len) == Some(1), "{sessions}");
    ensure!(sessions[0]["end"] == "the publisher did not come back", "{sessions}");
    let publisher = Publisher::connect(&served, "lobby", "", 0)?;
    let hello = hello(&publisher)?;
    ensure!(hello["session"] != before && hello["resume"] == Value::Null, "{hello}");
    Ok(())
}

/// Waits until the host has taken every number before this one.
fn settle(room: &Room, next: u64) -> Result<()> {
    let since = Instant::now();
    while room.get("")?["live"][0]["received"].as_u64() < Some(next) && since.elapsed() < SOON / 4 {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The host notices a cut when the system tells it; until then the place is taken.
fn reconnected(served: &Served, first: u64) -> Result<Publisher> {
    let since = Instant::now();
    loop {
        match Publisher::connect(served, "lobby", "", first) {
            Ok(publisher) => return Ok(publisher),
            Err(error) if since.elapsed() > SOON => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn too_much_and_nonsense_are_told_and_stop_nothing() -> Result<()> {
    let _turn = turn();
    let (home, clip) = (tempfile::tempdir()?, clip()?);
    let served = Served::start(home.path(), "")?;
    let room = Room::create(&served, "lobby", settings_with_faces())?;
    let publisher = Publisher::connect(&served, "lobby", "", 0)?;
    hello(&publisher)?;
    let since = Instant::now();
    publisher.burst(&clip, 200);
    publisher.wait(SOON, "200 frames are sent", |heard| heard.sent == 200)?;
    ensure!(since.elapsed() < SOON / 4, "sending took {:?}: the host made the publisher wait", since.elapsed());
    let told = |heard: &Heard| {
        heard.controls.iter().any(|c| matches!(c, Control::SlowDown { frames_per_second, .. } if *frames_per_second >= 1.0))
    };
    publisher.wait(SOON, "slow_down", told)?;
    let mut watched = Watched::from(0);
    // What is told beyond what a connection holds is in the next total. What was shown and came too fast for this connection has a total of its own.
    publisher.wait(SOON, "each is shown or dropped", |heard| {
        let dropped = |to_viewer: bool| {
            let total = |c: &Control| match c {
                Control::Dropped { total, reason, .. } if (reason == "viewer") == to_viewer => Some(*total),
                _ => None,
            };
            heard.controls.iter().rev().find_map(total).unwrap_or(0)
        };
        heard.shown.len() as u64 + dropped(false) + dropped(true) >= 200
    })?;
    watched.see_all(&publisher, &clip)?;
    println!("of 200 frames at once {} are shown, {} of them whole", watched.frames, watched.full_covers());
    ensure!(watched.repeated == 0 && watched.exposed == 0, "{watched:?}");

    publisher.play(&clip, RATE);
    for message in nonsense(&clip) {
        let before = publisher.heard().controls.len();
        publisher.send(message.clone());
        publisher.wait(SOON, &format!("an error about {}", shortly(&message)), |heard| {
            heard.controls[before..].iter().any(|c| matches!(c, Control::Error { detail, .. } if !detail.is_empty()))
        })?;
    }
    let sent = publisher.heard().last_sent;
    publisher.wait(SOON, "the stream goes on", |heard| heard.shown.back().map(|shown| shown.sequence) > sent)?;
    publisher.pause();
    ensure!(room.get("")?["live"][0]["passed_unjudged"] == 0);
    ensure!(served.get("/health")?.status == 200, "{:?}", served.get("/health")?.json());
    Ok(())
}

/// Messages that are none, each by another fault.
fn nonsense(clip: &Clip) -> Vec<Message> {
    let good = clip.message(u64::MAX / 2, 0);
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Message::Binary(bytes.into())
    };
    vec![
        Message::Binary(Vec::new().into()),
        Message::Binary(vec![0xff; 100_000].into()),
        Message::Binary(good[..32].to_vec().into()),
        Message::Binary(good[..good.len() - 500].to_vec().into()),
        changed(0, b'X'),
        changed(4, 9),
        changed(5, 7),
        changed(6, 1),
        changed(7, 1),
        changed(24, 1),
        changed(33, 0),
        Message::text("not JSON"),
        Message::text(r#"{"type": "hello", "version": 2}"#),
        Message::text(r#"{"type": "hello", "version": 1, "shoes": 2}"#),
    ]
}

fn shortly(message: &Message) -> String {
    match message {
        Message::Text(text) => text.to_string(),
        other => format!("{} bytes", other.len()),
    }
}

#[test]
fn i420_comes_back_bit_for_bit_outside_its_masks() -> Result<()> {
    let _turn = turn();
    let home = tempfile::tempdir()?;
    let clip = Arc::new(Clip::new(carphone()?, Format::I420)?);
    let served = Served::start(home.path(), "")?;
    let room = Room::create(&served, "lobby", settings_with_faces())?;
    let publisher = Publisher::connect(&served, "lobby", "want=i420", 5)?;
    hello(&publisher)?;
    publisher.play(&clip, RATE);
    publisher.wait(SOON, "frames", |heard| heard.shown.len() >= 120)?;
    publisher.pause();
    let mut masked = 0;
    for shown in publisher.take_shown() {
        ensure!(!shown.verdict.masks.is_empty() || shown.verdict.judged, "frame {} is not judged", shown.sequence);
        masked += usize::from(same_outside(&shown, &clip)?);
    }
    ensure!(masked > 60, "{masked} frames have masks that leave something");
    // What the publisher wants it may say in words, too.
    let before = publisher.heard().shown.len();
    publisher.send(Message::text(r#"{"type": "hello", "version": 1, "want": "none"}"#));
    publisher.play(&clip, RATE);
    std::thread::sleep(Duration::from_millis(1500));
    ensure!(publisher.heard().shown.len() < before + 30, "verdicts alone are wanted");
    ensure!(room.get("")?["live"][0]["dropped"] == 0 || publisher.heard().late_max > super::LATE);
    Ok(())
}

/// Whether something lies outside the masks; an error if it is not as it was sent.
fn same_outside(shown: &Shown, clip: &Clip) -> Result<bool> {
    let (sent, came) = (clip.frame(shown.sequence), shown.frame()?);
    ensure!((sent.width, sent.height, sent.range, sent.matrix) == (came.width, came.height, came.range, came.matrix));
    let mut outside = 0;
    for (plane, (sent, came)) in sent.planes().into_iter().zip(came.planes()).enumerate() {
        let scale = if plane == 0 { 1 } else { 2 };
        let (width, height) = (clip.frame(0).width.div_ceil(scale), clip.frame(0).height.div_ceil(scale));
        for (at, (sent, came)) in sent.iter().zip(came).enumerate() {
            let (x, y) = ((at % width) as f32 + 0.5, (at / width) as f32 + 0.5);
            // A chroma sample is shared by four pixels, so the rim belongs to neither side.
            let near = |mask: &scrim_host::geometry::Rect| {
                let rim = mask.grown(3.0 / clip.frame(0).width as f32, 3.0 / clip.frame(0).height as f32);
                let (x, y) = (x / width as f32, y / height as f32);
                rim.x <= x && x <= rim.right() && rim.y <= y && y <= rim.bottom()
            };
            if !shown.verdict.masks.iter().any(near) {
                outside += 1;
                ensure!(sent == came, "frame {}, plane {plane}, {x},{y}: {came} instead of {sent}", shown.sequence);
            }
        }
    }
    Ok(outside > 0 && !shown.verdict.masks.is_empty())
}

#[test]
fn a_host_that_stops_shows_what_it_has_taken() -> Result<()> {
    let _turn = turn();
    let (home, clip) = (tempfile::tempdir()?, clip()?);
    // A long line, so that much is in it.
    let served = Served::start(home.path(), "[room]\ndelay_ms = 2000\n[serve]\ndrain_timeout_s = 10\n")?;
    let room = Room::create(&served, "lobby", settings_with_faces())?;
    let _other = Room::create(&served, "other", json!({}))?;
    let publisher = Publisher::connect(&served, "lobby", "", 0)?;
    let watcher = Publisher::connect(&served, "lobby", "watch=true", 0)?;
    hello(&publisher)?;
    publisher.play(&clip, RATE);
    publisher.wait(SOON, "frames", |heard| heard.shown.len() > 30)?;
    let taken = room.get("")?["live"][0]["received"].as_u64().context("a live stream")?;
    let (address, data_dir) = (served.address.clone(), served.data_dir.clone());
    let stopping = std::thread::spawn(move || served.terminate(Duration::from_secs(10)));
    for viewer in [&publisher, &watcher] {
        viewer.wait(SOON, "the good-bye", |heard| heard.over)?;
        // One guard at a time: both would be of the same lock.
        let last = viewer.heard().shown.back().map(|shown| shown.sequence);
        let lost = viewer.heard().dropped();
        ensure!(last >= Some(taken - 1), "{taken} frames were taken before it stopped, the last shown is {last:?}");
        println!("{taken} frames were taken, the last shown is {last:?}, {lost} were dropped");
    }
    let bye = publisher.heard().controls.iter().any(|c| matches!(c, Control::Bye { reason } if reason == "the host is stopping"));
    ensure!(bye, "{:?}", publisher.heard().controls);
    let mut watched = Watched::from(0);
    watched.see_all(&publisher, &clip)?;
    ensure!((watched.exposed, watched.repeated, watched.shows_through) == (0, 0, 0), "{watched:?}");
    stopping.join().map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    ensure!(std::net::TcpStream::connect(&address).is_err(), "it does not listen any more");

    let served = Served::start(&data_dir, "")?;
    let sessions = served.get("/v1/rooms/lobby/sessions")?.expect(200)?;
    ensure!(sessions[0]["end"] == "the host is stopping" && sessions[0]["frames"] == watched.frames, "{sessions}, {} seen", watched.frames);
    Ok(())
}
