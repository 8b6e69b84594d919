//! Reports: somebody says of an event that it was right or wrong. Journalled before anything else; then the threshold policy learns it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::meter;
use super::room::Room;
use crate::geometry::Rect;
use crate::plugin::types::{LabelThreshold, Reply, Request, Slot};
use crate::store::{EventRow, Journalled, NewFeedback, StoreError};
use crate::vision::detection::Detection;

const DEADLINE: Duration = Duration::from_millis(500);
/// A plugin that is being started again is asked once more after so long.
const RETRY_AFTER: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    #[error("no event {0} in this room: give the id of one that `events` lists, no older than the host keeps them")]
    NoEvent(Uuid),
    #[error("event {0} is a {1} event: only detections can be reported")]
    NotADetection(Uuid, String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a report changed.
pub struct Learned {
    /// False: it was there already, and counts once.
    pub counted: bool,
    pub changed: Vec<LabelThreshold>,
    /// Why the policy could not be told; it is told when it starts again.
    pub pending: Option<String>,
}

/// Takes a report of an event of this room.
///
/// # Errors
/// When there is no such detection, or the journal can't be written; nothing was learned then.
pub async fn report(room: &Arc<Room>, event_id: Uuid, correct: bool, reporter: &str) -> Result<Learned, FeedbackError> {
    let shared = &room.shared;
    let event = room.events.find(event_id, &shared.store).await?.ok_or(FeedbackError::NoEvent(event_id))?;
    let found = detection_of(&event).ok_or_else(|| FeedbackError::NotADetection(event_id, event.kind.clone()))?;
    let policies = room.policies().await;
    // The journal's order is the order in which the plugin hears.
    let _order = room.reports.lock().await;
    let at = policies.moment(shared.clock.now());
    let report = NewFeedback {
        event_id,
        room: room.name.to_string(),
        plugin: policies.slot(Slot::Threshold).status().plugin.map(|plugin| plugin.name().to_owned()),
        reporter: reporter.to_owned(),
        detector: found.detector.to_string(),
        label: found.label.to_string(),
        confidence: found.confidence,
        area: found.area,
        correct,
        at: i64::try_from(at.0).unwrap_or(i64::MAX),
    };
    if let Journalled::Already(_) = shared.store.journal_feedback(&report).await? {
        metrics::counter!(meter::FEEDBACK, "outcome" => "repeated").increment(1);
        return Ok(Learned { counted: false, changed: Vec::new(), pending: None });
    }
    metrics::counter!(meter::FEEDBACK, "outcome" => "new").increment(1);
    let mut learned = Learned { counted: true, changed: Vec::new(), pending: None };
    if report.plugin.is_some() {
        for attempt in 0..2 {
            let (tell, told) = oneshot::channel();
            let request =
                Request::Feedback { event_id: event_id.to_string(), reporter: reporter.to_owned(), found: found.clone(), correct };
            policies.ask(at, request, Some(DEADLINE), move |answered| _ = tell.send(answered.result));
            match told.await.unwrap_or_else(|_| Err("the host is stopping".to_owned())) {
                Ok(Reply::Thresholds(changed)) => {
                    (learned.changed, learned.pending) = (changed, None);
                    break;
                }
                Ok(_) => learned.pending = Some("the policy answered something else".to_owned()),
                Err(why) => learned.pending = Some(why),
            }
            if attempt == 0 {
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
    room.tell("feedback", json!({ "of": event_id, "correct": correct, "label": report.label, "pending": learned.pending }));
    Ok(learned)
}

fn detection_of(event: &EventRow) -> Option<Detection> {
    let body = &event.body;
    (event.kind == "detection").then_some(())?;
    Some(Detection {
        detector: body["detector"].as_str()?.into(),
        label: body["label"].as_str()?.into(),
        confidence: body["confidence"].as_f64()? as f32,
        area: serde_json::from_value::<Option<Rect>>(body["area"].clone()).ok()?,
        trail: None,
    })
}
