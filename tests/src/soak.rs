//! `scrim-soak serve [MINUTES] [--short]`: a real `scrim serve` under four publishers, with a swap a second, uploads, reports and clients
//! that go away and come back. Every frame that comes back is held against the reference.
//!
//! It fails when a face shows, when a frame is lost and nobody was told, when open files or threads grow, or when memory does. What a busy
//! machine makes late is covered whole or dropped, and counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use scrim_host::media::wire::Format;
use scrim_host::plugin::types::Slot;
use serde_json::{Value, json};

use crate::built;
use crate::clip::scaled;
use crate::guest::Guest;
use crate::publisher::{Clip, Publisher};
use crate::served::Served;
use crate::watched::{Watched, shows_through};

/// Each publisher's clip and frames a second.
const PUBLISHERS: [(&str, f64); 4] = [("carphone.mp4", 30.0), ("carphone.mp4", 20.0), ("carphone.mp4", 15.0), ("bikes.mp4", 15.0)];
const SIZE: (usize, usize) = (640, 480);
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// Of each so manieth sample a line tells how it goes.
const SAMPLES_A_LINE: usize = 12;
/// Of each so manieth frame the pixels are looked at, not the verdict alone.
const PIXELS_EVERY: u64 = 8;
/// What the resident memory may rise by in a run, as a line through its samples has it: an allocator's ups and downs, and no more.
const RISE_MIB_MAX: f64 = 32.0;
/// Where a run is long enough to tell.
const SLOPE_MB_PER_HOUR_MAX: f64 = 8.0;
const LONG: Duration = Duration::from_secs(3600);
/// Connections that come and go make these go up and down a little.
const FILES_SPREAD: usize = 12;
const THREADS_SPREAD: usize = 12;
const MINUTES: u64 = 60;

/// How long everything is, in a whole run and in a short one.
struct Times {
    run: Duration,
    warm_up: Duration,
    upload_every: Duration,
    restart_every: Duration,
    clip_frames: usize,
}

/// What publishes into one room, over one connection after the other.
struct Camera {
    room: String,
    rate: f64,
    clip: Arc<Clip>,
    publisher: Publisher,
    watched: Watched,
    /// Of the connections before.
    before: Watched,
    told_before: u64,
}

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub at: f64,
    /// MiB.
    pub resident: f64,
    pub files: usize,
    pub threads: usize,
}

/// # Errors
/// When the host does not start, or one of the things above is not so.
pub fn run(arguments: &[&str], short: bool) -> Result<()> {
    let minutes = match arguments.first() {
        Some(word) => word.parse().with_context(|| format!("\"{word}\" is no number of minutes: serve [MINUTES]"))?,
        None => MINUTES,
    };
    let seconds = Duration::from_secs;
    let times = if short {
        Times { run: seconds(30), warm_up: seconds(10), upload_every: seconds(10), restart_every: seconds(7), clip_frames: 60 }
    } else {
        let run = seconds(60 * minutes);
        Times { run, warm_up: seconds(60).min(run / 3), upload_every: seconds(60), restart_every: seconds(20), clip_frames: 240 }
    };
    let home = tempfile::tempdir()?;
    let served = Served::start(home.path(), "")?;
    for guest in ["cascade", "threshold"] {
        upload(&served, &built::guest(guest)?)?;
    }
    let faces = clips(times.clip_frames)?;
    let mut cameras = Vec::new();
    for (index, (clip, (_, rate))) in faces.into_iter().zip(PUBLISHERS).enumerate() {
        let room = format!("room-{index}");
        served.json("POST", "/v1/rooms", &json!({ "name": room, "cover": ["FACE_*"] }))?.expect(201)?;
        let publisher = Publisher::connect(&served, &room, "", 0)?;
        publisher.play(&clip, rate);
        cameras.push(Camera { room, rate, clip, publisher, watched: Watched::from(0), before: Watched::default(), told_before: 0 });
    }
    let samples = Soak { served: &served, random: fastrand::Rng::with_seed(1), uploads: 0, swaps: 0, refused: 0, reports: 0 }
        .run(&mut cameras, &times)?;
    let outcome = cameras.into_iter().map(|camera| camera.end()).collect::<Result<Vec<_>>>()?;
    summary(&outcome, &samples, times.run)
}

fn clips(frames: usize) -> Result<Vec<Arc<Clip>>> {
    let mut known: Vec<(&str, Arc<Clip>)> = Vec::new();
    for (name, _) in PUBLISHERS {
        let clip = match known.iter().find(|(other, _)| *other == name) {
            Some((_, clip)) => clip.clone(),
            None => {
                let frames = scaled(&scrim_toolchain::assets::path(name)?, SIZE.0, SIZE.1, frames)?;
                Arc::new(Clip::with_faces(frames, Format::Jpeg)?)
            }
        };
        known.push((name, clip));
    }
    Ok(known.into_iter().map(|(_, clip)| clip).collect())
}

fn upload(served: &Served, component: &[u8]) -> Result<Value> {
    served.send("POST", "/v1/plugins", &[("content-type", "application/wasm")], component)?.expect(201)
}

struct Soak<'a> {
    served: &'a Served,
    random: fastrand::Rng,
    uploads: u32,
    swaps: u64,
    refused: u64,
    reports: u64,
}

impl Soak<'_> {
    fn run(&mut self, cameras: &mut [Camera], times: &Times) -> Result<Vec<Sample>> {
        let start = Instant::now();
        let mut due = [Duration::from_secs(1), times.upload_every, Duration::from_secs(2), times.restart_every, times.warm_up];
        let every = [Duration::from_secs(1), times.upload_every, Duration::from_secs(2), times.restart_every, SAMPLE_EVERY];
        let mut samples = Vec::new();
        while start.elapsed() < times.run {
            for camera in cameras.iter_mut() {
                camera.see()?;
            }
            for (what, due) in due.iter_mut().enumerate() {
                if start.elapsed() < *due {
                    continue;
                }
                *due += every[what];
                let camera = self.random.usize(..cameras.len());
                match what {
                    0 => self.swap(&cameras[camera].room)?,
                    1 => self.upload()?,
                    2 => self.report(&cameras[camera].room)?,
                    3 => cameras[camera].restart(self.served, self.random.bool())?,
                    _ => {
                        let sample = sample(self.served.pid(), start)?;
                        if samples.len().is_multiple_of(SAMPLES_A_LINE) {
                            println!("{:.0} s: {:.1} MiB, {} files, {} threads", sample.at, sample.resident, sample.files, sample.threads);
                        }
                        samples.push(sample);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        println!("{} swaps, {} of them refused, {} uploads, {} reports", self.swaps, self.refused, self.uploads, self.reports);
        Ok(samples)
    }

    fn swap(&mut self, room: &str) -> Result<()> {
        let hostile = ["trap", "loop", "huge", "nonsense"][self.random.usize(..4)];
        let misbehaves = json!({ "how": hostile, "after": 1 });
        let choices = [
            (Slot::Cascade, "skin-cascade@1.0.0", json!({})),
            (Slot::Cascade, "skin-cascade@2.0.0", json!({})),
            (Slot::Threshold, "adaptive-threshold@1.0.0", json!({ "default_base": 0.2 })),
            (Slot::Threshold, "adaptive-threshold@1.0.0", json!({ "default_base": 0.25 })),
            (Slot::Text, "profanity-context@2.0.0", json!({ "deny": ["pineapple"] })),
            (Slot::Text, "profanity-context@2.0.0", json!({})),
            (Slot::Cascade, "steady@1.0.0", misbehaves.clone()),
            (Slot::Threshold, "steady-threshold@1.0.0", misbehaves),
        ];
        let (slot, plugin, config) = &choices[self.random.usize(..choices.len())];
        let body = json!({ "plugin": plugin, "config": config });
        let answer = self.served.json("PUT", &format!("/v1/rooms/{room}/policy/{slot}"), &body)?;
        self.swaps += 1;
        match answer.status {
            200 => Ok(()),
            // Too many generations at once, or the plugin's fault came before the commit.
            422 | 503 => {
                self.refused += 1;
                Ok(())
            }
            other => bail!("a swap was answered {other}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }

    fn upload(&mut self) -> Result<()> {
        self.uploads += 1;
        let slot = Slot::ALL[self.uploads as usize % 3];
        let guest = Guest::new(slot, &format!("1.0.{}", self.uploads), 0.5).named(&format!("soaked-{slot}"));
        upload(self.served, &guest.component()?).map(drop)
    }

    fn report(&mut self, room: &str) -> Result<()> {
        self.served.json("POST", &format!("/v1/rooms/{room}/messages"), &json!({ "text": "a pineapple", "author": "ann" }))?.expect(200)?;
        let view = self.served.get(&format!("/v1/rooms/{room}/events?after={}&limit=1000", self.newest(room)?))?.expect(200)?;
        let events = view["events"].as_array().cloned().unwrap_or_default();
        let Some(event) = events.iter().rev().find(|event| event["kind"] == "detection") else { return Ok(()) };
        let body = json!({ "event_id": event["id"], "correct": self.random.u8(..4) > 0 });
        self.served.json("POST", &format!("/v1/rooms/{room}/feedback"), &body)?.expect(200)?;
        self.reports += 1;
        Ok(())
    }

    /// Near the end of a room's events: a page of 1000 from there has the last ones.
    fn newest(&self, room: &str) -> Result<i64> {
        let mut after = 0;
        loop {
            let page = self.served.get(&format!("/v1/rooms/{room}/events?after={after}&limit=1000"))?.expect(200)?;
            let count = page["events"].as_array().map_or(0, Vec::len);
            if count < 1000 {
                return Ok(after);
            }
            after = page["next"].as_i64().context("a page says what follows it")?;
        }
    }
}

impl Camera {
    fn see(&mut self) -> Result<()> {
        for shown in self.publisher.take_shown() {
            self.watched.see(&shown, self.clip.faces(shown.sequence));
            self.watched.shows_through += u64::from(shown.sequence % PIXELS_EVERY == 0 && shows_through(&shown)?);
        }
        ensure!(self.watched.exposed == 0, "{}: a face shows in frames {:?}: {:?}", self.room, self.watched.exposed_at, self.watched);
        ensure!(self.watched.shows_through == 0, "{}: a picture is not covered where its verdict says so", self.room);
        ensure!(self.watched.repeated == 0, "{}: a frame came twice or out of order", self.room);
        ensure!(self.publisher.heard().unreadable.is_empty(), "{}: {:?}", self.room, self.publisher.heard().unreadable);
        Ok(())
    }

    /// Waits for what was sent; what is missing then must have been told.
    fn settle(&mut self) -> Result<()> {
        self.publisher.pause();
        let (since, room) = (Instant::now(), self.room.clone());
        // Longer than the room's delay: what is in the line comes meanwhile.
        std::thread::sleep(Duration::from_millis(1500));
        loop {
            std::thread::sleep(Duration::from_millis(50));
            self.see()?;
            // One guard at a time: both would be of the same lock.
            let sent = self.publisher.heard().last_sent;
            let told = self.publisher.heard().dropped();
            let after = |last: Option<u64>| last.map_or(0, |last| last + 1);
            let missing = after(sent).saturating_sub(after(self.watched.last));
            if self.watched.lost + missing == told {
                self.watched.lost += missing;
                return Ok(());
            }
            ensure!(since.elapsed() < Duration::from_secs(10), "{room}: {} frames lost, {told} told", self.watched.lost + missing);
        }
    }

    /// Goes away, with a word or without, and comes back.
    fn restart(&mut self, served: &Served, politely: bool) -> Result<()> {
        self.settle()?;
        let next = self.publisher.heard().last_sent.map_or(0, |last| last + 1);
        if politely {
            self.publisher.close();
            self.publisher.wait(Duration::from_secs(10), "the good-bye is answered", |heard| heard.over)?;
        }
        let since = Instant::now();
        let fresh = loop {
            match Publisher::connect(served, &self.room, "", next) {
                Ok(publisher) => break publisher,
                Err(error) => ensure!(since.elapsed() < Duration::from_secs(10), "{}: no way back: {error:#}", self.room),
            }
            // Dropped, it is cut; the host hears of it in a moment.
            self.publisher.cut();
            std::thread::sleep(Duration::from_millis(20));
        };
        self.told_before += self.publisher.heard().dropped();
        self.before.add(&std::mem::replace(&mut self.watched, Watched::from(next)));
        self.publisher = fresh;
        self.publisher.play(&self.clip, self.rate);
        Ok(())
    }

    fn end(mut self) -> Result<(String, Watched, u64)> {
        self.settle()?;
        let told = self.told_before + self.publisher.heard().dropped();
        self.before.add(&self.watched);
        Ok((self.room, self.before, told))
    }
}

pub(crate) fn sample(pid: u32, start: Instant) -> Result<Sample> {
    let count = |folder: &str| Ok::<_, std::io::Error>(std::fs::read_dir(format!("/proc/{pid}/{folder}"))?.count());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("no /proc: this soak is run on Linux")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = resident.trim().trim_end_matches("kB").trim().parse()?;
    Ok(Sample { at: start.elapsed().as_secs_f64(), resident: kib / 1024.0, files: count("fd")?, threads: count("task")? })
}

/// MiB a second of the line through the samples that has the least squares.
pub(crate) fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (at, resident) = (mean(|s| s.at), mean(|s| s.resident));
    let (mut both, mut square) = (0.0, 0.0);
    for sample in samples {
        both += (sample.at - at) * (sample.resident - resident);
        square += (sample.at - at).powi(2);
    }
    if square > 0.0 { both / square } else { 0.0 }
}

fn summary(outcome: &[(String, Watched, u64)], samples: &[Sample], run: Duration) -> Result<()> {
    for (room, watched, told) in outcome {
        println!(
            "{room}: {} frames, {} with faces, {} exposed, {} lost ({told} told), {} covered whole, area {:.2}x",
            watched.frames,
            watched.face_frames,
            watched.exposed,
            watched.lost,
            watched.full_covers(),
            watched.area_ratio()
        );
        ensure!(watched.lost == *told, "{room}: {} frames are lost, {told} were told of", watched.lost);
    }
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { bail!("no sample was taken: run it for longer") };
    let (slope, seconds) = (slope(samples), last.at - first.at);
    let per_hour = slope * 3600.0 * 1.048_576;
    println!(
        "memory {:.1} to {:.1} MiB over {seconds:.0} s, {per_hour:+.1} MB/hour; files {} to {}; threads {} to {}",
        first.resident, last.resident, first.files, last.files, first.threads, last.threads
    );
    ensure!(last.files <= first.files + FILES_SPREAD, "open files grow: {} to {}", first.files, last.files);
    ensure!(last.threads <= first.threads + THREADS_SPREAD, "threads grow: {} to {}", first.threads, last.threads);
    ensure!(slope * seconds <= RISE_MIB_MAX, "memory rose by {:.1} MiB; {RISE_MIB_MAX} are allowed", slope * seconds);
    ensure!(run < LONG || per_hour <= SLOPE_MB_PER_HOUR_MAX, "{per_hour:.1} MB/hour; {SLOPE_MB_PER_HOUR_MAX} are allowed");
    Ok(())
}
