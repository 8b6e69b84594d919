//! The auditor: looks at published frames, as viewers see them, off the frame path and after every live look, and counts what shows.
//!
//! A frame is *exposed* if a detector finds in it, at or above its base threshold, something that the room covers and that its masks cover
//! less than 95 %. What always holds: the auditor's looks are optional ones of a source of their own, so a live look never waits for them;
//! what finds no time is shed and counted.

use std::num::NonZeroU32;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::Shared;
use super::meter;
use super::room::Room;
use crate::geometry::Rect;
use crate::infer::batcher::LookRequest;
use crate::media::frame::Frame;
use crate::room::settings::Settings;
use crate::vision::detection::Detection;

/// The auditor's number among the sources of the batchers.
pub const AUDITOR: u64 = u64::MAX;
/// Frames that wait to be looked at.
const QUEUE_MAX: usize = 4;
/// How long a look of the auditor may wait and take.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// Share of an area from which it counts as covered.
const COVERED_MIN: f32 = 0.95;
/// Points along each side at which an area is held against the masks.
const POINTS: usize = 24;

/// A published frame, covered, with what covers it.
pub struct Audit {
    pub frame: Frame,
    pub masks: Vec<Rect>,
    pub settings: Arc<Settings>,
    pub room: Weak<Room>,
    pub session: Uuid,
}

#[derive(Clone)]
pub struct Auditor(mpsc::Sender<Audit>);

impl Auditor {
    /// An auditor and what [`run`] is to work off.
    pub fn new() -> (Self, mpsc::Receiver<Audit>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        (Self(sender), receiver)
    }

    /// Hands a frame over; with a full queue it is shed.
    pub fn look_at(&self, audit: Audit) {
        if self.0.try_send(audit).is_err() {
            metrics::counter!(meter::AUDIT_SHED).increment(1);
        }
    }
}

/// Works the queue off for as long as there is an auditor.
pub async fn run(shared: Weak<Shared>, mut queue: mpsc::Receiver<Audit>) {
    while let Some(audit) = queue.recv().await {
        let (Some(shared), Some(room)) = (shared.upgrade(), audit.room.upgrade()) else { continue };
        let Some(found) = look(&shared, &audit).await else {
            metrics::counter!(meter::AUDIT_SHED).increment(1);
            continue;
        };
        let exposed: Vec<&Detection> =
            found.iter().filter(|d| covered_share(d.area.unwrap_or(Rect::FULL), &audit.masks) < COVERED_MIN).collect();
        metrics::counter!(meter::AUDITED).increment(1);
        if let Some(live) = room.streams().into_iter().find(|live| live.session == audit.session) {
            live.audited(!exposed.is_empty());
        }
        if let Some(first) = exposed.first() {
            metrics::counter!(meter::EXPOSED).increment(1);
            let body = json!({
                "session": audit.session, "frame": audit.frame.seq.0, "detector": &*first.detector, "label": &*first.label,
                "confidence": first.confidence, "area": first.area,
            });
            room.tell("exposed", body);
        }
    }
}

/// What the room's detectors find that it covers; none if one of them had no time.
async fn look(shared: &Shared, audit: &Audit) -> Option<Vec<Detection>> {
    let mut all = Vec::new();
    for detector in &audit.settings.detectors {
        let lookout = shared.host.lookouts().get(&detector.name)?;
        let deadline = Instant::now() + LOOK_MAX;
        let request = LookRequest { source: AUDITOR, weight: NonZeroU32::MIN, frame: audit.frame.clone(), required: false, deadline };
        let found = lookout.batcher.look(request).await.found.ok()?;
        let counts = |d: &Detection| detector.cover.contains(&d.label) && d.confidence >= lookout.thresholds.base(&d.label);
        all.extend(found.into_iter().filter(counts).map(|mut d| {
            d.detector = detector.name.clone();
            d
        }));
    }
    Some(all)
}

/// Share of an area that lies under masks, 0..=1, at a grid of points.
fn covered_share(area: Rect, masks: &[Rect]) -> f32 {
    let point = |i: usize, start: f32, length: f32| start + length * (i as f32 + 0.5) / POINTS as f32;
    let under = |x: f32, y: f32| masks.iter().any(|m| m.x <= x && x <= m.right() && m.y <= y && y <= m.bottom());
    let hits =
        (0..POINTS * POINTS).filter(|i| under(point(i % POINTS, area.x, area.width), point(i / POINTS, area.y, area.height))).count();
    hits as f32 / (POINTS * POINTS) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_is_covered_by_the_union_of_masks() {
        let area = Rect::new(0.2, 0.2, 0.4, 0.4);
        assert_eq!(covered_share(area, &[]), 0.0);
        assert_eq!(covered_share(area, &[Rect::FULL]), 1.0);
        let halves = [Rect::new(0.1, 0.1, 0.3, 0.6), Rect::new(0.4, 0.1, 0.3, 0.6)];
        assert_eq!(covered_share(area, &halves), 1.0);
        assert!((covered_share(area, &halves[..1]) - 0.5).abs() < 0.05);
    }
}
