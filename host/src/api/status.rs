//! `/health`, `/ready`, `/metrics`: for whoever runs the host.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::extract::Json;
use super::problem::{Problem, Problems};
use super::view::{HealthView, PartView};
use crate::infer::meter as infer;
use crate::outside;
use crate::plugin::meter as plugin;
use crate::plugin::types::Slot;
use crate::serve::{Service, livekit, meter};
use crate::speech::Unjudged;

/// The process's metrics.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts counting, for the whole process. Histograms have the buckets that their documentation names.
    ///
    /// # Errors
    /// When something counts already.
    pub fn install() -> Result<Self, BuildError> {
        let buckets: [(Matcher, &[f64]); 5] = [
            (Matcher::Full(infer::BATCH_SIZE.to_owned()), &infer::BATCH_BUCKETS),
            (Matcher::Full(infer::BATCHES_WAITED.to_owned()), &infer::BATCHES_BUCKETS),
            (Matcher::Full(plugin::CALL_CPU.to_owned()), &plugin::CALL_BUCKETS),
            (Matcher::Full(plugin::CALL_WALL.to_owned()), &plugin::CALL_BUCKETS),
            (Matcher::Suffix("_seconds".to_owned()), &meter::SECONDS_BUCKETS),
        ];
        let mut builder = PrometheusBuilder::new();
        for (matcher, bounds) in buckets {
            builder = builder.set_buckets_for_metric(matcher, bounds)?;
        }
        let handle = builder.install_recorder()?;
        infer::describe();
        plugin::describe();
        meter::describe();
        livekit::meter::describe();
        outside::describe();
        Ok(Self(handle))
    }

    /// Lets go of what the histograms hold back; to be called now and then.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

pub fn routes(metrics: Metrics) -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(ready)).routes(routes!(scrape)).layer(Extension(metrics))
}

/// How each dependency is. 503 if one is not as it should be; rooms go on moderating meanwhile.
#[utoipa::path(
    get, path = "/health", operation_id = "get_health", tag = "status",
    responses(Problems, (status = 200, body = HealthView), (status = 503, body = HealthView, description = "Something is degraded."))
)]
async fn health(State(app): App) -> Response {
    let parts = parts(&app);
    let ok = parts.values().all(|part| part.ok);
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(HealthView { status: if ok { "ok" } else { "degraded" }.to_owned(), parts })).into_response()
}

fn parts(app: &Service) -> BTreeMap<String, PartView> {
    let host = &app.shared.host;
    let mut parts = BTreeMap::new();
    let mut part = |name: String, ok: bool, detail: String| _ = parts.insert(name, PartView { ok, detail });
    for (name, lookout) in host.lookouts() {
        let (health, workers) = (lookout.batcher.health(), lookout.batcher.config().workers);
        let detail = format!(
            "{}: {} of {workers} workers, {} hung, {} restarts",
            lookout.batcher.name(),
            health.workers,
            health.hung,
            health.restarts
        );
        part(format!("model.{name}"), health.is_well(workers), detail);
    }
    for (name, report) in &host.providers {
        let passed_over: String = report.tried.iter().map(|tried| format!("; not {}: {}", tried.provider, tried.why_not)).collect();
        part(format!("provider.{name}"), true, format!("{}{passed_over}", report.chosen));
    }
    let fault = app.shared.store_fault();
    part("store".to_owned(), fault.is_none(), fault.unwrap_or_else(|| "takes writes".to_owned()));
    let ticker = host.catalog.engines().health();
    part("ticker".to_owned(), ticker.running, format!("last tick {} ms ago", ticker.last_tick_ago.as_millis()));
    part("plugins".to_owned(), true, format!("{} instances", host.catalog.engines().live_instances()));
    for room in app.all() {
        let Some(policies) = room.policies_if_warm() else { continue };
        for slot in Slot::ALL {
            let status = policies.slot(slot).status();
            // A choice that is not in force, or has no instance: the host's default stands in.
            let missing = room.chosen(slot).plugin.is_some() && !status.serving;
            if missing {
                part(format!("room.{}.{slot}", room.name), false, "the host's default stands in: the room's events say why".to_owned());
            }
        }
        if room.settled().config.detectors.is_empty() {
            part(format!("room.{}", room.name), true, "no detector is enabled: pictures pass because the room says so".to_owned());
        }
    }
    if let Some(livekit) = app.livekit() {
        let (mut passing, mut judged, mut late) = (0, 0, 0);
        for sound in livekit.attendance.sounds() {
            let unjudged = sound.room().sound().unjudged;
            if unjudged == Unjudged::Unasked {
                passing += 1;
            } else if sound.judge_is_late() {
                late += 1;
                let heard = if unjudged == Unjudged::Silent { "it is not heard" } else { "it passes, as the room says" };
                let detail = format!("judge late: no judge has said in time that it has heard the sound, so {heard}");
                part(format!("room.{}.sound", sound.room().name), false, detail);
            } else {
                judged += 1;
            }
        }
        let detail = format!("{passing} unjudged because their rooms say so, {judged} judged, {late} with a late judge");
        part("sound".to_owned(), late == 0, detail);
        if let Some(dispatch) = &livekit.dispatch {
            let (is_one, held) = (dispatch.is_registered(), dispatch.held());
            let word = if is_one { "a worker" } else { "no worker" };
            part("livekit-agent".to_owned(), is_one, format!("this host is {word} of {}, and has {held} rooms", livekit.url));
        }
        let state = livekit.server.state();
        part(livekit::server::WHAT.to_owned(), state == outside::State::Closed, format!("{}: calls are {}", livekit.url, state.as_str()));
    }
    let usage = host.usage();
    let used = app.shared.load.used();
    let processors = format!("processors {:.0} % in use, {:.0} % by this host", 100.0 * used.machine, 100.0 * used.own);
    part("capacity".to_owned(), true, format!("{usage}; {processors}"));
    part("memory".to_owned(), true, resident());
    part("service".to_owned(), app.is_ready(), if app.is_draining() { "draining" } else { "ready" }.to_owned());
    parts
}

/// Resident memory, where the system tells.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or_else(|| "not known here".to_owned(), |size| size.trim().to_owned())
}

/// Whether requests are served: 200 after the warm-up, 503 before it and while draining.
#[utoipa::path(
    get, path = "/ready", operation_id = "get_ready", tag = "status",
    responses((status = 200, description = "Ready.", body = String, content_type = "text/plain"), Problems)
)]
async fn ready(State(app): App) -> Response {
    if app.is_ready() {
        return "ready\n".into_response();
    }
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, if app.is_draining() { "draining" } else { "warming up" }).into_response()
}

/// Metrics in Prometheus' text format; docs/metrics.md lists them.
#[utoipa::path(
    get, path = "/metrics", operation_id = "get_metrics", tag = "status",
    responses((status = 200, body = String, content_type = "text/plain"), Problems)
)]
async fn scrape(Extension(metrics): Extension<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.0.render())
}
