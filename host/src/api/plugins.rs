//! `/v1/plugins`: the catalog.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{BodyMax, Json, Path, Wasm};
use super::problem::{BadBody, Conflicts, Missing, Problem, Problems};
use super::view::{Binary, PluginView};
use super::{App, Groups};
use crate::plugin::catalog::{Loaded, PluginName};
use crate::plugin::types::Slot;
use crate::serve::Service;
use crate::store::{PluginRow, StoreError};

/// Bytes of an upload.
pub const UPLOAD_MAX: usize = 48 << 20;

pub fn routes(groups: &mut Groups) {
    groups.viewer(OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)));
    groups.admin(OpenApiRouter::new().routes(routes!(delete)));
    groups.admin(OpenApiRouter::new().routes(routes!(upload)).layer(axum::Extension(BodyMax(UPLOAD_MAX))));
}

fn view(loaded: &Loaded) -> PluginView {
    PluginView {
        plugin: loaded.name.to_string(),
        slot: loaded.slot.into(),
        digest: loaded.digest.to_string(),
        size: loaded.size,
        class: loaded.class().as_str().to_owned(),
        config_schema: serde_json::from_str(&loaded.manifest.config_schema).unwrap_or_default(),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "the plugin could not be examined")))
}

/// Every plugin of the catalog.
#[utoipa::path(
    get, path = "/v1/plugins", operation_id = "list_plugins", tag = "plugins", responses((status = 200, body = Vec<PluginView>), Problems)
)]
async fn list(State(app): App) -> Result<Json<Vec<PluginView>>, Problem> {
    let catalog = app.shared.host.catalog.clone();
    blocking(move || {
        let mut views = Vec::new();
        for (name, _) in catalog.list()? {
            match catalog.load(&name) {
                Ok(loaded) => views.push(view(&loaded)),
                // One that can't be loaded any more hides none of the others.
                Err(error) => tracing::warn!(plugin = %name, %error, "plugin not loadable"),
            }
        }
        Ok(Json(views))
    })
    .await
}

/// One plugin.
#[utoipa::path(
    get, path = "/v1/plugins/{plugin}", operation_id = "get_plugin", tag = "plugins", params(("plugin" = String, Path)),
    responses((status = 200, body = PluginView), Missing, Problems)
)]
async fn get(State(app): App, Path(plugin): Path<String>) -> Result<Json<PluginView>, Problem> {
    let catalog = app.shared.host.catalog.clone();
    let name = named(&plugin)?;
    blocking(move || Ok(Json(view(&*catalog.load(&name)?)))).await
}

/// What is no name of a plugin names none.
fn named(plugin: &str) -> Result<PluginName, Problem> {
    plugin.parse().map_err(|error: crate::plugin::catalog::CatalogError| Problem::new(StatusCode::NOT_FOUND, error.to_string()))
}

/// Adds a plugin: a component, or a core module with the contract's types in it. It is checked, compiled and asked who it is.
#[utoipa::path(
    post, path = "/v1/plugins", operation_id = "add_plugin", tag = "plugins",
    request_body(content = inline(Binary), content_type = "application/wasm"),
    responses((status = 201, body = PluginView), BadBody, Conflicts, Problems)
)]
async fn upload(State(app): App, Wasm(body): Wasm) -> Result<impl IntoResponse, Problem> {
    let catalog = app.shared.host.catalog.clone();
    let loaded = blocking(move || Ok(catalog.add(&body, None)?)).await?;
    let row = PluginRow {
        plugin: loaded.name.to_string(),
        slot: loaded.slot,
        digest: loaded.digest.to_string(),
        size: i64::try_from(loaded.size).unwrap_or(i64::MAX),
        added_at: app.shared.clock.unix_us(),
    };
    match app.shared.store.add_plugin(&row).await {
        // The same bytes under the same name once more change nothing.
        Ok(()) | Err(StoreError::Exists(_)) => Ok((StatusCode::CREATED, Json(view(&loaded)))),
        Err(error) => Err(error.into()),
    }
}

/// Takes a plugin out of the catalog. Refused while a room, the global policy or the configuration names it, or an instance runs.
#[utoipa::path(
    delete, path = "/v1/plugins/{plugin}", operation_id = "delete_plugin", tag = "plugins", params(("plugin" = String, Path)),
    responses((status = 204, description = "Deleted."), Missing, Conflicts, Problems)
)]
async fn delete(State(app): App, Path(plugin): Path<String>) -> Result<StatusCode, Problem> {
    let name = named(&plugin)?;
    if let Some(user) = user_of(&app, &name).await? {
        return Err(Problem::new(StatusCode::CONFLICT, format!("`{name}` is in use by {user}: choose another policy there first")));
    }
    let catalog = app.shared.host.catalog.clone();
    blocking(move || Ok(catalog.remove(&name)?)).await?;
    match app.shared.store.remove_plugin(&plugin).await {
        // Added by the command line, so the store never knew it.
        Ok(()) | Err(StoreError::Missing(_)) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(error.into()),
    }
}

async fn user_of(app: &Service, name: &PluginName) -> Result<Option<String>, Problem> {
    let plugin = name.to_string();
    for slot in Slot::ALL {
        if app.shared.global(slot).plugin.as_deref() == Some(&plugin) {
            return Ok(Some(format!("the global {slot} policy")));
        }
        for room in app.all() {
            let runs = room.policies_if_warm().is_some_and(|policies| {
                let (status, shadow) = (policies.slot(slot).status(), policies.slot(slot).shadow_status());
                [status.plugin, status.previous, shadow.map(|(plugin, _)| plugin)].into_iter().flatten().any(|used| used == *name)
            });
            if runs || room.chosen(slot).plugin.as_deref() == Some(&plugin) {
                return Ok(Some(format!("room {:?}", room.name)));
            }
        }
    }
    let stored = app.shared.store.plugin_in_use(&plugin).await?;
    Ok(stored.then(|| "a policy in the store".to_owned()))
}
