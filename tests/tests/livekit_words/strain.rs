//! What the host itself says it kept back because it was behind: a busy machine mutes and covers more, and says so.

use anyhow::{Context, Result};
use scrim_tests::served::Served;

/// A read, or a guess at what is said, that takes longer than this on the mean, its wait included, is one of a machine that is too busy, seconds: on
/// two cores that do nothing else they take a third of it.
const BUSY_S: f64 = 0.6;

/// Figures of the host, after the clip.
#[derive(Debug)]
pub struct Strain {
    /// Share of the sound that went out as silence since nobody had judged it.
    withheld: f64,
    /// Share of the frames that left with something pending.
    pending: f64,
    /// Mean seconds of a guess and of a read, waits included, and those that failed.
    hear: f64,
    read: f64,
    failed: (f64, f64),
}

impl Strain {
    /// # Errors
    /// When the host does not tell its figures.
    pub fn of(served: &Served) -> Result<Self> {
        let text = String::from_utf8(served.get("/metrics")?.body)?;
        let sum = |name: &str, label: &str| -> f64 {
            let of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(label);
            text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let mean = |name: &str| sum(&format!("{name}_sum"), "") / sum(&format!("{name}_count"), "").max(1.0);
        let told = Self {
            withheld: sum("scrim_sound_samples_silenced_total", "unjudged") / sum("scrim_sound_samples_out_total", "").max(1.0),
            pending: sum("scrim_stream_frames_pending_total", "") / sum("scrim_stream_frames_out_total", "").max(1.0),
            hear: mean("scrim_hear_wait_seconds") + mean("scrim_hear_run_seconds"),
            read: mean("scrim_read_wait_seconds") + mean("scrim_read_run_seconds"),
            failed: (sum("scrim_hears_failed_total", ""), sum("scrim_reads_failed_total", "")),
        };
        let events = served.get("/v1/rooms/studio/events?after=0&limit=1000")?.expect(200)?;
        let events = events["events"].as_array().context("events")?;
        let late = events.iter().filter(|event| event["body"]["event"] == "judge_late").count();
        let live = served.get("/v1/rooms/studio")?.expect(200)?["live"][0].clone();
        println!("the host: {told:?}, the recogniser late {late} times; {live}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let of_words = ["scrim_sound", "scrim_read", "scrim_hear", "scrim_stream_frames", "scrim_load"];
            if of_words.iter().any(|name| line.starts_with(name)) && !line.contains("_bucket") && !line.contains("quantile") {
                println!("   {line}");
            }
        }
        Ok(told)
    }

    /// By how much less of the sound may be intact.
    pub fn sound(&self) -> f64 {
        let busy = self.hear > BUSY_S || self.failed.0 > 0.0;
        allowance("the recogniser", busy, self.withheld)
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
