//! `scrim report`: what a room of a running host has learned, and its live stretches.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{FormattedDuration, HumanDuration};
use serde::Deserialize;

use super::client::{Client, HostArgs};
use super::{Outcome, say, table};

/// Show what a room has learned from reports, what that changed, and its live stretches
///
/// A threshold is the confidence from which a label counts: `default` without reports, `now` with them, of which so many said that a detection was
/// `right` or `wrong`. The detections of the last hour are judged once more: of those `seen` so many `count`; `no longer` counts what would count without
/// the reports, `newly` what would not. A stretch is one live session of a source; `exposed` are published frames in which the
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
    labels: Vec<Label>,
    hour: Hour,
    sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Label {
    detector: String,
    label: String,
    threshold_default: Option<f32>,
    threshold: Option<f32>,
    right: i64,
    wrong: i64,
    detections: u64,
    counted: u64,
    no_longer: u64,
    newly: u64,
}

impl Label {
    fn row(&self) -> Vec<String> {
        let threshold = |value: Option<f32>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        let mut row = vec![self.detector.clone(), self.label.clone(), threshold(self.threshold_default), threshold(self.threshold)];
        row.extend([self.right, self.wrong].map(|count| count.to_string()));
        row.extend([self.detections, self.counted, self.no_longer, self.newly].map(|count| count.to_string()));
        row
    }
}

#[derive(Deserialize)]
struct Hour {
    policy: Option<String>,
    inputs: u64,
    since: Option<i64>,
    left_out: u64,
    why_not: Option<String>,
}

impl Hour {
    /// What was judged once more, in a sentence or two.
    fn told(&self, now: i64) -> String {
        let mut told = match (&self.policy, self.since) {
            (Some(policy), Some(since)) => {
                format!("{} questions to {policy} asked again, the first of {} ago", self.inputs, HumanDuration(span(now - since)))
            }
            (Some(policy), None) => format!("{policy} was asked nothing in the last hour"),
            (None, _) => "nothing was asked again".to_owned(),
        };
        if self.left_out > 0 {
            told.push_str(&format!("; {} could not be kept", self.left_out));
        }
        if let Some(why_not) = &self.why_not {
            told.push_str(&format!("; {why_not}"));
        }
        told
    }
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
    say(format!("{} reports", report.reports))?;
    if report.labels.is_empty() {
        say("\nno threshold has been learned")?;
    } else {
        say("")?;
        let head = ["detector", "label", "default", "now", "right", "wrong", "seen", "count", "no longer", "newly"];
        table(&head, report.labels.iter().map(Label::row))?;
        say(format!("\n{}", report.hour.told(now)))?;
    }
    if report.sessions.is_empty() {
        say("\nnever live")?;
    } else {
        say("")?;
        let head = ["started", "length", "source", "frames", "covered", "exposed", "peak", "viewers", "end"];
        table(&head, report.sessions.iter().map(|session| session.row(now)))?;
    }
    Ok(())
}
