//! `/v1/rooms`: rooms, their sessions, and what they have learned.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{IfMatch, Json, Path, etag};
use super::problem::{Problem, Problems};
use super::view::{NewRoom, ReportView, RoomView, SessionView, ThresholdView};
use super::{App, Groups};
use crate::config::RoomSettings;

/// Sessions listed at most.
const SESSIONS_MAX: u32 = 200;

pub fn routes(groups: &mut Groups) {
    groups.viewer(OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(sessions)).routes(routes!(report)));
    groups.operator(OpenApiRouter::new().routes(routes!(patch)));
    groups.admin(OpenApiRouter::new().routes(routes!(create)).routes(routes!(delete)));
}

/// Every room.
#[utoipa::path(get, path = "/v1/rooms", tag = "rooms", responses((status = 200, body = Vec<RoomView>), Problems))]
async fn list(State(app): App) -> Json<Vec<RoomView>> {
    Json(app.all().iter().map(|room| RoomView::of(room)).collect())
}

/// Makes a room.
#[utoipa::path(post, path = "/v1/rooms", tag = "rooms", request_body = NewRoom, responses((status = 201, body = RoomView), Problems))]
async fn create(State(app): App, Json(new): Json<NewRoom>) -> Result<impl IntoResponse, Problem> {
    let room = app.create_room(&new.name, new.settings).await?;
    let view = RoomView::of(&room);
    Ok((StatusCode::CREATED, etag(view.revision), Json(view)))
}

/// One room.
#[utoipa::path(get, path = "/v1/rooms/{room}", tag = "rooms", params(("room" = String, Path)), responses((status = 200, body = RoomView), Problems))]
async fn get(State(app): App, Path(room): Path<String>) -> Result<impl IntoResponse, Problem> {
    let view = RoomView::of(&*app.room(&room)?);
    Ok((etag(view.revision), Json(view)))
}

/// Changes a room's settings (JSON merge patch): what is null goes back to the host's, what is absent stays. Binds the frames captured
/// from then on.
#[utoipa::path(
    patch, path = "/v1/rooms/{room}", tag = "rooms", request_body = RoomSettings,
    params(("room" = String, Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = RoomView), Problems)
)]
async fn patch(
    State(app): App,
    Path(room): Path<String>,
    IfMatch(revision): IfMatch,
    Json(changes): Json<serde_json::Map<String, serde_json::Value>>,
) -> Result<impl IntoResponse, Problem> {
    let room = app.room(&room)?;
    app.change_room(&room, |before| merged(before, changes), revision).await?;
    let view = RoomView::of(&room);
    Ok((etag(view.revision), Json(view)))
}

fn merged(before: &RoomSettings, changes: serde_json::Map<String, serde_json::Value>) -> Result<RoomSettings, Problem> {
    let unusable =
        |error: serde_json::Error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the settings cannot be read: {error}"));
    let mut settings = serde_json::to_value(before).map_err(unusable)?;
    for (key, value) in changes {
        settings[key] = value;
    }
    serde_json::from_value(settings).map_err(unusable)
}

/// Deletes a room with all that was kept of it. Refused while it is live.
#[utoipa::path(
    delete, path = "/v1/rooms/{room}", tag = "rooms", params(("room" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), Problems)
)]
async fn delete(State(app): App, Path(room): Path<String>, IfMatch(revision): IfMatch) -> Result<StatusCode, Problem> {
    app.delete_room(&room, revision).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The room's live stretches, the newest first.
#[utoipa::path(
    get, path = "/v1/rooms/{room}/sessions", tag = "rooms", params(("room" = String, Path)),
    responses((status = 200, body = Vec<SessionView>), Problems)
)]
async fn sessions(State(app): App, Path(room): Path<String>) -> Result<Json<Vec<SessionView>>, Problem> {
    let room = app.room(&room)?;
    let rows = app.shared.store.sessions(&room.name, SESSIONS_MAX).await?;
    Ok(Json(rows.into_iter().map(SessionView::from).collect()))
}

/// What the room has learned from reports.
#[utoipa::path(
    get, path = "/v1/rooms/{room}/report", tag = "rooms", params(("room" = String, Path)), responses((status = 200, body = ReportView), Problems)
)]
async fn report(State(app): App, Path(room): Path<String>) -> Result<Json<ReportView>, Problem> {
    let room = app.room(&room)?;
    let store = &app.shared.store;
    let (reports, sessions) = (store.feedback_count(&room.name).await?, store.sessions(&room.name, SESSIONS_MAX).await?);
    let now = room.policies_if_warm().map(|policies| policies.slot(crate::plugin::types::Slot::Threshold).current());
    let thresholds = match now {
        Some(current) => current.iter().map(ThresholdView::from).collect(),
        None => store.thresholds(&room.name).await?.iter().map(ThresholdView::from).collect(),
    };
    Ok(Json(ReportView {
        room: room.name.to_string(),
        reports,
        thresholds,
        sessions: sessions.into_iter().map(SessionView::from).collect(),
    }))
}

/// A room for other handlers.
pub fn room_of(app: &Arc<crate::serve::Service>, name: &str) -> Result<Arc<crate::serve::room::Room>, Problem> {
    Ok(app.room(name)?)
}
