//! The pages `/broadcast` and `/watch`, LiveKit's browser client out of the folder of fetched files, and the clip that machines without a
//! camera send. The pages may reach the configured LiveKit server, and nothing else beyond the host.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use scrim_toolchain::assets::{self, LIVEKIT_CLIENT, LIVEKIT_FETCH};
use utoipa_axum::router::OpenApiRouter;

use super::{CSS, HTML, JAVASCRIPT, file, guarded};
use crate::api::App;
use crate::api::problem::Problem;
use crate::config::ServerUrl;
use crate::serve::Service;

const BROADCAST: &str = include_str!("livekit/broadcast.html");
const WATCH: &str = include_str!("livekit/watch.html");
const BROADCAST_SCRIPT: &str = include_str!("livekit/broadcast.js");
const WATCH_SCRIPT: &str = include_str!("livekit/watch.js");
const ROOMS: &str = include_str!("livekit/rooms.js");
const CHAT: &str = include_str!("livekit/chat.js");
const TILES: &str = include_str!("livekit/tiles.js");
const STYLE: &str = include_str!("livekit/page.css");

pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .route("/broadcast", get(async |State(app): App| page(&app, BROADCAST)))
        .route("/watch", get(async |State(app): App| page(&app, WATCH)))
        .route("/livekit/broadcast.js", get(|| async { file(JAVASCRIPT, BROADCAST_SCRIPT) }))
        .route("/livekit/watch.js", get(|| async { file(JAVASCRIPT, WATCH_SCRIPT) }))
        .route("/livekit/rooms.js", get(|| async { file(JAVASCRIPT, ROOMS) }))
        .route("/livekit/chat.js", get(|| async { file(JAVASCRIPT, CHAT) }))
        .route("/livekit/tiles.js", get(|| async { file(JAVASCRIPT, TILES) }))
        .route("/livekit/page.css", get(|| async { file(CSS, STYLE) }))
        .route("/livekit-client.js", get(client))
        .route("/broadcast-clip", get(clip))
}

fn page(app: &Service, html: &'static str) -> Response {
    let livekit = app.livekit();
    match HeaderValue::try_from(policy(livekit.as_ref().map(|livekit| livekit.for_browsers()))) {
        Ok(policy) => guarded(HTML, policy, html).into_response(),
        Err(_) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "livekit.public_url, or livekit.url, fits into no header").into_response()
        }
    }
}

/// Nothing from elsewhere and nothing inline; media are streams, which no policy speaks of, and the clip's blob; connections go to the host and
/// to the LiveKit server: livekit-client opens a WebSocket there, and asks over HTTP why it could not.
fn policy(server: Option<&ServerUrl>) -> String {
    let server = server.map(|url| format!(" {} {}", url.websocket(), url.http())).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src blob:; connect-src 'self'{server}; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
}

/// A file of this machine, read anew each time.
async fn read(path: PathBuf) -> std::io::Result<Vec<u8>> {
    tokio::task::spawn_blocking(move || std::fs::read(path)).await?
}

async fn client() -> Result<Response, Problem> {
    let missing = |why: String| {
        let detail = format!("LiveKit's browser client is not here ({why}); on the host's machine, `{LIVEKIT_FETCH}` brings it");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    };
    let path = assets::folder().map_err(|error| missing(error.to_string()))?.join(LIVEKIT_CLIENT);
    let script = read(path.clone()).await.map_err(|error| missing(format!("{}: {error}", path.display())))?;
    Ok(guarded(JAVASCRIPT, HeaderValue::from_static(super::POLICY), script).into_response())
}

async fn clip(State(app): App) -> Result<Response, Problem> {
    let Some(path) = app.broadcast_clip() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "this host offers no clip: `scrim serve --broadcast-clip CLIP` does"));
    };
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("mp4" | "m4v" | "mov") => "video/mp4",
        Some("webm") => "video/webm",
        _ => "application/octet-stream",
    };
    let unreadable = |error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{}: {error}", path.display()));
    let bytes = read(path.to_owned()).await.map_err(unreadable)?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reaches_the_host_and_its_livekit_server_and_nothing_else() {
        let connects = |url: Option<&str>| {
            let url = url.map(|url| url.parse::<ServerUrl>().expect("an address"));
            let policy = policy(url.as_ref());
            policy.split("; ").find_map(|part| part.strip_prefix("connect-src ")).map(str::to_owned)
        };
        assert_eq!(connects(None).as_deref(), Some("'self'"));
        assert_eq!(connects(Some("ws://10.0.0.2:7880")).as_deref(), Some("'self' ws://10.0.0.2:7880 http://10.0.0.2:7880"));
        assert_eq!(connects(Some("https://live.example/")).as_deref(), Some("'self' wss://live.example https://live.example"));
    }

    #[test]
    fn an_address_cannot_add_to_the_policy() {
        for address in ["wss://a;script-src", "wss://a,b", "wss://*", "wss://a 'unsafe-inline'", "wss://a\tb", "wss://'self'"] {
            assert!(address.parse::<ServerUrl>().is_err(), "{address} was taken");
        }
    }
}
