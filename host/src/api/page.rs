//! The page at `/`: the demo's room raw and moderated side by side, its policies and what they decide. Plain files in the binary. The pages of
//! LiveKit's rooms are beside it.

mod livekit;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::extract::Json;
use crate::serve::Service;

const INDEX: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/page.js");
const PICTURES: &str = include_str!("page/pictures.js");
const HOST: &str = include_str!("page/host.js");
const PARTS: &str = include_str!("page/parts.js");
const STYLE: &str = include_str!("page/page.css");
const ICON: &str = include_str!("page/icon.svg");
/// What files are served as.
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// Nothing from elsewhere, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .route("/", get(|| async { file(HTML, INDEX) }))
        .route("/page.js", get(|| async { file(JAVASCRIPT, SCRIPT) }))
        .route("/pictures.js", get(|| async { file(JAVASCRIPT, PICTURES) }))
        .route("/host.js", get(|| async { file(JAVASCRIPT, HOST) }))
        .route("/parts.js", get(|| async { file(JAVASCRIPT, PARTS) }))
        .route("/page.css", get(|| async { file(CSS, STYLE) }))
        .route("/icon.svg", get(|| async { file("image/svg+xml", ICON) }))
        .route("/page.json", get(about))
        .merge(livekit::routes())
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    guarded(kind, HeaderValue::from_static(POLICY), text)
}

/// A file under a policy of what it may reach.
fn guarded(kind: &'static str, policy: HeaderValue, contents: impl IntoResponse) -> impl IntoResponse {
    let fixed = HeaderValue::from_static;
    let headers = [
        (header::CONTENT_TYPE, fixed(kind)),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin")),
        (header::CACHE_CONTROL, fixed("no-cache")),
    ];
    (headers, contents)
}

/// What the page cannot know.
#[derive(Serialize)]
struct About {
    version: &'static str,
    /// The room that shows raw pictures too; none where the host shows no demo.
    demo_room: Option<String>,
    /// Whether there is a clip for machines without a camera.
    clip: bool,
}

async fn about(State(app): App) -> Json<About> {
    Json(About { version: env!("CARGO_PKG_VERSION"), demo_room: app.demo_room(), clip: app.broadcast_clip().is_some() })
}
