//! What a room judges and tells over plain requests: pictures, messages, reports, events, recordings.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{self, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::auth::Caller;
use super::extract::{Json, Path, Picture, Query};
use super::problem::{BadBody, Conflicts, Missing, Problem, Problems, Unreadable};
use super::rooms::room_of;
use super::view::{
    AFTER_MAX, Area, Binary, CascadeChoice, DetectionView, EventPage, EventQuery, EventView, FailedView, FeedbackView, FindingView,
    MessageVerdict, NewFeedback, NewMessage, PictureQuery, PictureVerdict, RecordingView, ThresholdView,
};
use super::{App, Groups, LAST_EVENT_ID, VERDICT};
use crate::censor::areas;
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::media::picture::{self, Limits, PictureError};
use crate::room::published::Cover;
use crate::serve::room::Room;
use crate::serve::{Service, chat, feedback, recording};
use crate::store::EventRow;
use crate::vision::cover::cover;

/// Of covered pictures.
const JPEG_QUALITY: u8 = 90;

pub fn routes(groups: &mut Groups) {
    groups.viewer(OpenApiRouter::new().routes(routes!(events)));
    groups.publisher(OpenApiRouter::new().routes(routes!(frame)).routes(routes!(message)));
    groups.operator(
        OpenApiRouter::new()
            .routes(routes!(report))
            .routes(routes!(start_recording))
            .routes(routes!(stop_recording))
            .routes(routes!(recorded)),
    );
}

/// Judges one JPEG or PNG.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/frames", operation_id = "judge_picture", tag = "content", params(("room" = String, Path), PictureQuery),
    request_body(content((inline(Binary) = "image/jpeg"), (inline(Binary) = "image/png"))),
    responses(
        (
            status = 200, content((PictureVerdict = "application/json"), (inline(Binary) = "image/jpeg")),
            headers(("x-scrim-verdict" = String, description = "With `cover=true` the verdict, as JSON of ASCII."))
        ),
        BadBody, Missing, Conflicts, Problems
    )
)]
async fn frame(
    State(app): App,
    Path(room): Path<String>,
    Query(query): Query<PictureQuery>,
    Picture(body): Picture,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let room = room_of(&app, &room)?;
    let _place = app.pictures.try_acquire().map_err(|_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many pictures at once"))?;
    let frame = off_task(move || picture::decode(&body, Limits::default(), FrameSeq(0), Micros::ZERO)).await?.map_err(bad_picture)?;
    let judged = crate::serve::picture::judge(&room, frame.clone(), query.cascade == CascadeChoice::On).await?;
    let verdict = PictureVerdict {
        id: judged.id.clone(),
        width: frame.width,
        height: frame.height,
        judged: judged.judged,
        cover: match &judged.cover {
            Cover::Full { .. } => "full",
            Cover::Masks(masks) if masks.is_empty() => "clear",
            Cover::Masks(_) => "masked",
        }
        .to_owned(),
        masks: areas(&judged.cover).iter().copied().map(Area::from).collect(),
        detections: judged
            .found
            .iter()
            .map(|found| DetectionView {
                detector: found.detection.detector.to_string(),
                label: found.detection.label.to_string(),
                confidence: found.detection.confidence,
                area: found.detection.area.map(Area::from),
                counts: found.verdict.counts,
                threshold: found.verdict.threshold,
                covered: found.covered,
                event_id: found.event.as_ref().map(|event| event.id),
            })
            .collect(),
        looked: judged.looked.iter().map(|name| name.to_string()).collect(),
        skipped: judged.skipped.iter().map(|name| name.to_string()).collect(),
        failed: judged.failed.iter().map(|(name, reason)| FailedView { detector: name.to_string(), reason: reason.clone() }).collect(),
        took_ms: began.elapsed().as_secs_f64() * 1e3,
    };
    if !query.cover {
        return Ok(Json(verdict).into_response());
    }
    let (how, style) = (judged.cover, judged.settings.style);
    let jpeg = off_task(move || covered(frame, &how, style))
        .await?
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut response = ([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response();
    // A header holds visible ASCII alone.
    let text: String =
        serde_json::to_string(&verdict).unwrap_or_default().chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(VERDICT, value);
    }
    Ok(response)
}

fn covered(mut frame: Frame, how: &Cover, style: crate::vision::cover::Style) -> Result<Vec<u8>, PictureError> {
    cover(&mut frame, areas(how), style);
    picture::encode_jpeg(&frame, JPEG_QUALITY)
}

fn bad_picture(error: PictureError) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, error.to_string())
}

/// Work that takes milliseconds of a core, on a thread that may.
async fn off_task<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Judges a message by the room's text policy.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/messages", operation_id = "judge_message", tag = "content", params(("room" = String, Path)),
    request_body = NewMessage, responses((status = 200, body = MessageVerdict), BadBody, Missing, Problems)
)]
async fn message(State(app): App, Path(room): Path<String>, Json(new): Json<NewMessage>) -> Result<Json<MessageVerdict>, Problem> {
    let room = room_of(&app, &room)?;
    let message = chat::Message { text: new.text, author: new.author, reply_to: new.reply_to, mentions: new.mentions };
    let passed = chat::judge(&room, &message).await;
    let finding = |(finding, place): &(crate::plugin::types::Finding, std::ops::Range<usize>)| FindingView {
        category: finding.category.as_str().to_owned(),
        severity: finding.severity,
        confidence: finding.confidence,
        reason: finding.reason.clone(),
        start: place.start,
        end: place.end,
    };
    Ok(Json(MessageVerdict {
        id: passed.id,
        flagged: passed.flagged,
        judged: passed.judged,
        findings: passed.findings.iter().map(finding).collect(),
        masked: passed.masked,
        fault: passed.fault,
    }))
}

/// Reports a detection as right or wrong. Journalled before it is answered; the same event counts once.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/feedback", operation_id = "report_detection", tag = "content", params(("room" = String, Path)),
    request_body = NewFeedback, responses((status = 200, body = FeedbackView), BadBody, Missing, Conflicts, Problems)
)]
async fn report(
    State(app): App,
    Extension(caller): Extension<Caller>,
    Path(room): Path<String>,
    Json(new): Json<NewFeedback>,
) -> Result<Json<FeedbackView>, Problem> {
    let room = room_of(&app, &room)?;
    let learned = feedback::report(&room, new.event_id, new.correct, &caller.name).await?;
    let changed = learned.changed.iter().map(ThresholdView::from).collect();
    Ok(Json(FeedbackView { counted: learned.counted, changed, pending: learned.pending }))
}

/// The room's events: a page of them, or, with `Accept: text/event-stream`, all that come from now on (and, with `Last-Event-ID` or
/// `after`, those missed).
#[utoipa::path(
    get, path = "/v1/rooms/{room}/events", operation_id = "list_events", tag = "content",
    params(("room" = String, Path), EventQuery, ("Last-Event-ID" = Option<i64>, Header)),
    responses((status = 200, content((EventPage = "application/json"), (String = "text/event-stream"))), Unreadable, Missing, Problems)
)]
async fn events(
    State(app): App,
    Path(room): Path<String>,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let room = room_of(&app, &room)?;
    if !(0..=AFTER_MAX).contains(&query.after) || query.limit == 0 || query.limit > 1000 {
        return Err(Problem::new(StatusCode::BAD_REQUEST, format!("give `after` from 0 to {AFTER_MAX} and `limit` from 1 to 1000")));
    }
    let last = last_event(&headers)?;
    if headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|accept| accept.contains("text/event-stream")) {
        let after = last.or((query.after > 0).then_some(query.after));
        return Ok(Sse::new(live_events(app, room, after).await?).keep_alive(sse::KeepAlive::default()).into_response());
    }
    let page = room.events.page(query.after, query.limit as usize, &app.shared.store).await?;
    let next = page.last().map_or(query.after, |event| event.seq);
    let now = app.shared.clock.unix_us();
    Ok(Json(EventPage { events: page.iter().map(|event| EventView::of(event, now)).collect(), next }).into_response())
}

/// The last event that a caller of before has heard.
fn last_event(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|number| (0..=AFTER_MAX).contains(number));
    number
        .map(Some)
        .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "Last-Event-ID is no event's number: give the `id` of the last one heard"))
}

struct Tail {
    room: Arc<Room>,
    missed: std::collections::VecDeque<Arc<EventRow>>,
    live: broadcast::Receiver<Arc<EventRow>>,
    last: i64,
    drains: tokio::sync::watch::Receiver<bool>,
}

async fn live_events(
    app: Arc<Service>,
    room: Arc<Room>,
    after: Option<i64>,
) -> Result<impl Stream<Item = Result<sse::Event, Infallible>>, Problem> {
    let newest = room.events.last();
    // Subscribed first, so that nothing falls between what was missed and what comes; numbers tell doubles.
    let live = room.events.subscribe();
    let missed = match after {
        Some(after) => room.events.page(after, 10_000, &app.shared.store).await?.into(),
        None => std::collections::VecDeque::new(),
    };
    let tail = Tail { room, missed, live, last: after.unwrap_or(newest), drains: app.drains() };
    Ok(stream::unfold(tail, |mut tail| async move {
        loop {
            let event = match tail.missed.pop_front() {
                Some(event) => event,
                None => tokio::select! {
                    received = tail.live.recv() => match received {
                        Ok(event) => event,
                        // Too slow for the channel: what it lost is in memory or in the store. Without the store the connection ends,
                        // and whoever comes back with its last number misses nothing.
                        Err(broadcast::error::RecvError::Lagged(_)) => {
                            tail.missed = tail.room.events.page(tail.last, 10_000, &tail.room.shared.store).await.ok()?.into();
                            continue;
                        }
                        Err(broadcast::error::RecvError::Closed) => return None,
                    },
                    _ = drained(&mut tail.drains) => return None,
                },
            };
            if event.seq <= tail.last {
                continue;
            }
            tail.last = event.seq;
            let told = sse::Event::default().id(event.seq.to_string()).event(&event.kind);
            let told = told.json_data(EventView::of(&event, tail.room.shared.clock.unix_us())).unwrap_or_default();
            return Some((Ok(told), tail));
        }
    }))
}

async fn drained(drains: &mut tokio::sync::watch::Receiver<bool>) {
    // A service that is gone drains no more.
    let _ = drains.wait_for(|draining| *draining).await;
}

/// Starts recording what the room's policies are asked and decide. Off by default: a recording holds thumbnails and texts.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/recordings", operation_id = "start_recording", tag = "recordings", params(("room" = String, Path)),
    responses((status = 201, body = RecordingView), Missing, Conflicts, Problems)
)]
async fn start_recording(
    State(app): App,
    Extension(caller): Extension<Caller>,
    Path(room): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = recording::start(&room_of(&app, &room)?, &caller.name).await?;
    Ok((StatusCode::CREATED, Json(RecordingView { id, running: true, bytes: 0, dropped: 0 })))
}

/// Stops the recording.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/recordings/stop", operation_id = "stop_recording", tag = "recordings", params(("room" = String, Path)),
    responses((status = 200, body = RecordingView), Missing, Conflicts, Problems)
)]
async fn stop_recording(
    State(app): App,
    Extension(caller): Extension<Caller>,
    Path(room): Path<String>,
) -> Result<Json<RecordingView>, Problem> {
    let recorded = recording::stop(&room_of(&app, &room)?, &caller.name).await?;
    Ok(Json(RecordingView { id: recorded.id, running: false, bytes: recorded.bytes, dropped: recorded.dropped }))
}

/// A whole recording, for `scrim plugin test --replay`.
#[utoipa::path(
    get, path = "/v1/rooms/{room}/recordings/{id}", operation_id = "get_recording", tag = "recordings",
    params(("room" = String, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = inline(Binary), content_type = "application/octet-stream"), Missing, Conflicts, Problems)
)]
async fn recorded(
    State(app): App,
    Extension(caller): Extension<Caller>,
    Path((room, id)): Path<(String, Uuid)>,
) -> Result<impl IntoResponse, Problem> {
    let bytes = recording::fetch(&*room_of(&app, &room)?, id, &caller.name).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes))
}
