//! What people's reports changed: the last hour's detections before the threshold policy once more, with what it has learned and without.
//!
//! Two fresh instances of the plugin are asked everything that the room's own was asked, all of it as of now: one with the state that it has
//! now, the other with its configuration alone. What they decide differently, reports have changed. Neither is the room's instance, nor on
//! its executor's threads: whoever calls lends a thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::Loaded;
use super::inputs::Taken;
use super::instance::{Budgets, PolicyInstance};
use super::slot::Kept;
use super::tenant::{Fresh, PolicySpec};
use super::types::{Fault, Reply, Request, Source, SourceKind};
use crate::media::frame::Micros;
use crate::vision::detection::{Detection, Verdict};

/// Labels in one question.
const LABELS_AT_ONCE: usize = 64;

/// Who is asked, and what it has learned.
pub struct Policy {
    pub plugin: Arc<Loaded>,
    /// JSON.
    pub config: Arc<str>,
    pub kept: Option<Kept>,
    pub budgets: Budgets,
}

/// What became of one label of a detector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Label {
    /// From which confidence it counts now, and would count had nobody reported anything.
    pub threshold: f32,
    pub untaught: f32,
    /// Of the hour: detections, those that count now, and those that count now or would otherwise, but not both.
    pub detections: u64,
    pub counted: u64,
    pub no_longer: u64,
    pub newly: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Hindsight {
    /// By detector and label.
    pub labels: BTreeMap<(Arc<str>, Arc<str>), Label>,
    /// Inputs that were asked again.
    pub inputs: u64,
    /// When the first of them was.
    pub since: Option<Micros>,
    /// Not all were asked: it took too long.
    pub cut: bool,
}

/// Asks again, for at most about `time_max`. `labels` are told of whether they were seen or not.
///
/// # Errors
/// Why the plugin can't be asked, or what it did.
pub fn look_back(
    policy: &Policy,
    taken: &Taken,
    labels: impl IntoIterator<Item = (Arc<str>, Arc<str>)>,
    now: Micros,
    time_max: Duration,
) -> Result<Hindsight, String> {
    let began = Instant::now();
    let mut taught = start(policy, policy.kept.as_ref(), now)?;
    let mut untaught = start(policy, None, now)?;
    // Trails that it knows are not those of an hour ago.
    for source in taken.sources() {
        let over = Request::SourceEnded { source_id: source.id.clone() };
        taught.call(now, &over).and_then(|_| untaught.call(now, &over)).map_err(fault)?;
    }
    let mut found = Hindsight { labels: labels.into_iter().map(|label| (label, Label::default())).collect(), ..Hindsight::default() };
    for (at, request) in taken.requests() {
        if began.elapsed() > time_max {
            found.cut = true;
            break;
        }
        let (is, was) = (verdicts(&mut taught, now, &request)?, verdicts(&mut untaught, now, &request)?);
        let Request::Weigh { found: detections, .. } = request else { continue };
        for (detection, (is, was)) in detections.into_iter().zip(is.iter().zip(&was)) {
            let label = found.labels.entry((detection.detector, detection.label)).or_default();
            label.detections += 1;
            label.counted += u64::from(is.counts);
            label.no_longer += u64::from(was.counts && !is.counts);
            label.newly += u64::from(is.counts && !was.counts);
        }
        found.inputs += 1;
        found.since = Some(found.since.map_or(at, |since| since.min(at)));
    }
    let mut labels: Vec<_> = found.labels.iter_mut().collect();
    for some in labels.chunks_mut(LABELS_AT_ONCE) {
        let request = thresholds_of(some.iter().map(|((detector, label), _)| (detector.clone(), label.clone())));
        let (is, was) = (verdicts(&mut taught, now, &request)?, verdicts(&mut untaught, now, &request)?);
        for ((_, label), (is, was)) in some.iter_mut().zip(is.iter().zip(&was)) {
            (label.threshold, label.untaught) = (is.threshold, was.threshold);
        }
    }
    Ok(found)
}

fn fault(fault: Fault) -> String {
    fault.to_string()
}

fn start(policy: &Policy, kept: Option<&Kept>, now: Micros) -> Result<PolicyInstance, String> {
    let spec = PolicySpec { plugin: policy.plugin.clone(), config: policy.config.clone() };
    let mut instance = Fresh::start(&spec, now, &policy.budgets).map_err(|error| error.to_string())?.instance;
    let Some(kept) = kept else { return Ok(instance) };
    if let Some((version, state)) = &kept.snapshot {
        instance.restore(now, version, state).map_err(fault)?.map_err(|why| format!("the plugin cannot read its state: {why}"))?;
    }
    for (at, report) in &kept.reports {
        instance.call(*at, report).map_err(fault)?;
    }
    Ok(instance)
}

fn verdicts(instance: &mut PolicyInstance, now: Micros, request: &Request) -> Result<Vec<Verdict>, String> {
    match instance.call(now, request).map_err(fault)? {
        Reply::Verdicts(verdicts) => Ok(verdicts),
        _ => Err("it answered something else".to_owned()),
    }
}

/// A question whose answer names the labels' thresholds: about something that is hardly there.
fn thresholds_of(labels: impl Iterator<Item = (Arc<str>, Arc<str>)>) -> Request {
    let source = Source { id: "hindsight".into(), kind: SourceKind::Camera, owner: String::new() };
    let detection = |(detector, label)| Detection { detector, label, confidence: 0.0, area: None, trail: None };
    Request::Weigh { source: Arc::new(source), found: labels.map(detection).collect() }
}
