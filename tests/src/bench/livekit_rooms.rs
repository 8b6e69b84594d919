//! `scrim-bench livekit-rooms [--seconds S] [--most N] [--pin CPUS] [--load-percent P]`: rooms of 360p at 15 frames/s, each with a broadcaster and a
//! viewer, one after the other until the host refuses the next broadcaster its token; then how the frames of those that it took fared. Without looks,
//! and with a look at every fifth frame.
//!
//! Broadcasters, viewers and LiveKit's server run beside the host on the same cores, and what they take is told. `--pin 0` gives the host the first
//! core alone; `--load-percent 100` lets the host refuse nobody for its load, for a machine that is busy with other things. A frame is on time that
//! left the host at most a frame's time (at 30 frames/s) after it was due, and reached its viewer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::livekit_latency::sum;
use super::livekit_pair::{Camera, Pair, clip, token, watched};
use crate::livekit::{Server, alone_with, library};
use crate::served::Served;

const SIZE: (usize, usize) = (640, 360);
const RATE: f64 = 15.0;
const BITRATE: u64 = 600_000;
const CLIP_FRAMES: usize = 150;
/// Until the host has measured what a broadcaster costs.
const SETTLE: Duration = Duration::from_secs(6);
/// Without a cascade, so that what is sampled is looked at. A look has 120 ms: with the delay below, the clock's looks are every fifth frame too.
const CONFIGURATION: &str = "[detectors.nudity]\nmodel = \"nudenet-320n\"\ncover = [\"FACE_*\"]\nlook_budget_ms = 120\n\
    [policy.text]\nplugin = \"profanity-context@2.0.0\"\n[policy.threshold]\nplugin = \"adaptive-threshold@1.0.0\"\n";
const DELAY_MS: u64 = 800;

struct Options {
    seconds: f64,
    most: usize,
    pin: Option<String>,
    load_percent: u32,
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options { seconds: 20.0, most: 64, pin: None, load_percent: 85 };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--seconds" => options.seconds = value.parse()?,
            "--most" => options.most = value.parse()?,
            "--load-percent" => options.load_percent = value.parse()?,
            "--pin" => options.pin = Some(value.clone()),
            other => bail!("{other:?} is not known: livekit-rooms [--seconds S] [--most N] [--pin CPUS] [--load-percent P]"),
        }
    }
    Ok(options)
}

/// Processor time that a process has used, seconds.
pub(super) fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(f64::NAN);
    // Linux tells these in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}

/// # Errors
/// When the server or the host does not start, or refuses more than a broadcaster.
pub fn run(arguments: &[String]) -> Result<()> {
    let options = options(arguments)?;
    let mut inside = vec!["livekit-rooms".to_owned()];
    inside.extend(arguments.iter().cloned());
    if alone_with(&inside)? {
        return Ok(());
    }
    let clip = Arc::new(clip(SIZE, CLIP_FRAMES)?);
    println!("{}×{} at {RATE} frames/s, delay {DELAY_MS} ms, {} s when all are there", SIZE.0, SIZE.1, options.seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for looks in [false, true] {
        runtime.block_on(rooms(&options, &Camera { clip: clip.clone(), frames_per_s: RATE, bitrate: BITRATE }, looks))?;
    }
    Ok(())
}

async fn rooms(options: &Options, camera: &Camera, looks: bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path())?;
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir)?;
    let pin: Vec<&str> = options.pin.iter().flat_map(|cpus| ["taskset", "-c", cpus]).collect();
    let host = Served::start_livekit_with(
        &pin,
        &data_dir,
        &server,
        &format!("{CONFIGURATION}[limits]\nload_percent = {}\n", options.load_percent),
    )?;
    let (mut pairs, mut refusal) = (Vec::new(), None);
    while pairs.len() < options.most {
        let room = format!("room-{}", pairs.len());
        let mut settings = json!({ "name": room, "delay_ms": DELAY_MS, "sampler": "fixed:5" });
        if !looks {
            settings["detectors"] = json!([]);
        }
        host.json("POST", "/v1/rooms", &settings)?.expect(201)?;
        let broadcaster = match token(&host, &room, "broadcaster", "Ann")? {
            Ok(broadcaster) => broadcaster,
            Err(refused) => {
                refusal = Some(refused);
                break;
            }
        };
        let viewer =
            token(&host, &room, "viewer", "Bob")?.map_err(|(status, detail)| anyhow::anyhow!("a viewer's token: {status} {detail}"))?;
        pairs.push(Pair::start(library()?, &broadcaster, &viewer, camera.clone()).await?);
        tokio::time::sleep(SETTLE).await;
    }
    let pids = [host.pid(), server.pid(), std::process::id()];
    let (since, before) = (Instant::now(), pids.map(cpu_s));
    let late = |of: &Served| -> Result<[f64; 5]> {
        let text = String::from_utf8_lossy(&of.get("/metrics")?.body).into_owned();
        let mut late = 0.0;
        for room in 0..pairs.len() {
            let live = of.get(&format!("/v1/rooms/room-{room}"))?.expect(200)?;
            late += live["live"][0]["late"].as_f64().context("a live stream")?;
        }
        let names = [
            "scrim_stream_full_covers_total",
            "scrim_stream_frames_dropped_total",
            "scrim_stream_looks_total",
            "scrim_stream_frames_in_total",
        ];
        let [covered, dropped, looks, taken] = names.map(|name| sum(&text, name));
        Ok([late, covered, dropped, looks, taken])
    };
    let earlier = late(&host)?;
    let frames = watched(&pairs, Duration::from_secs_f64(options.seconds)).await;
    let later = late(&host)?;
    let [late, covered, dropped, looked, taken] = std::array::from_fn(|index| later[index] - earlier[index]);
    let span = since.elapsed().as_secs_f64();
    let [own, theirs, clients] = std::array::from_fn(|index| (cpu_s(pids[index]) - before[index]) / span);
    println!("{}", if looks { "with a look at every fifth frame" } else { "without looks" });
    println!(
        "  {} rooms held; the next: {}",
        pairs.len(),
        refusal.map_or_else(|| "not asked for".to_owned(), |(status, detail)| format!("{status}, {detail}"))
    );
    println!(
        "  {:.2} % of {} frames on time: {} lost, {late} late, {covered} covered whole, {dropped} dropped by the host; beyond the delay p50 {:.0} p99 {:.0} ms",
        100.0 * (frames.sent as f64 - frames.lost as f64 - late) / frames.sent.max(1) as f64,
        frames.sent,
        frames.lost,
        frames.beyond_ms(0.5, DELAY_MS),
        frames.beyond_ms(0.99, DELAY_MS),
    );
    println!(
        "  {:.2} looks a frame; cores: host {own:.2}, LiveKit's server {theirs:.2}, broadcasters and viewers {clients:.2}",
        looked / taken
    );
    drop(pairs);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_uses_is_read() {
        let since = Instant::now();
        let before = cpu_s(std::process::id());
        while since.elapsed() < Duration::from_millis(300) {
            std::hint::black_box(since);
        }
        assert!(cpu_s(std::process::id()) > before, "{before}");
        assert!(cpu_s(0).is_nan());
    }
}
