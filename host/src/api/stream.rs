//! `/v1/rooms/{room}/stream`: frames in and covered frames out over a WebSocket (docs/stream.md), and the demo's raw pictures.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{broadcast, watch};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Caller, Role};
use super::extract::{Path, Query};
use super::problem::{Conflicts, Missing, Problem, Problems, Unreadable};
use super::rooms::room_of;
use super::view::{StreamQuery, WantName};
use super::{App, Groups};
use crate::media::picture::Limits;
use crate::media::wire::{self, Control, Format, PublisherControl};
use crate::serve::room::Room;
use crate::serve::stream::{Offered, Origin, Shown, Stream, Way};

/// How often the other side is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Without a word for so long a connection is cut.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long the other side may take to answer a good-bye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// How long a watcher waits for a stream to begin before it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub fn routes(groups: &mut Groups) {
    groups.viewer(OpenApiRouter::new().routes(routes!(stream)).routes(routes!(raw)));
}

/// Publishes frames into the room, or with `watch=true` watches it, over a WebSocket.
#[utoipa::path(
    get, path = "/v1/rooms/{room}/stream", operation_id = "open_stream", tag = "stream", params(("room" = String, Path), StreamQuery),
    responses(
        (status = 101, description = "The connection is a WebSocket; docs/stream.md has its messages."),
        (status = 426, description = "This is no WebSocket.", body = Problem, content_type = "application/problem+json"),
        Unreadable, Missing, Conflicts, Problems
    )
)]
async fn stream(
    State(app): App,
    Extension(caller): Extension<Caller>,
    Path(room): Path<String>,
    Query(query): Query<StreamQuery>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let room = room_of(&app, &room)?;
    let upgrade = checked(upgrade)?;
    let want = format_of(query.want);
    let drains = app.drains();
    if query.watch {
        return Ok(upgrade.on_upgrade(move |socket| watch(socket, room, want, drains)));
    }
    if caller.role < Role::Publisher {
        return Err(Problem::new(StatusCode::FORBIDDEN, "publishing takes the role publisher; a viewer may connect with ?watch=true"));
    }
    let stream = app.publish(&room, Origin::camera(Way::Socket, &caller.name)).await?;
    let max = wire::message_bytes_max(Limits::default());
    let (gone, source) = (stream.clone(), caller.name.clone());
    // An upgrade that fails leaves the place to somebody else.
    let upgrade = upgrade.max_message_size(max).max_frame_size(max).on_failed_upgrade(move |error| {
        tracing::info!(%error, %source, "upgrade failed");
        gone.detach();
    });
    Ok(upgrade.on_upgrade(move |socket| publish(socket, room, stream, want)))
}

/// The uncovered pictures of the demo's clip; of no other room.
#[utoipa::path(
    get, path = "/v1/demo/raw", operation_id = "watch_demo_raw", tag = "stream",
    responses(
        (status = 101, description = "The connection is a WebSocket."),
        (status = 426, description = "This is no WebSocket.", body = Problem, content_type = "application/problem+json"),
        Missing, Problems
    )
)]
async fn raw(
    State(app): App,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let demo = app.demo_room();
    let room = demo.and_then(|name| app.room(&name).ok());
    let room = room.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "this host shows no demo: raw pictures are watched nowhere else"))?;
    let upgrade = checked(upgrade)?;
    let drains = app.drains();
    Ok(upgrade.on_upgrade(move |socket| async move {
        let (mut out, _in) = socket.split();
        while !*drains.borrow() {
            let Some(mut frames) = room.live().and_then(|live| live.watch_raw()) else {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            };
            loop {
                match frames.recv().await {
                    Ok(shown) => {
                        if out.send(Message::Binary(shown.message(Format::Jpeg).clone())).await.is_err() {
                            return;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => break,
                }
            }
        }
    }))
}

fn checked(
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Result<WebSocketUpgrade, Problem> {
    let upgrade =
        upgrade.map_err(|rejection| Problem::new(StatusCode::UPGRADE_REQUIRED, format!("open this as a WebSocket: {rejection}")))?;
    // A browser that sent its key as a subprotocol must be answered with one.
    Ok(upgrade.protocols(["scrim"]))
}

fn format_of(want: WantName) -> Option<Format> {
    match want {
        WantName::Jpeg => Some(Format::Jpeg),
        WantName::I420 => Some(Format::I420),
        WantName::None => None,
    }
}

type Out = SplitSink<WebSocket, Message>;

async fn hello(out: &mut Out, room: &Room, stream: &Stream) -> Result<(), axum::Error> {
    let hello = Control::Hello {
        version: wire::VERSION,
        room: room.name.to_string(),
        session: stream.session.to_string(),
        delay_ms: u64::from(room.settled().config.delay().0),
        resume: stream.last_sequence(),
    };
    out.send(Message::Text(hello.to_text().into())).await
}

async fn publish(socket: WebSocket, room: Arc<Room>, stream: Arc<Stream>, want: Option<Format>) {
    let (mut out, incoming) = socket.split();
    let (tell_want, wants) = watch::channel(want);
    let ended = match hello(&mut out, &room, &stream).await {
        Ok(()) => {
            let mut writing = tokio::spawn(write(out, stream.clone(), wants));
            let mut reading = std::pin::pin!(read(incoming, &stream, &tell_want));
            let ended = tokio::select! {
                ended = &mut reading => ended,
                // Unread messages would make the system take back what was sent last: they are read until the other side closes too.
                _ = &mut writing => match tokio::time::timeout(GOODBYE_MAX, reading).await {
                    Ok(ended) => ended,
                    Err(_) => Ended::Cut,
                },
            };
            writing.abort();
            ended
        }
        Err(_) => Ended::Cut,
    };
    match ended {
        Ended::Closed => {
            stream.detach();
            stream.finish("the publisher left");
        }
        Ended::Cut => stream.detach(),
    }
}

/// How a publisher's connection ended.
enum Ended {
    /// It said good-bye.
    Closed,
    /// It is gone, and may come back.
    Cut,
}

async fn read(mut incoming: SplitStream<WebSocket>, stream: &Stream, want: &watch::Sender<Option<Format>>) -> Ended {
    loop {
        let message = match tokio::time::timeout(SILENCE_MAX, incoming.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(_)) | None) | Err(_) => return Ended::Cut,
        };
        match message {
            // After the end the line is still shown; what comes then is for nobody.
            Message::Binary(_) if stream.has_ended() => {}
            Message::Binary(bytes) => stream.offer(Offered::Message(bytes)),
            Message::Text(text) => match wire::parse_publisher_control(&text) {
                Ok(PublisherControl::Hello { want: wanted, .. }) => _ = want.send_replace(wanted.format()),
                Err(error) => stream.refuse(error.to_string()),
            },
            Message::Close(_) => return Ended::Closed,
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}

/// Covered frames, what is told, and a ping now and then, until the connection or the stream is over.
async fn write(mut out: Out, stream: Arc<Stream>, mut wants: watch::Receiver<Option<Format>>) {
    let mut controls = stream.controls();
    let (mut want, mut missed) = (*wants.borrow_and_update(), 0);
    let (mut frames, mut ticket) = stream.watch(want);
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
    loop {
        let sent = tokio::select! {
            shown = frames.recv() => match shown {
                Ok(shown) => send_shown(&mut out, &shown, want).await,
                Err(broadcast::error::RecvError::Lagged(count)) => lagged(&mut out, &stream, count, &mut missed).await,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Ok(()) = wants.changed() => {
                want = *wants.borrow_and_update();
                (frames, ticket) = stream.watch(want);
                Ok(())
            }
            Ok(control) = controls.recv() => {
                let ends = matches!(control, Control::Bye { .. });
                let told = out.send(Message::Text(control.to_text().into())).await;
                if ends {
                    // What is in the delay line is still shown before the connection closes.
                    let _ = rest(&mut out, &stream, &mut frames, want).await;
                    let close = CloseFrame { code: close_code::NORMAL, reason: "the stream is over".into() };
                    // The other side may be gone already.
                    let _ = out.send(Message::Close(Some(close))).await;
                    return;
                }
                told
            }
            _ = ping.tick() => out.send(Message::Ping(bytes::Bytes::new())).await,
        };
        if sent.is_err() {
            break;
        }
    }
    drop(ticket);
}

/// What is shown until the stream is over.
async fn rest(
    out: &mut Out,
    stream: &Stream,
    frames: &mut broadcast::Receiver<Arc<Shown>>,
    want: Option<Format>,
) -> Result<(), axum::Error> {
    loop {
        tokio::select! {
            shown = frames.recv() => match shown {
                Ok(shown) => send_shown(out, &shown, want).await?,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            () = stream.over() => break,
        }
    }
    loop {
        match frames.try_recv() {
            Ok(shown) => send_shown(out, &shown, want).await?,
            Err(broadcast::error::TryRecvError::Lagged(_)) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// Tells a viewer that it was too slow for so many frames.
async fn lagged(out: &mut Out, stream: &Stream, count: u64, missed: &mut u64) -> Result<(), axum::Error> {
    *missed += count;
    stream.behind(count);
    let lost = Control::Dropped { count, total: *missed, reason: "viewer".to_owned() };
    out.send(Message::Text(lost.to_text().into())).await
}

async fn send_shown(out: &mut Out, shown: &Shown, want: Option<Format>) -> Result<(), axum::Error> {
    let Some(format) = want else {
        let text =
            serde_json::json!({ "type": "verdict", "sequence": shown.sequence, "capture_us": shown.capture_us, "verdict": shown.verdict });
        return out.send(Message::Text(text.to_string().into())).await;
    };
    let message = shown.message(format).clone();
    if message.is_empty() { Ok(()) } else { out.send(Message::Binary(message)).await }
}

/// A viewer: whatever stream the room has, one after the other, for as long as it stays.
async fn watch(socket: WebSocket, room: Arc<Room>, want: Option<Format>, mut drains: watch::Receiver<bool>) {
    let (mut out, mut incoming) = socket.split();
    let mut ping = tokio::time::interval(PING_EVERY);
    loop {
        let Some(stream) = room.live() else {
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                heard = incoming.next() => if !matches!(heard, Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Binary(_)))) { return },
                () = drained(&mut drains) => return,
                _ = ping.tick() => if out.send(Message::Ping(bytes::Bytes::new())).await.is_err() { return },
            }
            continue;
        };
        let ((mut frames, _ticket), mut missed) = (stream.watch(want), 0);
        if hello(&mut out, &room, &stream).await.is_err() {
            return;
        }
        loop {
            let sent = tokio::select! {
                shown = frames.recv() => match shown {
                    Ok(shown) => send_shown(&mut out, &shown, want).await,
                    Err(broadcast::error::RecvError::Lagged(count)) => lagged(&mut out, &stream, count, &mut missed).await,
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                heard = incoming.next() => match heard {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => Ok(()),
                },
                _ = ping.tick() => out.send(Message::Ping(bytes::Bytes::new())).await,
                () = stream.over() => {
                    let told = rest(&mut out, &stream, &mut frames, want).await;
                    if told.is_ok() {
                        break;
                    }
                    told
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

async fn drained(drains: &mut watch::Receiver<bool>) {
    // A service that is gone drains no more.
    let _ = drains.wait_for(|draining| *draining).await;
}
