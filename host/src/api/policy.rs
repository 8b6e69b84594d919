//! `/v1/policy` and `/v1/rooms/{room}/policy`: who decides.

use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{IfMatch, Json, Path, etag};
use super::problem::{BadBody, Conflicts, Missing, Problem, Problems, Stale};
use super::view::{NewPolicy, PolicyView, SlotName};
use super::{App, Groups};
use crate::plugin::types::Slot;
use crate::room::policies::Order;

pub fn routes(groups: &mut Groups) {
    groups.viewer(OpenApiRouter::new().routes(routes!(globals)).routes(routes!(list)).routes(routes!(get)));
    groups.operator(
        OpenApiRouter::new()
            .routes(routes!(put))
            .routes(routes!(clear))
            .routes(routes!(shadow))
            .routes(routes!(promote))
            .routes(routes!(discard))
            .routes(routes!(rollback))
            .routes(routes!(kill)),
    );
    groups.admin(OpenApiRouter::new().routes(routes!(put_global)).routes(routes!(clear_global)));
}

/// The choice of rooms that make none, slot by slot.
#[utoipa::path(
    get, path = "/v1/policy", operation_id = "list_global_policies", tag = "policy",
    responses((status = 200, body = Vec<PolicyView>), Problems)
)]
async fn globals(State(app): App) -> Json<Vec<PolicyView>> {
    Json(Slot::ALL.into_iter().map(|slot| PolicyView::of(slot, app.shared.global(slot), None)).collect())
}

/// Sets the choice of rooms that make none; warm ones follow at once.
#[utoipa::path(
    put, path = "/v1/policy/{slot}", operation_id = "set_global_policy", tag = "policy", request_body = NewPolicy,
    params(("slot" = inline(SlotName), Path), ("If-Match" = Option<String>, Header)), responses((status = 200, body = PolicyView, headers(("etag" = String))), Stale, BadBody, Missing, Conflicts, Problems)
)]
async fn put_global(
    State(app): App,
    Path(slot): Path<SlotName>,
    IfMatch(revision): IfMatch,
    Json(new): Json<NewPolicy>,
) -> Result<impl IntoResponse, Problem> {
    let chosen = app.set_global(slot.into(), &new.plugin, &Value::Object(new.config), revision).await?;
    Ok((etag(chosen.revision), Json(PolicyView::of(slot.into(), chosen, None))))
}

/// Goes back to what `scrim.toml` says.
#[utoipa::path(
    delete, path = "/v1/policy/{slot}", operation_id = "clear_global_policy", tag = "policy", params(("slot" = inline(SlotName), Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PolicyView, headers(("etag" = String))), Stale, Missing, Problems)
)]
async fn clear_global(State(app): App, Path(slot): Path<SlotName>, IfMatch(revision): IfMatch) -> Result<impl IntoResponse, Problem> {
    let chosen = app.clear_global(slot.into(), revision).await?;
    Ok((etag(chosen.revision), Json(PolicyView::of(slot.into(), chosen, None))))
}

/// A room's policies: its own choices over the global ones, each with its origin, and what is in force.
#[utoipa::path(
    get, path = "/v1/rooms/{room}/policy", operation_id = "list_policies", tag = "policy", params(("room" = String, Path)),
    responses((status = 200, body = Vec<PolicyView>), Missing, Problems)
)]
async fn list(State(app): App, Path(room): Path<String>) -> Result<Json<Vec<PolicyView>>, Problem> {
    let room = app.room(&room)?;
    Ok(Json(Slot::ALL.into_iter().map(|slot| PolicyView::of(slot, room.chosen(slot), Some(&room))).collect()))
}

/// One slot of a room.
#[utoipa::path(
    get, path = "/v1/rooms/{room}/policy/{slot}", operation_id = "get_policy", tag = "policy", params(("room" = String, Path), ("slot" = inline(SlotName), Path)),
    responses((status = 200, body = PolicyView, headers(("etag" = String))), Missing, Problems)
)]
async fn get(State(app): App, Path((room, slot)): Path<(String, SlotName)>) -> Result<impl IntoResponse, Problem> {
    let room = app.room(&room)?;
    let revision = room.own_revision(slot.into());
    Ok((etag(revision), Json(PolicyView::of(slot.into(), room.chosen(slot.into()), Some(&room)))))
}

/// Swaps the plugin of a slot between two frames. It is compiled, checked and tried first; whatever fails leaves the one in force.
#[utoipa::path(
    put, path = "/v1/rooms/{room}/policy/{slot}", operation_id = "set_policy", tag = "policy", request_body = NewPolicy,
    params(("room" = String, Path), ("slot" = inline(SlotName), Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PolicyView, headers(("etag" = String))), Stale, BadBody, Missing, Conflicts, Problems)
)]
async fn put(
    State(app): App,
    Path((room, slot)): Path<(String, SlotName)>,
    IfMatch(revision): IfMatch,
    Json(new): Json<NewPolicy>,
) -> Result<impl IntoResponse, Problem> {
    let room = app.room(&room)?;
    let chosen = app.set_policy(&room, slot.into(), &new.plugin, &Value::Object(new.config), revision).await?;
    Ok((etag(chosen.revision), Json(PolicyView::of(slot.into(), chosen, Some(&room)))))
}

/// Gives up the room's own choice: the global one, or the file's, comes into force.
#[utoipa::path(
    delete, path = "/v1/rooms/{room}/policy/{slot}", operation_id = "clear_policy", tag = "policy",
    params(("room" = String, Path), ("slot" = inline(SlotName), Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PolicyView, headers(("etag" = String))), Stale, Missing, Conflicts, Problems)
)]
async fn clear(
    State(app): App,
    Path((room, slot)): Path<(String, SlotName)>,
    IfMatch(revision): IfMatch,
) -> Result<impl IntoResponse, Problem> {
    let room = app.room(&room)?;
    let chosen = app.clear_policy(&room, slot.into(), revision).await?;
    let revision = room.own_revision(slot.into());
    Ok((etag(revision), Json(PolicyView::of(slot.into(), chosen, Some(&room)))))
}

/// Lets a plugin see what the one in force sees; its decisions are compared and counted, never used.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/policy/{slot}/shadow", operation_id = "start_shadow", tag = "policy", request_body = NewPolicy,
    params(("room" = String, Path), ("slot" = inline(SlotName), Path)), responses((status = 200, body = PolicyView), BadBody, Missing, Conflicts, Problems)
)]
async fn shadow(
    State(app): App,
    Path((room, slot)): Path<(String, SlotName)>,
    Json(new): Json<NewPolicy>,
) -> Result<Json<PolicyView>, Problem> {
    let room = app.room(&room)?;
    app.shadow(&room, slot.into(), &new.plugin, &Value::Object(new.config)).await?;
    Ok(Json(PolicyView::of(slot.into(), room.chosen(slot.into()), Some(&room))))
}

/// Puts the shadow's plugin in force.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/policy/{slot}/promote", operation_id = "promote_shadow", tag = "policy",
    params(("room" = String, Path), ("slot" = inline(SlotName), Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PolicyView, headers(("etag" = String))), Stale, Missing, Conflicts, Problems)
)]
async fn promote(
    State(app): App,
    Path((room, slot)): Path<(String, SlotName)>,
    IfMatch(revision): IfMatch,
) -> Result<impl IntoResponse, Problem> {
    let room = app.room(&room)?;
    let chosen = app.promote_or_roll_back(&room, slot.into(), Order::Promote, revision).await?;
    Ok((etag(chosen.revision), Json(PolicyView::of(slot.into(), chosen, Some(&room)))))
}

/// Ends the shadow.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/policy/{slot}/discard", operation_id = "discard_shadow", tag = "policy", params(("room" = String, Path), ("slot" = inline(SlotName), Path)),
    responses((status = 200, body = PolicyView), Missing, Conflicts, Problems)
)]
async fn discard(State(app): App, Path((room, slot)): Path<(String, SlotName)>) -> Result<Json<PolicyView>, Problem> {
    let room = app.room(&room)?;
    app.discard(&room, slot.into()).await?;
    Ok(Json(PolicyView::of(slot.into(), room.chosen(slot.into()), Some(&room))))
}

/// Brings the version before back.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/policy/{slot}/rollback", operation_id = "roll_back_policy", tag = "policy",
    params(("room" = String, Path), ("slot" = inline(SlotName), Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = PolicyView, headers(("etag" = String))), Stale, Missing, Conflicts, Problems)
)]
async fn rollback(
    State(app): App,
    Path((room, slot)): Path<(String, SlotName)>,
    IfMatch(revision): IfMatch,
) -> Result<impl IntoResponse, Problem> {
    let room = app.room(&room)?;
    let chosen = app.promote_or_roll_back(&room, slot.into(), Order::RollBack, revision).await?;
    Ok((etag(chosen.revision), Json(PolicyView::of(slot.into(), chosen, Some(&room)))))
}

/// Takes the plugin's instance away, as a trap would: it counts as a fault, the host's default stands in, and the plugin starts again
/// from its last snapshot.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/policy/{slot}/kill", operation_id = "kill_policy", tag = "policy", params(("room" = String, Path), ("slot" = inline(SlotName), Path)),
    responses((status = 200, body = PolicyView), Missing, Problems)
)]
async fn kill(State(app): App, Path((room, slot)): Path<(String, SlotName)>) -> Result<Json<PolicyView>, Problem> {
    let room = app.room(&room)?;
    let policies = room.policies().await;
    policies.slot(slot.into()).kill(policies.moment(app.shared.clock.now()));
    Ok(Json(PolicyView::of(slot.into(), room.chosen(slot.into()), Some(&room))))
}
