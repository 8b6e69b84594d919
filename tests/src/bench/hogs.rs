//! `scrim-bench hogs [--seconds S]`: a LiveKit broadcaster's 480p at 30 frames/s, without and with hogs in the same host: rooms whose cascade never
//! comes back from a call, asked at every frame, and as many pictures as can be judged. Frames are to leave when they are due all the same: the frame
//! path shares no thread with inference or plugins. (It shares the cores; whoever measures shares them too.)
//!
//! A frame is on time that left the host at most a frame's time after it was due, and reached its viewer. What covers it is another matter: looks that
//! the hogs hold up would cover it whole, number and all, so the room that is watched fails open. A plugin that does not come back is cut off and
//! rests before its next call, and an overloaded host asks it less: pictures are posted to its rooms, too.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use scrim_host::media::wire::Format;
use serde_json::json;

use super::livekit_latency::sum;
use super::livekit_pair::{Camera, Pair, clip, token, watched};
use crate::built;
use crate::clip::scaled;
use crate::livekit::{Server, alone_with, library};
use crate::publisher::{Clip, Publisher};
use crate::served::Served;

const SIZE: (usize, usize) = (640, 480);
const RATE: f64 = 30.0;
const BITRATE: u64 = 1_500_000;
const CLIP_FRAMES: usize = 120;
const DELAY_MS: u64 = 400;
/// Rooms with a cascade that never comes back, small pictures, so that it is the plugin that hogs.
const LOOPING: usize = 4;
const LOOPING_SIZE: (usize, usize) = (176, 144);
const LOOPING_RATE: f64 = 15.0;
/// Who posts pictures, each the next when the last is judged.
const POSTERS: usize = 4;
/// A plugin is not taken out of service, however often it faults.
const CONFIGURATION: &str = "[detectors.nudity]\nmodel = \"nudenet-320n\"\ncover = [\"FACE_*\"]\n\
    [policy.text]\nplugin = \"profanity-context@2.0.0\"\n[policy.threshold]\nplugin = \"adaptive-threshold@1.0.0\"\n\
    [plugins]\nfaults_max = 1000\nfault_window_s = 1\n[limits]\nload_percent = 100\n";
const SETTLE: Duration = Duration::from_secs(4);

fn seconds(arguments: &[String]) -> Result<f64> {
    match arguments {
        [] => Ok(20.0),
        [flag, seconds] if flag == "--seconds" => Ok(seconds.parse()?),
        other => bail!("{other:?} is not known: hogs [--seconds S]"),
    }
}

/// # Errors
/// When the server or the host does not start, or takes a hog not on.
pub fn run(arguments: &[String]) -> Result<()> {
    let seconds = seconds(arguments)?;
    let mut inside = vec!["hogs".to_owned()];
    inside.extend(arguments.iter().cloned());
    if alone_with(&inside)? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let file = scrim_toolchain::assets::path("carphone.mp4")?;
    let clip = Arc::new(clip(SIZE, CLIP_FRAMES)?);
    let small = Arc::new(Clip::new(scaled(&file, LOOPING_SIZE.0, LOOPING_SIZE.1, CLIP_FRAMES)?, Format::I420)?);
    let picture = picture(&file, folder.path())?;
    let server = Server::start(folder.path())?;
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir)?;
    let host = Arc::new(Served::start_livekit_with(&[], &data_dir, &server, CONFIGURATION)?);
    host.json("POST", "/v1/rooms", &json!({ "name": "watched", "delay_ms": DELAY_MS, "fail_mode": "open" }))?.expect(201)?;
    let wanted = |role| -> Result<_> { token(&host, "watched", role, role)?.map_err(|(status, why)| anyhow::anyhow!("{status} {why}")) };
    let (broadcaster, viewer) = (wanted("broadcaster")?, wanted("viewer")?);
    println!("{}×{} at {RATE} frames/s, delay {DELAY_MS} ms, {seconds} s each", SIZE.0, SIZE.1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let camera = Camera { clip, frames_per_s: RATE, bitrate: BITRATE };
    let pairs = [runtime.block_on(Pair::start(library()?, &broadcaster, &viewer, camera))?];
    let measure = |what: &str| -> Result<()> {
        std::thread::sleep(SETTLE);
        let before = state(&host)?;
        let frames = runtime.block_on(watched(&pairs, Duration::from_secs_f64(seconds)));
        let after = state(&host)?;
        let [late, covered, judged, timed_out] = std::array::from_fn(|index| after[index] - before[index]);
        println!(
            "{what}: {:.2} % of {} frames on time, {late} late, {} lost; beyond the delay p50 {:.1} p99 {:.1} most {:.1} ms; \
             meanwhile, in all rooms, {judged} inferences, {timed_out} calls of plugins cut off, {covered} frames covered whole",
            100.0 * (frames.sent as f64 - late - frames.lost as f64) / frames.sent.max(1) as f64,
            frames.sent,
            frames.lost,
            frames.beyond_ms(0.5, DELAY_MS),
            frames.beyond_ms(0.99, DELAY_MS),
            frames.beyond_ms(1.0, DELAY_MS),
        );
        Ok(())
    };
    measure("without hogs")?;

    host.send("POST", "/v1/plugins", &[("content-type", "application/wasm")], &built::guest("cascade")?)?.expect(201)?;
    let mut looping = Vec::new();
    for number in 0..LOOPING {
        let room = format!("looping-{number}");
        host.json("POST", "/v1/rooms", &json!({ "name": room, "sampler": "fixed:1" }))?.expect(201)?;
        let policy = json!({ "plugin": "steady@1.0.0", "config": { "how": "loop", "after": 1 } });
        host.json("PUT", &format!("/v1/rooms/{room}/policy/cascade"), &policy)?.expect(200)?;
        let publisher = Publisher::connect(&host, &room, "", 0)?;
        publisher.play(&small, LOOPING_RATE);
        looping.push(publisher);
    }
    measure("with cascades that never come back")?;
    host.json("POST", "/v1/rooms", &json!({ "name": "pictures" }))?.expect(201)?;
    let (stop, posted) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..POSTERS {
            let path = match number % 2 {
                0 => "/v1/rooms/pictures/frames?cascade=off".to_owned(),
                _ => format!("/v1/rooms/looping-{}/frames", number % LOOPING),
            };
            let (host, picture, stop, posted) = (&host, &picture, &stop, &posted);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let sent = host.send("POST", &path, &[("content-type", "image/jpeg")], picture);
                    posted.fetch_add(u64::from(sent.is_ok_and(|answer| answer.status == 200)), Ordering::Relaxed);
                }
            });
        }
        let measured = measure("with these and pictures without end");
        stop.store(true, Ordering::Relaxed);
        measured
    })?;
    ensure!(posted.load(Ordering::Relaxed) > 0, "no picture was judged: inference was not hogged");
    drop(looping);
    Ok(())
}

/// Frames of the watched room that were late; frames covered whole, inferences, and calls of plugins that were cut off, in all rooms.
fn state(host: &Served) -> Result<[f64; 4]> {
    let text = String::from_utf8_lossy(&host.get("/metrics")?.body).into_owned();
    let live = host.get("/v1/rooms/watched")?.expect(200)?;
    let late = live["live"][0]["late"].as_f64().context("the watched room is live")?;
    let cut_off: String = text.lines().filter(|line| line.contains("out_of_time")).flat_map(|line| [line, "\n"]).collect();
    let calls = sum(&cut_off, "scrim_plugin_calls_total");
    Ok([late, sum(&text, "scrim_stream_full_covers_total"), sum(&text, "scrim_infer_run_seconds_count"), calls])
}

/// A picture of the clip, as JPEG.
fn picture(file: &Path, folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join("picture.jpg");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        .args(["-vf", "scale=640:480", "-q:v", "4", "-frames:v", "1"])
        .arg(&path)
        .stdout(Stdio::null())
        .status()
        .context("ffmpeg cannot be run")?;
    ensure!(made.success(), "ffmpeg ended with {made}");
    Ok(std::fs::read(&path)?)
}
