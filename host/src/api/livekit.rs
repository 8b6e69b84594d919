//! LiveKit: tokens for its rooms, who is in them, and what its server tells.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Caller, Gate, Role, Ticket, identify_or_ticket};
use super::extract::{BodyMax, Json, Path, Webhook};
use super::problem::{BadBody, Conflicts, FaultView, Hasty, Missing, Problem, Problems};
use super::rooms::room_of;
use super::view::{AudienceView, Binary, HeardView, MUTES_MAX, NewJudged, NewMute, NewPost, NewToken, PostedView, TokenRole, TokenView};
use super::{App, Groups};
use crate::media::frame::Micros;
use crate::serve::Service;
use crate::serve::livekit::dispatch::Whereabouts;
use crate::serve::livekit::token::Badge;
use crate::serve::livekit::webhook::{BODY_MAX, Heard};
use crate::serve::livekit::{LiveKit, meter};

/// Where the server tells what happens. Its signature stands for a key.
pub const WEBHOOK: &str = "/livekit/webhook";
/// A judge's clock may be ahead of the host's by this much.
const AHEAD_MAX: Micros = Micros::from_millis(1000);

pub fn routes(groups: &mut Groups) {
    // What a token takes depends on whom it is for.
    groups.viewer(OpenApiRouter::new().routes(routes!(token)).routes(routes!(audience)));
    groups.operator(OpenApiRouter::new().routes(routes!(mute)).routes(routes!(judged)));
}

/// Takes a key, or a viewer's LiveKit token in its place.
pub fn chat(gate: &Arc<Gate>) -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(post)).route_layer(from_fn_with_state((gate.clone(), Role::Publisher), identify_or_ticket))
}

/// Needs no key.
pub fn open() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(webhook)).layer(Extension(BodyMax(BODY_MAX)))
}

fn livekit(app: &Service) -> Result<Arc<LiveKit>, Problem> {
    app.livekit().ok_or_else(|| {
        let detail = "no LiveKit server is configured: set livekit.url (or LIVEKIT_URL), LIVEKIT_API_KEY and LIVEKIT_API_SECRET";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })
}

/// Makes a token to join the room over LiveKit. For a viewer it takes a key with the role viewer, for a broadcaster publisher, for a moderator
/// operator.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/tokens", operation_id = "create_token", tag = "livekit", params(("room" = String, Path)),
    request_body = NewToken, responses((status = 201, body = TokenView), BadBody, Missing, Conflicts, Problems)
)]
async fn token(
    State(app): App,
    Extension(caller): Extension<Caller>,
    Path(room): Path<String>,
    Json(new): Json<NewToken>,
) -> Result<impl IntoResponse, Problem> {
    let needs = match new.role {
        TokenRole::Viewer => Role::Viewer,
        TokenRole::Broadcaster => Role::Publisher,
        TokenRole::Moderator => Role::Operator,
    };
    if caller.role < needs {
        let (needs, has) = (needs.as_str(), caller.role.as_str());
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("a token with this role takes a key with the role {needs}; the key's is {has}"),
        ));
    }
    let room = room_of(&app, &room)?;
    let badge = Badge { name: new.name, attributes: new.attributes };
    let admission = livekit(&app)?.token(&app, &room, badge, new.role.into()).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(TokenView::from(admission))))
}

/// How many are in the room over LiveKit: told by its webhooks, set right every second.
#[utoipa::path(
    get, path = "/v1/rooms/{room}/audience", operation_id = "get_audience", tag = "livekit", params(("room" = String, Path)),
    responses((status = 200, body = AudienceView), Missing, Problems)
)]
async fn audience(State(app): App, Path(room): Path<String>) -> Result<Json<AudienceView>, Problem> {
    let room = room_of(&app, &room)?;
    let livekit = livekit(&app)?;
    Ok(Json(AudienceView::new(livekit.audience(&room.name), livekit.whereabouts(&room.name))))
}

/// Mutes a broadcaster's sound between two moments. Viewers are the room's delay behind: what was said up to so long ago is still muted.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/mute", operation_id = "mute", tag = "livekit", params(("room" = String, Path)), request_body = NewMute,
    responses((status = 204, description = "Muted."), BadBody, Missing, Conflicts, Problems)
)]
async fn mute(State(app): App, Path(room): Path<String>, Json(mute): Json<NewMute>) -> Result<StatusCode, Problem> {
    let room = room_of(&app, &room)?;
    let NewMute { identity, from, to } = mute;
    if to <= from {
        return Err(Problem::new(StatusCode::CONFLICT, "`to` is not after `from`: give a span that ends after it begins"));
    }
    let livekit = livekit(&app)?;
    if !livekit.mute(&room, &identity, at(from), at(to)) {
        return Err(unheard(&livekit, &room.name, &identity));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Says something to the room's viewers, as its text policy lets it: as it is, masked word by word, or not at all. It takes a key with the role
/// publisher, and `author` then says who writes; or the LiveKit token of somebody who is in the viewers' room, as a bearer token.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/chat", operation_id = "post_chat", tag = "livekit", params(("room" = String, Path)), request_body = NewPost,
    responses((status = 200, body = PostedView), BadBody, Missing, Conflicts, Hasty, Problems)
)]
async fn post(
    State(app): App,
    caller: Option<Extension<Caller>>,
    ticket: Option<Extension<Ticket>>,
    Path(room): Path<String>,
    Json(new): Json<NewPost>,
) -> Result<Json<PostedView>, Problem> {
    let room = room_of(&app, &room)?;
    let livekit = livekit(&app)?;
    let wrong = |message: &str| {
        let faults = vec![FaultView { path: "author".to_owned(), message: message.to_owned() }];
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, message).with_faults(faults)
    };
    let posted = match (ticket, caller, new.author) {
        (Some(_), _, Some(_)) => return Err(wrong("the token says who writes: leave `author` out")),
        (Some(Extension(Ticket(token))), _, None) => livekit.post_with(&room, &token, new.text).await?,
        (None, Some(Extension(caller)), Some(author)) => livekit.post_as(&room, &caller.name, &author, new.text).await?,
        (None, _, _) => return Err(wrong("with a key, `author` has to say who writes: give the name that viewers are to see")),
    };
    Ok(Json(posted.into()))
}

/// Hears a judge of sound: it has heard all of a broadcaster's sound until a moment, and wants these spans of it muted. In a room whose `sound` is
/// `judged`, sound leaves only as far as that; a judge is late when it has not said so within the room's delay. Saying less than before takes nothing back.
#[utoipa::path(
    post, path = "/v1/rooms/{room}/judged", operation_id = "judged", tag = "livekit", params(("room" = String, Path)),
    request_body = NewJudged, responses((status = 204, description = "Heard."), BadBody, Missing, Conflicts, Problems)
)]
async fn judged(State(app): App, Path(room): Path<String>, Json(judged): Json<NewJudged>) -> Result<StatusCode, Problem> {
    let room = room_of(&app, &room)?;
    let NewJudged { identity, until, mutes } = judged;
    if let Some(index) = mutes.iter().position(|span| span.to <= span.from) {
        let detail = format!("`mutes[{index}].to` is not after its `from`: give spans that end after they begin");
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    if mutes.len() > MUTES_MAX {
        let detail = format!("{} mutes at once: give at most {MUTES_MAX}", mutes.len());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let now = app.shared.clock.now();
    if at(until) > now + AHEAD_MAX {
        let detail =
            format!("`until` is {} ms after now, {}, by the host's clock: nobody has heard that yet", (at(until).0 - now.0) / 1000, now.0);
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let mutes: Vec<_> = mutes.iter().map(|span| (at(span.from), at(span.to))).collect();
    let livekit = livekit(&app)?;
    if !livekit.judged(&room, &identity, at(until), &mutes) {
        return Err(unheard(&livekit, &room.name, &identity));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A time as the store keeps it, on the host's clock.
fn at(us: i64) -> Micros {
    Micros(u64::try_from(us).unwrap_or(0))
}

fn unheard(livekit: &LiveKit, room: &str, identity: &str) -> Problem {
    let hint = if livekit.whereabouts(room) == Whereabouts::Elsewhere { ": another host has it, ask that one" } else { "" };
    Problem::new(StatusCode::NOT_FOUND, format!("no broadcaster {identity:?} is heard in the room{hint}"))
}

/// Hears what happens in the LiveKit server's rooms. The server signs what it tells, with its `webhook.api_key`, which has to be
/// `LIVEKIT_API_KEY`; it needs no other key. It reaches the host by a name of its own choice, which has to be among `serve.allowed_hosts`.
#[utoipa::path(
    post, path = "/livekit/webhook", operation_id = "hear_livekit", tag = "livekit",
    request_body(content((inline(Binary) = "application/webhook+json"), (inline(Binary) = "application/json"))),
    responses((status = 200, body = HeardView), BadBody, Problems)
)]
async fn webhook(State(app): App, headers: HeaderMap, Webhook(body): Webhook) -> Result<Json<HeardView>, Problem> {
    let livekit = livekit(&app)?;
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or("(not text)"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let heard = livekit.webhooks.hear(&body, authorization, i64::try_from(now).unwrap_or(i64::MAX));
    let outcome = match &heard {
        Ok(Heard::News(_)) => "heard",
        Ok(Heard::Again) => "again",
        Err(_) => "refused",
    };
    metrics::counter!(meter::WEBHOOKS, "outcome" => outcome).increment(1);
    match heard.inspect_err(|error| tracing::warn!(%error, "a webhook is refused"))? {
        Heard::News(notice) => {
            livekit.hear(&app, notice).await;
            Ok(Json(HeardView { new: true }))
        }
        Heard::Again => Ok(Json(HeardView { new: false })),
    }
}
