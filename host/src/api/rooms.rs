//! `/v1/rooms`: rooms, their sessions, and what they have learned.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{IfMatch, Json, Path, Query, etag};
use super::problem::{BadBody, Conflicts, Missing, Problem, Problems, Stale, Unreadable};
use super::view::{HourView, NewRoom, ReportView, RoomChanges, RoomView, RoomsQuery, SessionView, ThresholdView};
use super::{App, Groups};

/// Sessions listed at most.
const SESSIONS_MAX: u32 = 200;

pub fn routes(groups: &mut Groups) {
    groups.viewer(OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(sessions)).routes(routes!(report)));
    groups.operator(OpenApiRouter::new().routes(routes!(patch)).routes(routes!(start)).routes(routes!(stop)));
    groups.admin(OpenApiRouter::new().routes(routes!(create)).routes(routes!(delete)));
}

/// Every room, or those that are live, or those that are not.
#[utoipa::path(
    get, path = "/v1/rooms", operation_id = "list_rooms", tag = "rooms", params(RoomsQuery),
    responses((status = 200, body = Vec<RoomView>), Unreadable, Problems)
)]
async fn list(State(app): App, Query(query): Query<RoomsQuery>) -> Json<Vec<RoomView>> {
    let rooms = app.all().into_iter().filter(|room| query.live.is_none_or(|live| room.live().is_some() == live));
    Json(rooms.map(|room| RoomView::of(&room)).collect())
}

/// Makes a room.
#[utoipa::path(
    post, path = "/v1/rooms", operation_id = "create_room", tag = "rooms", request_body = NewRoom,
    responses((status = 201, body = RoomView, headers(("etag" = String))), BadBody, Conflicts, Problems)
)]
async fn create(State(app): App, Json(new): Json<NewRoom>) -> Result<impl IntoResponse, Problem> {
    let room = app.create_room(&new.name, new.settings).await?;
    let view = RoomView::of(&room);
    Ok((StatusCode::CREATED, etag(view.revision), Json(view)))
}

/// One room.
#[utoipa::path(
    get, path = "/v1/rooms/{room}", operation_id = "get_room", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = RoomView, headers(("etag" = String))), Missing, Problems)
)]
async fn get(State(app): App, Path(room): Path<String>) -> Result<impl IntoResponse, Problem> {
    let view = RoomView::of(&*app.room(&room)?);
    Ok((etag(view.revision), Json(view)))
}

/// Changes a room's settings (JSON merge patch): what is null goes back to the host's, what is absent stays. Binds the frames captured
/// from then on.
#[utoipa::path(
    patch, path = "/v1/rooms/{room}", operation_id = "change_room", tag = "rooms", request_body = RoomChanges,
    params(("room" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = RoomView, headers(("etag" = String))), Stale, BadBody, Missing, Conflicts, Problems)
)]
async fn patch(
    State(app): App,
    Path(room): Path<String>,
    IfMatch(revision): IfMatch,
    Json(changes): Json<RoomChanges>,
) -> Result<impl IntoResponse, Problem> {
    let room = app.room(&room)?;
    app.change_room(&room, &changes.0, revision).await?;
    let view = RoomView::of(&room);
    Ok((etag(view.revision), Json(view)))
}

/// Ends what is live in the room, and takes nothing new until it is started again. Kept over a restart. A room that is stopped stays so.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/stream/stop", operation_id = "stop_room", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = RoomView, headers(("etag" = String))), Missing, Problems)
)]
async fn stop(State(app): App, Path(room): Path<String>) -> Result<impl IntoResponse, Problem> {
    stopped(&app, &room, true).await
}

/// Takes streams again in a room that was stopped.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/stream/start", operation_id = "start_room", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = RoomView, headers(("etag" = String))), Missing, Problems)
)]
async fn start(State(app): App, Path(room): Path<String>) -> Result<impl IntoResponse, Problem> {
    stopped(&app, &room, false).await
}

async fn stopped(app: &Arc<crate::serve::Service>, room: &str, stopped: bool) -> Result<impl IntoResponse + use<>, Problem> {
    let room = app.room(room)?;
    app.stop_room(&room, stopped).await?;
    let view = RoomView::of(&room);
    Ok((etag(view.revision), Json(view)))
}

/// Deletes a room with all that was kept of it. Refused while it is live.
#[utoipa::path(
    delete, path = "/v1/rooms/{room}", operation_id = "delete_room", tag = "rooms",
    params(("room" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "Deleted."), Stale, Missing, Conflicts, Problems)
)]
async fn delete(State(app): App, Path(room): Path<String>, IfMatch(revision): IfMatch) -> Result<StatusCode, Problem> {
    app.delete_room(&room, revision).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The room's live stretches, the newest first.
#[utoipa::path(
    get, path = "/v1/rooms/{room}/sessions", operation_id = "list_sessions", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = Vec<SessionView>), Missing, Problems)
)]
async fn sessions(State(app): App, Path(room): Path<String>) -> Result<Json<Vec<SessionView>>, Problem> {
    let room = app.room(&room)?;
    let rows = app.shared.store.sessions(&room.name, SESSIONS_MAX).await?;
    Ok(Json(SessionView::of(&room, rows)))
}

/// What the room has learned from reports, and what that changed in the last hour: the detections since are judged once more, by the threshold
/// policy as it is and as it would be without reports. Takes up to a few seconds.
#[utoipa::path(
    get, path = "/v1/rooms/{room}/report", operation_id = "get_report", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = ReportView), Missing, Problems)
)]
async fn report(State(app): App, Path(room): Path<String>) -> Result<Json<ReportView>, Problem> {
    let room = app.room(&room)?;
    let store = &app.shared.store;
    let (reports, sessions) = (store.feedback_count(&room.name).await?, store.sessions(&room.name, SESSIONS_MAX).await?);
    let now = room.policies_if_warm().map(|policies| policies.slot(crate::plugin::types::Slot::Threshold).current());
    let thresholds = match now {
        Some(current) => current.to_vec(),
        None => store.thresholds(&room.name).await?,
    };
    let (labels, hour) = HourView::of(crate::serve::learned::learned(&room, &thresholds).await?);
    let thresholds = thresholds.iter().map(ThresholdView::from).collect();
    Ok(Json(ReportView { room: room.name.to_string(), reports, thresholds, labels, hour, sessions: SessionView::of(&room, sessions) }))
}

/// A room for other handlers.
pub fn room_of(app: &Arc<crate::serve::Service>, name: &str) -> Result<Arc<crate::serve::room::Room>, Problem> {
    Ok(app.room(name)?)
}
