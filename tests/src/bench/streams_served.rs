//! `scrim-bench stream [--seconds S] [--delay-ms MS]`: a clip with a face, 640×480 at 30 frames/s in JPEG, both ways over the WebSocket, from 1, 2
//! and 4 sources at once, each into a room of its own that covers faces; the publishers share the machine with the host.
//!
//! A frame is on time when it comes back not covered whole, at most one frame's time after its capture plus the room's delay. Added is what its
//! way took beyond that delay: both JPEG codings, both ways through the socket, the cover.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use scrim_host::media::wire::{Control, Extent, Format};
use serde_json::json;

use crate::clip::scaled;
use crate::publisher::{Clip, Publisher};
use crate::served::Served;

const SOURCES: [usize; 3] = [1, 2, 4];
const SIZE: (usize, usize) = (640, 480);
const RATE: f64 = 30.0;
const CLIP_FRAMES: usize = 240;
/// The host says hello, wakes the plugins and makes its first look.
const WARM_UP_S: f64 = 2.0;

struct Options {
    seconds: f64,
    delay_ms: u64,
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options { seconds: 20.0, delay_ms: 400 };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--seconds" => options.seconds = value.parse()?,
            "--delay-ms" => options.delay_ms = value.parse()?,
            other => bail!("{other:?} is not known: stream [--seconds S] [--delay-ms MS]"),
        }
    }
    Ok(options)
}

#[derive(Default)]
struct Tally {
    sent: u64,
    on_time: u64,
    whole: u64,
    /// Beyond the delay, ms.
    added: Vec<f64>,
    dropped: BTreeMap<String, u64>,
}

impl Tally {
    fn percentile(&self, share: f64) -> f64 {
        let last = self.added.len().saturating_sub(1);
        self.added.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// # Errors
/// When the host does not start, or refuses more than a source.
pub fn run(arguments: &[String]) -> Result<()> {
    let options = options(arguments)?;
    let frames = scaled(&scrim_toolchain::assets::path("carphone.mp4")?, SIZE.0, SIZE.1, CLIP_FRAMES)?;
    let clip = Arc::new(Clip::new(frames, Format::Jpeg)?);
    println!("{}×{} at {RATE} frames/s, delay {} ms, {} s", SIZE.0, SIZE.1, options.delay_ms, options.seconds);
    let home = tempfile::tempdir()?;
    let served = Served::start(home.path(), &format!("[room]\ndelay_ms = {}\n", options.delay_ms))?;
    for sources in SOURCES {
        let mut publishers = Vec::new();
        for index in 0..sources {
            let room = format!("of-{sources}-{index}");
            served.json("POST", "/v1/rooms", &json!({ "name": room, "cover": ["FACE_*"] }))?.expect(201)?;
            let publisher = Publisher::connect(&served, &room, "", 0)?;
            publisher.play(&clip, RATE);
            publishers.push(publisher);
        }
        std::thread::sleep(Duration::from_secs_f64(WARM_UP_S + options.seconds));
        publishers.iter().for_each(Publisher::pause);
        std::thread::sleep(Duration::from_millis(options.delay_ms + 500));
        let mut tally = Tally::default();
        for publisher in &publishers {
            count(publisher, options.delay_ms, &mut tally);
            // One that is cut keeps its place for a while.
            publisher.close();
            publisher.wait(Duration::from_secs(10), "the good-bye is answered", |heard| heard.over)?;
        }
        tally.added.sort_by(f64::total_cmp);
        println!(
            "{sources} source(s): {:.2} % of {} frames on time, {} covered whole, added p50 {:.1} p95 {:.1} p99 {:.1} ms{}",
            100.0 * tally.on_time as f64 / tally.sent as f64,
            tally.sent,
            tally.whole,
            tally.percentile(0.5),
            tally.percentile(0.95),
            tally.percentile(0.99),
            tally.dropped.iter().map(|(reason, count)| format!("; {count} dropped: {reason}")).collect::<String>()
        );
    }
    Ok(())
}

/// Counts what was sent after the warm-up.
fn count(publisher: &Publisher, delay_ms: u64, tally: &mut Tally) {
    let first = (WARM_UP_S * RATE) as u64;
    let heard = publisher.heard();
    tally.sent += heard.last_sent.map_or(0, |last| (last + 1).saturating_sub(first));
    for shown in heard.shown.iter().filter(|shown| shown.sequence >= first) {
        let Some(started) = heard.started else { continue };
        let took = shown.at.duration_since(started).as_secs_f64() * 1e3 - shown.capture_us as f64 / 1e3;
        let (added, whole) = (took - delay_ms as f64, shown.verdict.cover == Extent::Full);
        tally.whole += u64::from(whole);
        tally.on_time += u64::from(!whole && added <= 1e3 / RATE);
        tally.added.push(added);
    }
    for control in &heard.controls {
        if let Control::Dropped { count, reason, .. } = control {
            *tally.dropped.entry(reason.clone()).or_default() += count;
        }
    }
}
