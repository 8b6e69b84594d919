//! From what a run told to the report's data.

mod sound;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::summary::{events, told, word};
use crate::censor::{Outcome, Progress, areas};
use crate::media::file::Probe;
use crate::media::frame::{FrameSeq, Micros};
use crate::plugin::events::PolicyEvent;
use crate::report::{Clip, Cover, Decision, Event, EventKind, Look, LookKind, Previews, Report, ReportFrame, Words};
use crate::room::note::{Finding, Judging, Note};
use crate::room::published;
use crate::speech::Replacement;
use crate::vision::change::Signature;
use crate::vision::cover::{Style, cover};

/// Collects what the report shows while the frames leave.
pub struct Page {
    report: Report,
    input: PathBuf,
    /// Something is read or listened to.
    words: bool,
    previews: Previews,
    style: Style,
    /// Where a frame stands in the report.
    index: BTreeMap<FrameSeq, usize>,
    before: Option<(Signature, u32)>,
    /// Why a preview could not be made; the report is made without it.
    fault: Option<anyhow::Error>,
}

impl Page {
    pub fn new(input: &Path, probe: &Probe, style: Style, words: bool) -> Self {
        let title = input.file_name().map_or_else(|| input.display().to_string(), |name| name.to_string_lossy().into_owned());
        let clip = Clip { width: probe.width, height: probe.height, rate: probe.rate.per_second() };
        let report = Report { title, clip, ..Report::default() };
        let previews = Previews::new(Previews::BYTES_MAX_DEFAULT);
        Self { report, input: input.to_owned(), words, previews, style, index: BTreeMap::new(), before: None, fault: None }
    }

    /// A frame leaves.
    pub fn frame(&mut self, progress: &Progress) {
        let published = progress.published;
        let frame = &published.frame;
        let signature = Signature::of(frame);
        let (change, cut) = match &self.before {
            Some((before, shot)) => (signature.compare(before).changed, *shot != published.shot),
            None => (0.0, false),
        };
        self.before = Some((signature, published.shot));
        let (masks, kind) = match &published.cover {
            published::Cover::Masks(masks) if masks.is_empty() => (Vec::new(), Cover::Clear),
            published::Cover::Masks(masks) => (masks.clone(), Cover::Masks),
            published::Cover::Full { detector, reason } => (Vec::new(), Cover::Full { reason: format!("{detector}: {}", word(reason)) }),
        };
        self.index.insert(frame.seq, self.report.frames.len());
        self.report.frames.push(ReportFrame { at: frame.at, change, cut, looks: Vec::new(), masks, cover: kind });
        if self.previews.wants(frame.at) {
            let mut covered = frame.clone();
            cover(&mut covered, areas(&published.cover), self.style);
            if let Err(error) = self.previews.offer(&covered, Some(frame)) {
                self.fault.get_or_insert(error.into());
            }
        }
    }

    /// The whole page, written to `path`. Sound that can't be shown is told of in it.
    ///
    /// # Errors
    /// When a picture could not be made or the file not be written.
    pub fn write(
        mut self,
        path: &Path,
        outcome: &Outcome,
        replacement: Replacement,
        facts: &[(String, String)],
        notes: &[Note],
    ) -> anyhow::Result<()> {
        if let Some(error) = self.fault {
            return Err(error.context("making the report's pictures"));
        }
        let mut looks: BTreeMap<(FrameSeq, Arc<str>), Look> = BTreeMap::new();
        let mut words = Words::default();
        for note in notes {
            match note {
                Note::Look(looking) => {
                    let kind = if looking.why.required() { LookKind::Required } else { LookKind::Asked };
                    let detector = looking.id.detector.clone();
                    looks.insert((looking.id.seq, detector.clone()), Look { detector, kind, found: Vec::new() });
                }
                Note::Skipped { seq, detector } => {
                    let look = Look { detector: detector.clone(), kind: LookKind::Skipped, found: Vec::new() };
                    looks.entry((*seq, detector.clone())).or_insert(look);
                }
                Note::Weighed(weighed) => {
                    if let Some(look) = looks.get_mut(&(weighed.id.seq, weighed.id.detector.clone())) {
                        look.found = weighed.detections.iter().cloned().zip(weighed.verdicts.iter().copied()).collect();
                    }
                }
                Note::Decision(decision) => self.report.decisions.push(Decision {
                    at: decision.at,
                    slot: decision.slot.to_string(),
                    policy: decision.plugin.clone().unwrap_or_else(|| "the host".to_owned()),
                    text: decision
                        .fault
                        .as_ref()
                        .map_or_else(|| decision.summary.clone(), |fault| format!("{}; {fault}", decision.summary)),
                }),
                Note::Judged(judging) => {
                    words.judged(judging);
                    self.report.decisions.extend(judged(judging));
                }
                Note::Event(_) => {}
            }
        }
        for ((seq, _), look) in looks {
            if let Some(frame) = self.index.get(&seq).and_then(|&index| self.report.frames.get_mut(index)) {
                frame.looks.push(look);
            }
        }
        self.report.events = shown(notes);
        self.report.decisions.sort_by_key(|decision| decision.at);
        self.report.facts = facts.to_vec();
        self.report.mutes = outcome.mutes.as_ref().map(|mutes| words.mutes(mutes));
        self.report.words = self.words.then_some(words);
        if !outcome.probe.audio.is_empty() {
            self.report.sound = Some(sound::of(&self.input, outcome.mutes.as_deref(), replacement));
        }
        self.report.previews = self.previews.finish();
        let html = self.report.to_html().context("making the report")?;
        std::fs::write(path, html).with_context(|| format!("writing {}", path.display()))
    }
}

/// What was found in words, without the words.
fn judged(judging: &Judging) -> Vec<Decision> {
    let medium = word(&judging.medium);
    let policy = judging.transcript.as_ref().and_then(|transcript| transcript.policy.clone()).unwrap_or_else(|| "the host".to_owned());
    let decision = |text: String| Decision { at: judging.at, slot: "text".to_owned(), policy: policy.clone(), text };
    let found = |Finding { finding, verdict, .. }: &Finding| {
        let counts = if verdict.counts { "covered" } else { "not covered" };
        let (category, words) = (finding.category.as_str(), finding.count);
        decision(format!(
            "{medium}: {category}, {words} word(s), {counts}: {:.2} at {:.2}; {}",
            finding.confidence, verdict.threshold, finding.reason
        ))
    };
    let fault =
        judging.fault.iter().map(|fault| decision(format!("{medium}: {} words not judged: {fault}", judging.utterance.words.len())));
    fault.chain(judging.findings.iter().map(found)).collect()
}

/// The events that the timeline shows. A refusal has no time of its own: it stands where the event before it does.
fn shown(notes: &[Note]) -> Vec<Event> {
    let mut latest = Micros::ZERO;
    let mut shown = Vec::new();
    for event in events(notes) {
        let (kind, at) = match event {
            PolicyEvent::Committed { commit_at, .. } => (EventKind::Swap, Some(*commit_at)),
            PolicyEvent::RolledBack { commit_at, .. } => (EventKind::Rollback, Some(*commit_at)),
            PolicyEvent::Refused { .. } => (EventKind::Refused, None),
            PolicyEvent::Faulted { at, .. } => (EventKind::Fault, Some(*at)),
            _ => continue,
        };
        latest = at.unwrap_or(latest);
        let text = match event {
            PolicyEvent::Faulted { plugin, fault, .. } => format!("{plugin}: {fault}"),
            other => told(other).map(|(_, text)| text).unwrap_or_default(),
        };
        shown.push(Event { at: latest, kind, subject: event.slot().to_string(), text });
    }
    shown.sort_by_key(|event| event.at);
    shown
}
