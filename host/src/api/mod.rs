//! The service over HTTP: routes, who may call, errors as problems, and the document that says all of it.
//!
//! ```text
//! request ─► id, span, timing ─► Host and Origin ─► (for /v1) who calls ─► what its role may ─► handler ─► serve
//! ```
//! Serde types of the wire live here (`view`) and nowhere else. `/openapi.json` is generated from the handlers and the types.

pub mod auth;
mod content;
mod document;
mod extract;
mod livekit;
mod page;
mod plugins;
mod policy;
mod problem;
mod rooms;
mod schema;
mod status;
mod stream;
mod view;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use tracing::Instrument;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;
use uuid::Uuid;

use crate::serve::{Service, meter};
use auth::{Gate, Role};
use problem::Problem;

/// What handlers work on.
type App = State<Arc<Service>>;

/// Bytes of a body, but for uploads.
const BODY_MAX: usize = 10 << 20;
/// Characters of a request's id that are taken from the caller.
const REQUEST_ID_MAX: usize = 128;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Of a covered picture, what was found in it.
const VERDICT: HeaderName = HeaderName::from_static("x-scrim-verdict");

/// Routes by the role that they take.
struct Groups {
    by_role: [OpenApiRouter<Arc<Service>>; 4],
}

impl Groups {
    fn add(&mut self, role: Role, routes: OpenApiRouter<Arc<Service>>) {
        let group = &mut self.by_role[role as usize];
        *group = std::mem::take(group).merge(routes);
    }

    fn viewer(&mut self, routes: OpenApiRouter<Arc<Service>>) {
        self.add(Role::Viewer, routes);
    }

    fn publisher(&mut self, routes: OpenApiRouter<Arc<Service>>) {
        self.add(Role::Publisher, routes);
    }

    fn operator(&mut self, routes: OpenApiRouter<Arc<Service>>) {
        self.add(Role::Operator, routes);
    }

    fn admin(&mut self, routes: OpenApiRouter<Arc<Service>>) {
        self.add(Role::Admin, routes);
    }
}

/// Everything that the service answers.
pub fn router(service: Arc<Service>, gate: Gate, metrics: status::Metrics) -> Router {
    let gate = Arc::new(gate);
    let mut groups = Groups { by_role: [(); 4].map(|()| OpenApiRouter::new()) };
    rooms::routes(&mut groups);
    policy::routes(&mut groups);
    content::routes(&mut groups);
    plugins::routes(&mut groups);
    stream::routes(&mut groups);
    livekit::routes(&mut groups);
    let mut v1 = OpenApiRouter::new();
    for (role, routes) in [Role::Viewer, Role::Publisher, Role::Operator, Role::Admin].into_iter().zip(groups.by_role) {
        v1 = v1.merge(routes.route_layer(from_fn_with_state(role, auth::require)));
    }
    let v1 = v1.route_layer(from_fn_with_state(gate.clone(), auth::identify));
    let open = OpenApiRouter::with_openapi(document::Document::openapi())
        .merge(status::routes(metrics))
        .merge(page::routes())
        .merge(livekit::open())
        .merge(livekit::chat(&gate));
    let (router, mut document) = open.merge(v1).split_for_parts();
    document::finish(&mut document, !gate.keys.is_empty());
    router
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing here; /docs lists what there is") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "not with this method; /docs lists what there is")
        })
        .layer(DefaultBodyLimit::disable())
        .layer(cors(&gate))
        .layer(from_fn_with_state(gate, auth::same_origin))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(observed))
        .with_state(service)
}

/// Browsers of the allowed origins, and of no other.
fn cors(gate: &Gate) -> CorsLayer {
    let origins: Vec<HeaderValue> = gate.origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH, LAST_EVENT_ID, REQUEST_ID])
        .expose_headers([header::ETAG, header::RETRY_AFTER, REQUEST_ID, VERDICT])
}

fn panicked(cause: Box<dyn std::any::Any + Send>) -> Response {
    let text = cause.downcast_ref::<&str>().map(ToString::to_string).or_else(|| cause.downcast_ref::<String>().cloned());
    tracing::error!(panic = text.unwrap_or_default(), "a request failed within the host");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the host failed at this request; its log has the reason under the request's id")
        .into_response()
}

/// Gives a request its id, a span that has it, and its place in the metrics.
async fn observed(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let usable = |id: &&str| !id.is_empty() && id.len() <= REQUEST_ID_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
    let id = given.filter(usable).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_else(|| "(none)".to_owned());
    let span = tracing::info_span!("request", id, method = %request.method(), route);
    let since = Instant::now();
    let mut response = async {
        let response = next.run(request).await;
        tracing::info!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span)
    .await;
    let status = format!("{}xx", response.status().as_u16() / 100);
    metrics::histogram!(meter::HTTP_SECONDS, "route" => route, "status" => status).record(since.elapsed());
    if let Ok(id) = id.parse() {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

pub use status::Metrics;
