//! The report's data as the page's script reads it: names once, frames as short rows, so that an hour's page stays within some megabytes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sound::SoundRow;
use super::words::SaidRow;
use super::{Clip, Cover, Decision, Event, LookKind, Mute, Preview, Report, ReportFrame, Summary, base64, share_of};
use crate::geometry::Rect;

#[derive(Serialize)]
pub(super) struct Data<'a> {
    title: &'a str,
    clip: &'a Clip,
    facts: &'a [(String, String)],
    summary: Summary,
    frames: Vec<Row>,
    decisions: &'a [Decision],
    events: &'a [Event],
    previews: Vec<Shown>,
    /// Detectors, labels and reasons, to which rows refer by index.
    names: Vec<String>,
    /// What was read and heard; none where neither was done.
    said: Option<Vec<SaidRow<'a>>>,
    /// There was more of it.
    said_cut: bool,
    mutes: Option<&'a [Mute]>,
    sound: Option<SoundRow<'a>>,
}

impl<'a> Data<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let mut names = Names::default();
        let frames = report.frames.iter().map(|frame| row(frame, &mut names)).collect();
        let said = report.words.as_ref().map(|words| words.transcript().into_iter().map(SaidRow::of).collect());
        Data {
            title: &report.title,
            clip: &report.clip,
            facts: &report.facts,
            summary: report.summary(),
            frames,
            decisions: &report.decisions,
            events: &report.events,
            previews: report.previews.iter().map(Shown::of).collect(),
            names: names.list,
            said,
            said_cut: report.words.as_ref().is_some_and(|words| words.cut),
            mutes: report.mutes.as_deref(),
            sound: report.sound.as_ref().map(SoundRow::of),
        }
    }
}

/// One frame: time in microseconds, change, cut, covered share, reason of a full cover, masks, looks.
#[derive(Serialize)]
struct Row(u64, Short, u8, Short, Option<usize>, Vec<[Short; 4]>, Vec<LookRow>);

/// Detector, kind, findings.
#[derive(Serialize)]
struct LookRow(usize, LookKind, Vec<FoundRow>);

/// Label, confidence, threshold, whether it counts, area.
#[derive(Serialize)]
struct FoundRow(usize, Short, Short, u8, Option<[Short; 4]>);

/// A fraction to four digits, enough for a pixel of 8K; what is no number is 0.
struct Short(f32);

impl Serialize for Short {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let rounded = (f64::from(self.0) * 1e4).round() / 1e4;
        to.serialize_f64(if rounded.is_finite() { rounded } else { 0.0 })
    }
}

#[derive(Serialize)]
struct Shown {
    at: u64,
    raw: Option<String>,
    covered: String,
}

impl Shown {
    fn of(preview: &Preview) -> Shown {
        let uri = |jpeg: &Vec<u8>| format!("data:image/jpeg;base64,{}", base64(jpeg));
        Shown { at: preview.at.0, raw: preview.raw.as_ref().map(uri), covered: uri(&preview.covered) }
    }
}

#[derive(Default)]
struct Names {
    list: Vec<String>,
    by_name: BTreeMap<String, usize>,
}

impl Names {
    fn index(&mut self, name: &str) -> usize {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        self.list.push(name.to_owned());
        self.by_name.insert(name.to_owned(), self.list.len() - 1);
        self.list.len() - 1
    }
}

fn corners(area: &Rect) -> [Short; 4] {
    [Short(area.x), Short(area.y), Short(area.width), Short(area.height)]
}

fn row(frame: &ReportFrame, names: &mut Names) -> Row {
    let reason = match &frame.cover {
        Cover::Full { reason } => Some(names.index(reason)),
        Cover::Clear | Cover::Masks => None,
    };
    let looks = frame.looks.iter().map(|look| {
        let found = look.found.iter().map(|(found, verdict)| {
            let area = found.area.as_ref().map(corners);
            FoundRow(names.index(&found.label), Short(found.confidence), Short(verdict.threshold), verdict.counts.into(), area)
        });
        let found = found.collect();
        LookRow(names.index(&look.detector), look.kind, found)
    });
    let looks = looks.collect();
    let masks = frame.masks.iter().map(corners).collect();
    Row(frame.at.0, Short(frame.change), frame.cut.into(), Short(share_of(frame)), reason, masks, looks)
}
