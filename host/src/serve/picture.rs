//! A posted picture: judged at once, without sampler, delay or trails. It is a source of its own that ends with its answer, and touches no
//! live stream's state.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::Shared;
use super::meter;
use super::room::{Room, detection_body, lock};
use crate::config::FRAME_MS_NOMINAL;
use crate::geometry::Rect;
use crate::host::HostError;
use crate::infer::batcher::LookRequest;
use crate::infer::ocr::{Block, ReadWord};
use crate::media::frame::{Frame, Micros};
use crate::plugin::types::{self, SourceKind};
use crate::room::judges::Judges;
use crate::room::note::{Judging, Medium, Note};
use crate::room::policies::POLICY_DEADLINE;
use crate::room::published::Cover;
use crate::room::reading::JudgeId;
use crate::room::request::{Answer, LookId, Request, SceneHints};
use crate::room::settings::{FailMode, Settings};
use crate::room::words;
use crate::store::EventRow;
use crate::vision::detection::{Detection, Verdict};

/// How long one detector may take for a picture; past it the others' results stand.
pub const DETECTOR_MAX: Duration = Duration::from_secs(2);

/// What its words are weighed under.
const TEXT: &str = words::detector(Medium::Screen);

/// A detection of a picture, weighed.
pub struct Found {
    pub detection: Detection,
    pub verdict: Verdict,
    /// Whether the room covers its label and it counts.
    pub covered: bool,
    /// To report it by; for what counts.
    pub event: Option<Arc<EventRow>>,
}

/// What became of a picture.
pub struct Judged {
    pub id: String,
    /// Every enabled detector looked, or was told off by a cascade whose skips count.
    pub judged: bool,
    pub found: Vec<Found>,
    pub looked: Vec<Arc<str>>,
    pub skipped: Vec<Arc<str>>,
    /// Detectors without a result, each with why.
    pub failed: Vec<(Arc<str>, String)>,
    /// Words in which something was found that counts.
    words: Vec<Rect>,
    pub cover: Cover,
    pub settings: Settings,
}

/// Judges a picture in a room. With `cascade` the cascade is asked, and what it skips counts where the room's `skip_max_ms` is above 0.
///
/// # Errors
/// When the room's settings can't work.
pub async fn judge(room: &Arc<Room>, mut frame: Frame, cascade: bool) -> Result<Judged, HostError> {
    let shared = room.shared.clone();
    let policies = room.policies().await;
    let settings = shared.host.settings(&room.settled().config, FRAME_MS_NOMINAL.micros())?;
    let id = format!("picture-{}", Uuid::now_v7());
    let number = shared.next_source();
    frame.at = policies.moment(shared.clock.now());
    policies.enter(number, frame.at, Box::new(|_| {}));
    // Leaves when this ends, also if whoever asked is gone.
    let _entered = Entered { policies: policies.clone(), number };
    let (heard, told_id) = (Arc::downgrade(room), id.clone());
    let in_words: Arc<Mutex<Vec<Judging>>> = Arc::default();
    let judged_words = in_words.clone();
    let observer = Arc::new(move |note| match note {
        // What counts is told below, with its events.
        Note::Weighed(_) => {}
        Note::Judged(judging) => lock(&judged_words).push(judging),
        other => {
            if let Some(room) = heard.upgrade() {
                room.noted(&told_id, other);
            }
        }
    });
    let source = types::Source { id: id.clone(), kind: SourceKind::Picture, owner: id.clone() };
    let judges = shared.host.judges(number, source, policies, observer);

    let detectors: Vec<Arc<str>> = settings.detectors.iter().map(|d| d.name.clone()).collect();
    let (look, skipped) = screened(&judges, &frame, detectors, cascade && settings.skip_max > Micros::ZERO).await;
    let looks = look.iter().map(|detector| look_with(&shared, number, &frame, detector.clone()));
    let mut judged = Judged {
        id,
        judged: true,
        found: Vec::new(),
        looked: Vec::new(),
        skipped,
        failed: Vec::new(),
        words: Vec::new(),
        cover: Cover::Masks(Vec::new()),
        settings,
    };
    for (detector, outcome) in look.iter().zip(futures_util::future::join_all(looks).await) {
        match outcome {
            Ok(found) => {
                let verdicts = weighed(&judges, &frame, detector, found.clone()).await;
                judged.looked.push(detector.clone());
                for (detection, verdict) in found.into_iter().zip(verdicts) {
                    judged.found.push(told(room, &judged, &frame, detection, verdict));
                }
            }
            Err(why) => {
                judged.judged = false;
                judged.failed.push((detector.clone(), why));
            }
        }
    }
    if judged.settings.text.is_some() {
        match read(&judges, &frame).await {
            Ok(words) => {
                judged.looked.push(TEXT.into());
                judged.words = words;
                let judgings = std::mem::take(&mut *lock(&in_words));
                for judging in &judgings {
                    for found in &judging.findings {
                        let covered = found.verdict.counts;
                        let event = covered.then(|| room.tell_found(&judged.id, judging, found));
                        judged.found.push(Found { detection: found.detection.clone(), verdict: found.verdict, covered, event });
                    }
                }
            }
            Err(why) => {
                judged.judged = false;
                judged.failed.push((TEXT.into(), why));
            }
        }
    }
    judged.cover = covered(&judged);
    metrics::counter!(meter::PICTURES, "outcome" => if judged.judged { "judged" } else { "unjudged" }).increment(1);
    Ok(judged)
}

struct Entered {
    policies: crate::room::policies::Policies,
    number: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.policies.leave(self.number);
    }
}

/// Which detectors are to look, and which the cascade told off.
async fn screened(judges: &Judges, frame: &Frame, detectors: Vec<Arc<str>>, ask: bool) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
    if !ask {
        return (detectors, Vec::new());
    }
    let request = Request::Screen {
        frame: frame.clone(),
        detectors: detectors.clone(),
        hints: SceneHints { scene_cut: true, change: 1.0, ..SceneHints::default() },
    };
    let Some(Answer::Screened { look, .. }) = answer(judges, request, POLICY_DEADLINE * 2).await else { return (detectors, Vec::new()) };
    detectors.into_iter().partition(|detector| look.contains(detector))
}

async fn look_with(shared: &Shared, number: u64, frame: &Frame, detector: Arc<str>) -> Result<Vec<Detection>, String> {
    let lookout = shared.host.lookouts().get(&detector).ok_or_else(|| format!("this host has no detector {detector}"))?;
    let deadline = Instant::now() + DETECTOR_MAX;
    let request = LookRequest { source: number, weight: NonZeroU32::MIN, frame: frame.clone(), required: true, deadline };
    let result = tokio::time::timeout(DETECTOR_MAX, lookout.batcher.look(request)).await;
    let result = result.map_err(|_| format!("no answer within {} s", DETECTOR_MAX.as_secs()))?;
    let named = |mut detection: Detection| {
        // The model's name is not the room's name for it.
        detection.detector = detector.clone();
        detection
    };
    Ok(result.found.map_err(|fault| fault.to_string())?.into_iter().map(named).collect())
}

async fn weighed(judges: &Judges, frame: &Frame, detector: &Arc<str>, detections: Vec<Detection>) -> Vec<Verdict> {
    let id = LookId { seq: frame.seq, detector: detector.clone() };
    let request = Request::Weigh { id, at: frame.at, detections: detections.clone() };
    match answer(judges, request, POLICY_DEADLINE * 2).await {
        Some(Answer::Weighed { verdicts, .. }) if verdicts.len() == detections.len() => verdicts,
        // Every request is answered; without a host there would be no verdict, and then everything counts.
        _ => detections.iter().map(|_| Verdict { counts: true, threshold: 0.0 }).collect(),
    }
}

/// The words of a picture in which something was found that counts.
async fn read(judges: &Judges, frame: &Frame) -> Result<Vec<Rect>, String> {
    let read = Request::Read { frame: frame.clone(), within: Vec::new(), deadline: Micros(DETECTOR_MAX.as_micros() as u64) };
    let Some(Answer::Read { blocks, .. }) = answer(judges, read, DETECTOR_MAX).await else {
        return Err(format!("its text was not read within {} s", DETECTOR_MAX.as_secs()));
    };
    let words: Vec<ReadWord> = blocks.iter().flat_map(Block::words).cloned().collect();
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let areas: Vec<Rect> = words.iter().map(|word| word.area).collect();
    let judge = Request::Judge { id: JudgeId { page: 0, revision: 0 }, at: frame.at, is_final: true, words };
    match answer(judges, judge, POLICY_DEADLINE * 4).await {
        Some(Answer::Judged { flagged: Some(flagged), .. }) => {
            Ok(areas.into_iter().zip(flagged).filter_map(|(area, flagged)| flagged.then_some(area)).collect())
        }
        _ => Err("its words were not judged".to_owned()),
    }
}

async fn answer(judges: &Judges, request: Request, within: Duration) -> Option<Answer> {
    let (tell, told) = oneshot::channel();
    judges.dispatch(request, Micros::ZERO, move |answer| _ = tell.send(answer));
    tokio::time::timeout(within, told).await.ok()?.ok()
}

fn told(room: &Room, judged: &Judged, frame: &Frame, detection: Detection, verdict: Verdict) -> Found {
    let labels = judged.settings.detector(&detection.detector).map(|d| &d.cover);
    let covered = verdict.counts && labels.is_some_and(|cover| cover.contains(&detection.label));
    let event = verdict.counts.then(|| {
        let body = detection_body(&judged.id, frame.seq.0, &detection, verdict.threshold);
        room.events.push(room.shared.clock.unix_us(), "detection", body, None)
    });
    Found { detection, verdict, covered, event }
}

/// As the frame path does it for one frame: masks, or all of it where a detector failed and the room is closed.
fn covered(judged: &Judged) -> Cover {
    if let (Some((detector, _)), FailMode::Closed) = (judged.failed.first(), judged.settings.fail_mode) {
        return Cover::Full { detector: detector.clone(), reason: crate::room::channel::Unjudged::NoEarlierLook };
    }
    // Words are covered by themselves, not by the area that holds all of them.
    let seen = judged.found.iter().filter(|found| found.covered && &*found.detection.detector != TEXT);
    let areas = seen.map(|found| found.detection.area.unwrap_or(Rect::FULL)).chain(judged.words.iter().copied());
    Cover::Masks(areas.map(|area| area.grown(area.width * MARGIN, area.height * MARGIN).clamped()).collect())
}

/// What a mask gains on each side, as a share of its size: a detector's box is the thing's, not its rim's.
const MARGIN: f32 = 0.05;
