//! The page at `/`: the demo's room raw and moderated side by side, its policies and what they decide. Plain files in the binary.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::extract::Json;
use crate::serve::Service;

const HTML: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/page.js");
const PICTURES: &str = include_str!("page/pictures.js");
const PARTS: &str = include_str!("page/parts.js");
const STYLE: &str = include_str!("page/page.css");
const ICON: &str = include_str!("page/icon.svg");
/// What scripts are served as.
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// Nothing from elsewhere, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

pub fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", HTML) }))
        .route("/page.js", get(|| async { file(JAVASCRIPT, SCRIPT) }))
        .route("/pictures.js", get(|| async { file(JAVASCRIPT, PICTURES) }))
        .route("/parts.js", get(|| async { file(JAVASCRIPT, PARTS) }))
        .route("/page.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
        .route("/icon.svg", get(|| async { file("image/svg+xml", ICON) }))
        .route("/page.json", get(about))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}

/// What the page cannot know.
#[derive(Serialize)]
struct About {
    version: &'static str,
    /// The room that shows raw pictures too; none where the host shows no demo.
    demo_room: Option<String>,
}

async fn about(State(app): App) -> Json<About> {
    Json(About { version: env!("CARGO_PKG_VERSION"), demo_room: app.demo_room() })
}
