//! `scrim report`: what a room of a running host has learned, and its live stretches.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{FormattedDuration, HumanDuration};
use serde::Deserialize;

use super::client::{Client, HostArgs};
use super::{Outcome, table};

/// Show what a room has learned from reports, and its live stretches
///
/// A threshold is the confidence from which a label counts. A stretch is one live session of a source; `exposed` are published frames in which the
/// host's auditor found something that should have been covered; `peak` is the most that watched it over LiveKit at once, `viewers` all that came.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The room's name, as `scrim rooms` lists it
    room: String,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Deserialize)]
struct Report {
    reports: i64,
    thresholds: Vec<Threshold>,
    sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Threshold {
    detector: String,
    label: String,
    threshold: f32,
}

#[derive(Deserialize)]
struct Session {
    source: String,
    started_at: i64,
    ended_at: Option<i64>,
    frames: i64,
    covered: i64,
    exposed: i64,
    peak: i64,
    total: i64,
    end: Option<String>,
}

/// From microseconds; a span that would be negative is none.
fn span(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

impl Session {
    fn row(&self, now: i64) -> Vec<String> {
        let length = span(self.ended_at.unwrap_or(now) - self.started_at);
        vec![
            format!("{} ago", HumanDuration(span(now - self.started_at))),
            FormattedDuration(length).to_string(),
            self.source.clone(),
            self.frames.to_string(),
            self.covered.to_string(),
            self.exposed.to_string(),
            self.peak.to_string(),
            self.total.to_string(),
            self.end.clone().unwrap_or_else(|| "live".to_owned()),
        ]
    }
}

pub fn run(args: Args) -> Outcome {
    let report: Report = Client::new(&args.host)?.get(&["rooms", &args.room, "report"])?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    println!("{} reports", report.reports);
    if report.thresholds.is_empty() {
        println!("\nno threshold has been learned");
    } else {
        println!();
        let row = |learned: &Threshold| vec![learned.detector.clone(), learned.label.clone(), format!("{:.3}", learned.threshold)];
        table(&["detector", "label", "threshold"], report.thresholds.iter().map(row));
    }
    if report.sessions.is_empty() {
        println!("\nnever live");
    } else {
        println!();
        let head = ["started", "length", "source", "frames", "covered", "exposed", "peak", "viewers", "end"];
        table(&head, report.sessions.iter().map(|session| session.row(now)));
    }
    Ok(())
}
