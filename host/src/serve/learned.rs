//! What reports changed in a room: how many there were of each label, where its threshold is for it, and which detections of the last hour
//! are judged otherwise for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::room::Room;
use crate::host::budgets;
use crate::media::frame::Micros;
use crate::plugin::catalog::PluginName;
use crate::plugin::hindsight::{self, Hindsight, Policy};
use crate::plugin::inputs::Taken;
use crate::plugin::types::{LabelThreshold, Slot};
use crate::store::{FeedbackCount, StoreError};

/// Labels whose reports are told of, at most; those with most of them first.
const LABELS_MAX: u32 = 512;
/// How long asking again may take.
const TIME_MAX: Duration = Duration::from_secs(3);
/// One at a time in the whole host: it is worth a thread, not all of them.
static TURN: Semaphore = Semaphore::const_new(1);

/// One label of a detector.
#[derive(Clone, Debug)]
pub struct Label {
    pub detector: String,
    pub label: String,
    /// Reports that said so, ever.
    pub right: i64,
    pub wrong: i64,
    /// None where the policy could not be asked.
    pub hindsight: Option<hindsight::Label>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    pub labels: Vec<Label>,
    /// Who was asked again.
    pub policy: Option<String>,
    pub inputs: u64,
    /// Inputs that could not be kept, since the host began.
    pub left_out: u64,
    /// When the first was asked, on the host's clock.
    pub since: Option<Micros>,
    /// Why not all of the hour, or nothing, was asked again.
    pub why_not: Option<String>,
}

/// Counts the reports and asks the room's threshold policy again; also told of are the labels that it names `thresholds` of.
///
/// # Errors
/// When the store can't be read.
pub async fn learned(room: &Arc<Room>, thresholds: &[LabelThreshold]) -> Result<Learned, StoreError> {
    let counts = room.shared.store.feedback_by_label(&room.name, LABELS_MAX).await?;
    let mut labels: Vec<Named> = counts.iter().map(|of| (of.detector.as_str().into(), of.label.as_str().into())).collect();
    labels.extend(thresholds.iter().map(|of| (of.detector.as_str().into(), of.label.as_str().into())));
    let (plugin, config) = in_force(room);
    let Some(plugin) = plugin else {
        let why_not = Some("the room has no threshold policy, and learns nothing".to_owned());
        return Ok(joined(counts, Learned { why_not, ..Learned::default() }, None));
    };
    let named = plugin.to_string();
    let asked = match ask_again(room, plugin, config, labels).await? {
        Ok((found, taken)) => (Some(found), taken, None),
        Err(why) => (None, 0, Some(why)),
    };
    let (found, left_out, fault) = asked;
    let cut = found.as_ref().filter(|found| found.cut).map(|found| format!("it took too long after {} inputs", found.inputs));
    let learned = Learned { policy: Some(named), left_out, why_not: fault.or(cut), ..Learned::default() };
    Ok(joined(counts, learned, found))
}

/// The threshold policy in force, or to be; none is the host's own default.
fn in_force(room: &Room) -> (Option<PluginName>, Arc<str>) {
    if let Some(policies) = room.policies_if_warm() {
        let status = policies.slot(Slot::Threshold).status();
        return (status.plugin, status.config.unwrap_or_else(|| "{}".into()));
    }
    let chosen = room.chosen(Slot::Threshold);
    (chosen.plugin.and_then(|plugin| plugin.parse().ok()), chosen.config.to_string().into())
}

/// A detector and its label.
type Named = (Arc<str>, Arc<str>);
type AskedAgain = Result<(Hindsight, u64), String>;

async fn ask_again(room: &Arc<Room>, plugin: PluginName, config: Arc<str>, labels: Vec<Named>) -> Result<AskedAgain, StoreError> {
    let kept = room.kept_state(Slot::Threshold, plugin.name()).await?;
    let Ok(_turn) = TURN.acquire().await else { return Ok(Err("the host is stopping".to_owned())) };
    let host = room.shared.host.clone();
    let now = room.shared.clock.now();
    let taken: Taken = room.inputs.take(now);
    let asking = tokio::task::spawn_blocking(move || {
        let plugin = host.catalog.load(&plugin).map_err(|error| error.to_string())?;
        let policy = Policy { plugin, config, kept, budgets: budgets(&host.config) };
        Ok((hindsight::look_back(&policy, &taken, labels, now, TIME_MAX)?, taken.left_out))
    });
    Ok(asking.await.unwrap_or_else(|error| Err(error.to_string())))
}

/// Reports and what they changed, by detector and label.
fn joined(counts: Vec<FeedbackCount>, learned: Learned, found: Option<Hindsight>) -> Learned {
    let mut labels: BTreeMap<(String, String), Label> = BTreeMap::new();
    let entry =
        |detector: &str, label: &str| Label { detector: detector.to_owned(), label: label.to_owned(), right: 0, wrong: 0, hindsight: None };
    for FeedbackCount { detector, label, right, wrong } in counts {
        let told = entry(&detector, &label);
        labels.insert((detector, label), Label { right, wrong, ..told });
    }
    let (inputs, since) = found.as_ref().map_or((0, None), |found| (found.inputs, found.since));
    for ((detector, label), of) in found.map(|found| found.labels).unwrap_or_default() {
        let key = (detector.to_string(), label.to_string());
        labels.entry(key).or_insert_with(|| entry(&detector, &label)).hindsight = Some(of);
    }
    Learned { labels: labels.into_values().collect(), inputs, since, ..learned }
}
