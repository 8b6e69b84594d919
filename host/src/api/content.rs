//! What a room judges and tells over plain requests: pictures, messages, reports, events, recordings.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{self, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::auth::Caller;
use super::extract::{Bytes, Json, Path, Query};
use super::problem::{Problem, Problems};
use super::rooms::room_of;
use super::view::{
    Area, CascadeChoice, DetectionView, EventPage, EventQuery, EventView, FailedView, FeedbackView, FindingView, MessageVerdict,
    NewFeedback, NewMessage, PictureQuery, PictureVerdict, RecordingView, ThresholdView,
};
use super::{App, Groups, LAST_EVENT_ID, VERDICT};
use crate::censor::areas;
use crate::media::frame::{Frame, FrameSeq, Micros};
use crate::media::picture::{self, Limits, PictureError};
use crate::room::source::Cover;
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
    post, path = "/v1/rooms/{room}/frames", tag = "content", params(("room" = String, Path), PictureQuery),
    request_body(content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"))),
    responses((status = 200, content((PictureVerdict = "application/json"), (Vec<u8> = "image/jpeg"))), Problems)
)]
async fn frame(
    State(app): App,
    Path(room): Path<String>,
    Query(query): Query<PictureQuery>,
    Bytes(body): Bytes,
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
    post, path = "/v1/rooms/{room}/messages", tag = "content", params(("room" = String, Path)), request_body = NewMessage,
    responses((status = 200, body = MessageVerdict), Problems)
)]
async fn message(State(app): App, Path(room): Path<String>, Json(new): Json<NewMessage>) -> Result<Json<MessageVerdict>, Problem> {
    let room = room_of(&app, &room)?;
    let too_long =
        |what: &str, max: usize| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{what}: at most {max} characters are taken"));
    if new.text.chars().count() > 10_000 {
        return Err(too_long("text", 10_000));
    }
    if new.author.is_empty() || new.author.chars().count() > 256 {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "author: give 1 to 256 characters"));
    }
    if new.reply_to.as_ref().is_some_and(|id| id.chars().count() > 256) {
        return Err(too_long("reply_to", 256));
    }
    if new.mentions.len() > 64 {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "mentions: at most 64 are taken"));
    }
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
    post, path = "/v1/rooms/{room}/feedback", tag = "content", params(("room" = String, Path)), request_body = NewFeedback,
    responses((status = 200, body = FeedbackView), Problems)
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
    get, path = "/v1/rooms/{room}/events", tag = "content",
    params(("room" = String, Path), EventQuery, ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content((EventPage = "application/json"), (String = "text/event-stream"))), Problems)
)]
async fn events(
    State(app): App,
    Path(room): Path<String>,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let room = room_of(&app, &room)?;
    if query.after < 0 || query.limit == 0 || query.limit > 1000 {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "give `after` from 0 and `limit` from 1 to 1000"));
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if text(header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream")) {
        let last = text(LAST_EVENT_ID).and_then(|id| id.parse().ok());
        let after = last.or((query.after > 0).then_some(query.after));
        return Ok(Sse::new(live_events(app, room, after).await?).keep_alive(sse::KeepAlive::default()).into_response());
    }
    let page = room.events.page(query.after, query.limit as usize, &app.shared.store).await?;
    let next = page.last().map_or(query.after, |event| event.seq);
    Ok(Json(EventPage { events: page.iter().map(|event| EventView::from(&**event)).collect(), next }).into_response())
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
            let told = told.json_data(EventView::from(&*event)).unwrap_or_default();
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
    post, path = "/v1/rooms/{room}/recordings", tag = "recordings", params(("room" = String, Path)),
    responses((status = 201, body = RecordingView), Problems)
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
    post, path = "/v1/rooms/{room}/recordings/stop", tag = "recordings", params(("room" = String, Path)),
    responses((status = 200, body = RecordingView), Problems)
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
    get, path = "/v1/rooms/{room}/recordings/{id}", tag = "recordings", params(("room" = String, Path), ("id" = Uuid, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), Problems)
)]
async fn recorded(
    State(app): App,
    Extension(caller): Extension<Caller>,
    Path((room, id)): Path<(String, Uuid)>,
) -> Result<impl IntoResponse, Problem> {
    let bytes = recording::fetch(&*room_of(&app, &room)?, id, &caller.name).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes))
}
