//! Broadcasters and viewers of a LiveKit room come and go: what the host takes of the machine does not grow by it. `scrim-soak joins` lets 2,000
//! broadcasters come; a test of every run 50.
//!
//! Between rounds the room is stopped, so that the host leaves the rooms that it would watch for a while longer; what it takes is read then.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_livekit::proto::{TrackSource, VideoCodec};
use scrim_livekit::{AudioTrack, Encoding, Event, I420, Library, Options, Room, VideoTrack};
use tokio::time::timeout;

use crate::faults::{host, token};
use crate::livekit::{SOON, Server, alone_with, library};
use crate::served::Served;
use crate::soak::{Sample, sample, slope};

/// Broadcasters of a round.
const ROUND: usize = 10;
/// Rounds, the first of which fill caches and do not count: two, or a quarter of a whole soak.
const ROUNDS: usize = 200;
const ROUNDS_SHORT: usize = 7;
const WARM_UP: usize = 2;
const SIZE: (u32, u32) = (320, 240);
const ENCODING: Encoding = Encoding { codec: VideoCodec::Vp8, bitrate: 500_000, frames_per_s: 15.0, simulcast: false };
/// Connections of HTTP that end, and threads of pools that are made when they are needed, make these go up and down.
const FILES_SPREAD: usize = 12;
const THREADS_SPREAD: usize = 12;
/// What the resident memory may rise by for each broadcaster that came and went, as a line through the samples has it, and besides.
const RISE_KIB_EACH: f64 = 16.0;
const RISE_MIB: f64 = 48.0;
/// Who goes without a word is gone after the server's time-out, and what a busy machine adds.
const GONE_MAX: Duration = Duration::from_secs(60);

/// `scrim-soak joins [--short]`.
///
/// # Errors
/// When something grows.
pub fn soak(words: &[&str], short: bool) -> Result<()> {
    if alone_with(words)? {
        return Ok(());
    }
    joins(if short { ROUNDS_SHORT } else { ROUNDS })
}

/// The joins of every run of the tests, in a network namespace.
///
/// # Errors
/// As [`soak`].
pub fn short() -> Result<()> {
    joins(ROUNDS_SHORT)
}

fn joins(rounds: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let host = host(folder.path(), &server)?;
    let library = library()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (start, mut samples, mut own) = (Instant::now(), Vec::new(), Vec::new());
    for round in 0..rounds {
        for turn in 0..ROUND {
            let came = runtime.block_on(comes_and_goes(library, &server, &host, turn));
            came.with_context(|| format!("broadcaster {turn} of round {round}; {}", last_words(&host, &server)))?;
        }
        settle(&host)?;
        samples.push(sample(host.pid(), start)?);
        own.push(sample(std::process::id(), start)?);
        if round % 10 == 0 || rounds < 10 {
            for (who, samples) in [("the host", &samples), ("the library in the test", &own)] {
                let Sample { at, resident, files, threads } = samples[samples.len() - 1];
                println!("{at:.0} s, {} came: {who}: {resident:.1} MiB, {files} files, {threads} threads", (round + 1) * ROUND);
            }
        }
    }
    let warm = WARM_UP.max(rounds / 4) - 1;
    for (who, samples) in [("the host", &samples[warm..]), ("the library in the test", &own[warm..])] {
        steady(who, samples, ROUND)?;
    }
    host.terminate(Duration::from_secs(20))
}

/// What the host and the server said last, where something went wrong.
fn last_words(host: &Served, server: &Server) -> String {
    const LINES: usize = 60;
    let tail = |text: &str, but: &str| {
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains(but)).collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    };
    let log = std::fs::read_to_string(host.data_dir.join("serve.log")).unwrap_or_default();
    let events = host.get("/v1/rooms/studio/events?limit=1000").map(|page| String::from_utf8_lossy(&page.body).replace("},{", "}\n{"));
    let (log, server) = (tail(&log, "\"answered\""), tail(&server.log(), "\"ping\""));
    format!("the host's log:\n{log}\nthe room's events:\n{}\nthe server's log:\n{server}", tail(&events.unwrap_or_default(), "\"policy\""))
}

/// A broadcaster with camera and microphone comes, is seen, and goes; every other time without a word. So does a viewer.
async fn comes_and_goes(library: &'static Library, server: &Server, host: &Served, turn: usize) -> Result<()> {
    let options = |subscribe| Options { subscribe, dynacast: false, key: None };
    let mut viewer = Room::join(library, &server.url(), &token(host, &format!("Vera {turn}"), "viewer")?, options(true)).await?;
    let broadcaster = Room::join(library, &server.url(), &token(host, &format!("Bob {turn}"), "broadcaster")?, options(false)).await?;
    let camera = VideoTrack::publish(&broadcaster, "cam", SIZE, TrackSource::SourceCamera, ENCODING).await?;
    let microphone = AudioTrack::publish(&broadcaster, "mic", TrackSource::SourceMicrophone, 48_000, 1).await?;
    let grey = I420 { width: SIZE.0, height: SIZE.1, data: vec![128; I420::len(SIZE.0, SIZE.1)] };
    let (begin, mut pace) = (Instant::now(), tokio::time::interval(Duration::from_millis(50)));
    let (mut pictures, mut sounds) = (false, false);
    while !(pictures && sounds) {
        ensure!(begin.elapsed() < SOON, "not within {SOON:?}: pictures {pictures}, sounds {sounds}");
        tokio::select! {
            _ = pace.tick() => {
                camera.capture(grey.as_picture(), begin.elapsed().as_micros() as i64)?;
                microphone.capture(&[1000; 48 * 50]).await?;
            }
            event = viewer.next() => match event {
                Some(Event::Subscribed { track, .. }) => if track.video { pictures = true } else { sounds = true },
                Some(Event::Over { reason }) => bail!("the viewer's room is over: {reason}"),
                None => bail!("the viewer's room is over"),
                Some(_) => {}
            }
        }
    }
    drop((camera, microphone));
    if turn.is_multiple_of(2) {
        broadcaster.leave().await?;
    } else {
        drop(broadcaster);
    }
    let gone = async { while !matches!(viewer.next().await, Some(Event::Left { .. }) | None) {} };
    timeout(GONE_MAX, gone).await.context("the mirror has not left")?;
    viewer.leave().await?;
    Ok(())
}

/// The host leaves all rooms, and takes new ones on.
fn settle(host: &Served) -> Result<()> {
    host.send("POST", "/v1/rooms/studio/stream/stop", &[], &[])?.expect(200)?;
    let since = Instant::now();
    loop {
        let metrics = String::from_utf8(host.get("/metrics")?.body)?;
        if metrics.lines().any(|line| line == "scrim_livekit_broadcasters 0") {
            break;
        }
        ensure!(since.elapsed() < SOON, "the host has not left all rooms");
        std::thread::sleep(Duration::from_millis(100));
    }
    // What was left is let go of a moment later.
    std::thread::sleep(Duration::from_secs(1));
    host.send("POST", "/v1/rooms/studio/stream/start", &[], &[])?.expect(200).map(drop)
}

fn steady(who: &str, samples: &[Sample], each: usize) -> Result<()> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { bail!("no sample was taken") };
    let came = ((samples.len() - 1) * each) as f64;
    let rise = slope(samples) * (last.at - first.at);
    println!(
        "{who}: {:.1} to {:.1} MiB over {came} broadcasters, {:+.1} KiB for each; files {} to {}; threads {} to {}",
        first.resident,
        last.resident,
        rise * 1024.0 / came,
        first.files,
        last.files,
        first.threads,
        last.threads
    );
    ensure!(last.files <= first.files + FILES_SPREAD, "{who}: open files grow: {} to {}", first.files, last.files);
    ensure!(last.threads <= first.threads + THREADS_SPREAD, "{who}: threads grow: {} to {}", first.threads, last.threads);
    let most = RISE_MIB + RISE_KIB_EACH * came / 1024.0;
    ensure!(rise <= most, "{who}: memory rose by {rise:.1} MiB over {came} broadcasters; {most:.1} are allowed");
    Ok(())
}
