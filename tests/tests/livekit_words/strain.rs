//! What the host itself says it kept back because it was behind, and what the viewer's browser says it made up because nothing came in time: a busy
//! machine mutes, covers and loses more, and says so.

use anyhow::{Context, Result};
use scrim_tests::served::Served;
use scrim_tests::sound::RATE;
use serde_json::Value;

/// A read, or a guess at what is said, that takes longer than this on the mean, its wait included, is one of a machine that is too busy, seconds: on
/// two cores that do nothing else they take a third of it.
const BUSY_S: f64 = 0.6;

/// Seconds of sound that may be lost, put in or kept back: a tenth of what is said. A machine that is only busy loses some tenths of one.
const SPOILT_S: f64 = 1.5;

/// Figures of the host and of the viewer's browser, after the clip.
#[derive(Debug)]
pub struct Strain {
    /// Sound that went out as silence since nobody had judged it, s.
    withheld: f64,
    /// Sound that the host left out or put silence in for, since it or the broadcaster was late, and what the viewer's browser made up, put in or
    /// left out, since the host was, s.
    lost: f64,
    /// Share of the frames that left with something pending.
    pending: f64,
    /// Mean seconds of a guess and of a read, waits included, and those that failed.
    hear: f64,
    read: f64,
    failed: (f64, f64),
}

impl Strain {
    /// # Errors
    /// When the host does not tell its figures, or the browser has not told its own.
    pub fn of(served: &Served, way: &Value) -> Result<Self> {
        let count = |what: &str| way[what].as_f64().with_context(|| format!("{what} in {way}"));
        let text = String::from_utf8(served.get("/metrics")?.body)?;
        let sum = |name: &str, label: &str| -> f64 {
            let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(label);
            text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let mean = |name: &str| sum(&format!("{name}_sum"), "") / sum(&format!("{name}_count"), "").max(1.0);
        let by_host = sum("scrim_sound_samples_dropped_total", "") + sum("scrim_sound_samples_inserted_total", "missing");
        let told = Self {
            withheld: sum("scrim_sound_samples_silenced_total", "unjudged") / RATE as f64,
            lost: (by_host + count("concealed")? + count("stretched")?) / RATE as f64,
            pending: sum("scrim_stream_frames_pending_total", "") / sum("scrim_stream_frames_out_total", "").max(1.0),
            hear: mean("scrim_hear_wait_seconds") + mean("scrim_hear_run_seconds"),
            read: mean("scrim_read_wait_seconds") + mean("scrim_read_run_seconds"),
            failed: (sum("scrim_hears_failed_total", ""), sum("scrim_reads_failed_total", "")),
        };
        let events = served.get("/v1/rooms/studio/events?after=0&limit=1000")?.expect(200)?;
        let events = events["events"].as_array().context("events")?;
        let late = events.iter().filter(|event| event["body"]["event"] == "judge_late").count();
        println!("the host: {told:.3?}, the recogniser late {late} times; the viewer's browser: {way}");
        Ok(told)
    }

    /// Whether so much sound got lost that what is left can't be held against the clip.
    pub fn is_spoilt(&self) -> bool {
        self.lost + self.withheld > SPOILT_S
    }

    /// Whether any sound got lost on its way.
    pub fn loses(&self) -> bool {
        self.lost > 0.0
    }

    /// By how much less of the sound may be intact, of so many pieces of 10 ms.
    pub fn sound(&self, pieces: usize) -> f64 {
        let busy = self.hear > BUSY_S || self.failed.0 > 0.0;
        let all = (pieces as f64 / 100.0).max(0.01);
        let lost = self.lost / all;
        println!(
            "{:.1} % of the sound, at most, was lost, put in or made up on its way, by the host's and the browser's own count",
            100.0 * lost
        );
        lost + allowance("the recogniser", busy, self.withheld / all)
    }

    /// By how much less of the picture may be intact.
    pub fn pictures(&self) -> f64 {
        let busy = self.read > BUSY_S || self.failed.1 > 0.0;
        allowance("the reader", busy, self.pending)
    }
}

fn allowance(who: &str, busy: bool, share: f64) -> f64 {
    if busy && share > 0.0 {
        println!("this machine is too busy: {who} was behind, and by the host's own count {:.1} % was kept back for it", 100.0 * share);
        share
    } else {
        0.0
    }
}
