//! What breaks around a LiveKit room while a broadcaster shows a face: the network, the host, the camera. A viewer in a process of its own looks
//! at every picture that it gets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use scrim_host::media::frame::Frame;
use scrim_host::media::turn::{Turn, turned};
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{Encoding, Options, Picture, Room, Rotation, VideoTrack};
use scrim_tests::faults::{self, BACK_MAX, host, token};
use scrim_tests::joins;
use scrim_tests::livekit::{Server, alone, library};
use scrim_tests::peer::{Peer, Told, Watching};
use scrim_tests::portrait::{self, SIZE};
use scrim_tests::served::Served;
use tokio::sync::watch;

/// The server's time-out for somebody who says nothing more, and what a busy machine adds.
const GONE_MAX: Duration = Duration::from_secs(60);
const VP8: Encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 1_000_000, frames_per_s: 15.0, simulcast: false };

#[test]
fn the_network_is_cut_and_nobody_sees_a_face() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    faults::short_cuts()
}

#[test]
fn who_comes_and_goes_leaves_nothing_behind() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    joins::short()
}

#[test]
fn a_host_that_dies_takes_its_mirrors_along_and_begins_covered_again() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let first = host(folder.path(), &server)?;
    let face = portrait::face(&portrait::picture(SIZE)?)?;
    let _broadcaster = Peer::broadcast(None, &server.url(), &token(&first, "Bob", "broadcaster")?)?;
    let mut viewer = Watching::new(Peer::watch(None, &server.url(), &token(&first, "Vera", "viewer")?, face)?);
    let begin = Instant::now();
    viewer.look_until("the first pictures", BACK_MAX, |viewer| viewer.is_well(begin, SIZE.0))?;

    let data_dir = first.data_dir.clone();
    first.kill()?;
    let died = Instant::now();
    let mirror = |told: &(Instant, Told)| matches!(told, (at, Told::Left(who)) if *at > died && who.starts_with("mirror~"));
    let left = viewer.look_until("the mirror's going", GONE_MAX, |viewer| viewer.told.iter().any(mirror))?;
    println!("the mirror is gone {left:?} after the host died");
    viewer.look_for(Duration::from_secs(2))?;
    let late = viewer.since(died + Duration::from_secs(2)).count();
    ensure!(late == 0, "{late} pictures come of a host that is dead");

    let again = Served::start_livekit(&data_dir, &server, "")?;
    let started = Instant::now();
    let back = viewer.look_until("what was seen before", BACK_MAX, |viewer| viewer.is_well(started, SIZE.0))?;
    let first = viewer.since(started).next().context("pictures have come")?.shows;
    println!("back {back:?} after the host's start, with {first:?} first");
    again.terminate(Duration::from_secs(20))
}

/// What a camera shows: pictures of one size, and by how much they are to be turned.
type Showing = (Arc<Frame>, Rotation);

/// Publishes what `showing` has, whatever that is at the time, until the task is aborted.
async fn camera(room: &Room, showing: watch::Receiver<Showing>) -> Result<(Arc<VideoTrack>, tokio::task::JoinHandle<()>)> {
    let size = {
        let (frame, _) = &*showing.borrow();
        (frame.width as u32, frame.height as u32)
    };
    let track = Arc::new(VideoTrack::publish(room, "cam", size, TrackSource::SourceCamera, VP8).await?);
    let out = track.clone();
    let pump = tokio::spawn(async move {
        let (begin, mut pace) = (Instant::now(), tokio::time::interval(Duration::from_millis(66)));
        loop {
            pace.tick().await;
            let (frame, rotation) = showing.borrow().clone();
            let picture = Picture { width: frame.width as u32, height: frame.height as u32, data: frame.data() };
            if out.capture_turned(picture, begin.elapsed().as_micros() as i64, rotation).is_err() {
                return;
            }
        }
    });
    Ok((track, pump))
}

/// The portrait as a camera has it that is held askew: turned by so much it is upright.
fn askew(turn: Turn, rotation: Rotation) -> Result<Showing> {
    let upright = portrait::picture(SIZE)?;
    let (width, height, data) = turned(turn, upright.width, upright.height, upright.data());
    Ok((Arc::new(Frame::new(upright.seq, upright.at, width, height, upright.range, upright.matrix, data)), rotation))
}

fn sized(width: usize, height: usize) -> Result<Showing> {
    Ok((Arc::new(portrait::picture((width, height))?), Rotation::None))
}

#[test]
fn a_camera_that_changes_stays_covered() -> Result<()> {
    if alone()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let host = host(folder.path(), &server)?;
    let face = portrait::face(&portrait::picture(SIZE)?)?;
    let mut viewer = Watching::new(Peer::watch(None, &server.url(), &token(&host, "Vera", "viewer")?, face)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let quiet = Options { subscribe: false, dynacast: false, key: None };
    let room = runtime.block_on(Room::join(library()?, &server.url(), &token(&host, "Bob", "broadcaster")?, quiet))?;
    let (show, showing) = watch::channel(sized(SIZE.0, SIZE.1)?);
    let (track, pump) = runtime.block_on(camera(&room, showing.clone()))?;
    let mut well = |what: &str, width: usize| -> Result<()> {
        let since = Instant::now();
        let after = viewer.look_until(what, BACK_MAX, |viewer| viewer.is_well(since, width))?;
        println!("{what}: seen, covered, after {after:?}");
        Ok(())
    };
    well("the first pictures", SIZE.0)?;
    // In mid-stream: smaller, held upright, upside down, on its other side, and as it was.
    for (what, shown, width) in [
        ("a smaller picture", sized(320, 240)?, 320),
        ("held upright", askew(Turn::ThreeQuarters, Rotation::Quarter)?, SIZE.0),
        ("a larger picture", sized(960, 720)?, 960),
        ("upside down", askew(Turn::Half, Rotation::Half)?, SIZE.0),
        ("smaller again", sized(480, 360)?, 480),
        ("on its other side", askew(Turn::Quarter, Rotation::ThreeQuarters)?, SIZE.0),
    ] {
        show.send_replace(shown);
        well(what, width)?;
    }
    // Another camera: the track goes, and another one comes, of another size.
    runtime.block_on(room.unpublish(track.sid()))?;
    pump.abort();
    drop(track);
    show.send_replace(sized(320, 240)?);
    let (_track, pump) = runtime.block_on(camera(&room, showing))?;
    well("another camera", 320)?;
    let widths: HashMap<u32, usize> = viewer.pictures.iter().fold(HashMap::new(), |mut counted, seen| {
        *counted.entry(seen.width).or_default() += 1;
        counted
    });
    println!("pictures by their width: {widths:?}; none with a face");
    pump.abort();
    runtime.block_on(room.leave())?;
    host.terminate(Duration::from_secs(20))
}
