//! What `scrim censor` tells of a run when it is over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::censor::Outcome;
use crate::host::Host;
use crate::plugin::events::{PolicyEvent, StateFrom};
use crate::room::look::Why;
use crate::room::note::{Note, Observer};

/// Hears what happens while a clip runs. Looks and decisions are kept only if a report is to be made of them: there are thousands.
pub struct Witness {
    notes: Arc<Mutex<Vec<Note>>>,
}

impl Witness {
    pub fn new(for_report: bool) -> (Self, Observer) {
        let notes: Arc<Mutex<Vec<Note>>> = Arc::default();
        let kept = notes.clone();
        let observer: Observer = Arc::new(move |note| {
            if for_report || matches!(note, Note::Event(_)) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(note);
            }
        });
        (Self { notes }, observer)
    }

    /// What was heard so far, in order.
    pub fn notes(&self) -> Vec<Note> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub fn events(notes: &[Note]) -> impl Iterator<Item = &PolicyEvent> {
    notes.iter().filter_map(|note| match note {
        Note::Event(event) => Some(event),
        _ => None,
    })
}

/// Facts of a run by name, for the terminal and the report.
pub fn facts(host: &Host, outcome: &Outcome, notes: &[Note]) -> Vec<(String, String)> {
    let counts = &outcome.counts;
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut fact = |name: &str, text: String| facts.push((name.to_owned(), text));
    let rate = outcome.probe.rate.per_second();
    let took = outcome.took.as_secs_f64();
    fact(
        "frames",
        format!(
            "{} in, {} out; {}x{} at {rate:.2} a second",
            counts.captured, outcome.frames_out, outcome.probe.width, outcome.probe.height
        ),
    );
    fact(
        "speed",
        format!(
            "{:.1} frames/s, {took:.1} s for {:.1} s of clip",
            outcome.frames_out as f64 / took.max(1e-9),
            counts.captured as f64 / rate.max(1e-9)
        ),
    );
    let looks: u64 = counts.looks.values().sum();
    let each = counts.looks.iter().map(|(why, number)| format!("{number} {}", reason(*why)));
    fact("looks", listed(format!("{looks} for {} frames", counts.captured), each));
    if counts.looks_failed + counts.looks_late > 0 {
        fact("looks lost", format!("{} failed, {} late", counts.looks_failed, counts.looks_late));
    }
    fact("cascade", format!("asked {} times, said skip {} times", counts.screened, counts.skipped));
    fact("covered", format!("{:.2} % of the picture on average; masks on {} frames", outcome.covered * 100.0, counts.masked));
    let full: u64 = counts.full_covers.values().sum();
    fact("full covers", listed(full.to_string(), counts.full_covers.iter().map(|(why, number)| format!("{number} {}", word(why)))));
    if let Some(mutes) = &outcome.mutes {
        let seconds: f32 = mutes.iter().map(|(from, to)| to.saturating_sub(*from).as_secs_f32()).sum();
        fact("sound", format!("{} mutes, {seconds:.1} s", mutes.len()));
    }
    let text = &counts.text;
    if text.reads + text.pending > 0 {
        fact(
            "text",
            format!(
                "{} reads, {} lines, {} judgements; masks on {} frames, something pending on {}",
                text.reads, text.lines, text.judgements, text.masked, text.pending
            ),
        );
    }
    if text.reads_failed + text.judgements_failed > 0 {
        fact("text lost", format!("{} reads and {} judgements failed", text.reads_failed, text.judgements_failed));
    }
    if counts.passed_unjudged > 0 {
        fact("unjudged", format!("{} frames passed, since the room fails open", counts.passed_unjudged));
    }
    let mut faults: BTreeMap<String, u64> = BTreeMap::new();
    for event in events(notes) {
        if let PolicyEvent::Faulted { slot, plugin, fault, .. } = event {
            *faults.entry(format!("{slot} {plugin} {}", fault.kind())).or_default() += 1;
        }
    }
    let total: u64 = faults.values().sum();
    fact("faults", listed(total.to_string(), faults.iter().map(|(what, number)| format!("{number} {what}"))));
    if outcome.late_answers > 0 {
        fact("late", format!("{} answers of policies came after their deadline; the host's defaults stood in", outcome.late_answers));
    }
    for event in events(notes) {
        if let Some((name, text)) = told(event) {
            fact(name, text);
        }
    }
    for (detector, report) in &host.providers {
        let why = report.tried.iter().map(|tried| format!("not {}: {}", tried.provider, tried.why_not));
        fact("inference", listed(format!("{detector} on {}", report.chosen), why));
    }
    if let Some(bytes) = outcome.recorded {
        fact("recorded", format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)));
    }
    facts
}

/// The facts as lines.
pub fn text(output: &Path, facts: &[(String, String)]) -> String {
    let mut text = format!("{:<12} {}\n", "written", output.display());
    for (name, value) in facts {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12} {value}");
    }
    text
}

fn listed(head: String, parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { head } else { format!("{head}: {}", parts.join(", ")) }
}

/// A look's reason in a word or two.
pub fn reason(why: Why) -> &'static str {
    match why {
        Why::First => "at a start or cut",
        Why::Last => "before a cut or end",
        Why::Clock => "by the clock",
        Why::Unlike => "for change",
        Why::Newest => "of the newest",
        Why::Again => "again",
        Why::Bisect => "between two that disagree",
        Why::Cascade => "asked by the cascade",
    }
}

/// A unit variant's serialised name, with spaces.
pub fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(|word| word.replace(['-', '_'], " "))).unwrap_or_default()
}

/// An event that a summary names by itself.
pub fn told(event: &PolicyEvent) -> Option<(&'static str, String)> {
    let seconds = |at: &crate::media::frame::Micros| at.0 as f64 / 1e6;
    Some(match event {
        PolicyEvent::Committed { slot, generation, plugin, commit_at, state, held_us, .. } => {
            let state = match state {
                StateFrom::Nothing => String::new(),
                StateFrom::OtherPlugin { before } => format!(", state of {before} not taken over"),
                StateFrom::Live => ", state kept".to_owned(),
                StateFrom::Journal { replayed } => format!(", state from the last snapshot and {replayed} reports"),
            };
            let pause = *held_us as f64 / 1e3;
            (
                "policy",
                format!("{slot}: {plugin} from {:.2} s (generation {}), pause {pause:.2} ms{state}", seconds(commit_at), generation.0),
            )
        }
        PolicyEvent::RolledBack { slot, generation, plugin, commit_at, automatic, .. } => {
            let by = if *automatic { " by itself" } else { "" };
            ("rollback", format!("{slot}: back to {plugin}{by} from {:.2} s (generation {})", seconds(commit_at), generation.0))
        }
        PolicyEvent::Refused { slot, plugin, stage, reason } => {
            let plugin = plugin.as_deref().unwrap_or("a plugin");
            ("refused", format!("{slot}: {plugin} at {}: {reason}; what served before goes on", stage.as_str()))
        }
        PolicyEvent::Faulted { .. }
        | PolicyEvent::Restarted { .. }
        | PolicyEvent::Retired { .. }
        | PolicyEvent::ShadowStarted { .. }
        | PolicyEvent::ShadowEnded { .. } => {
            return None;
        }
    })
}
