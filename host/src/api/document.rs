//! The document of the service, `/openapi.json`: what the handlers' annotations say, and what holds wherever it occurs, said once: how a key
//! is sent, what a name or a revision looks like, which headers a status brings, where what was made can be found.

use utoipa::OpenApi;
use utoipa::openapi::header::Header;
use utoipa::openapi::link::Link;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{RefOr, Response};

use super::extract::IF_MATCH;
use super::livekit;
use super::view::{AFTER_MAX, PLUGIN};

#[derive(OpenApi)]
#[openapi(
    info(title = "Scrim", description = "Rooms whose pictures and words are judged before anybody sees them."),
    tags(
        (name = "rooms"), (name = "policy"), (name = "content"), (name = "recordings"), (name = "plugins"), (name = "stream"), (name = "livekit"), (name = "status")
    )
)]
pub struct Document;

/// What a room may be called.
pub const ROOM: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
/// What an `ETag` looks like.
const ETAG: &str = r#"^"[0-9]{1,18}"$"#;
/// What a request's id looks like.
const REQUEST_ID: &str = "^[!-~]{1,128}$";

/// Adds to what the annotations say. `secured`: whether keys are needed.
pub fn finish(document: &mut utoipa::openapi::OpenApi, secured: bool) {
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme("key", bearer);
    let made = links(document);
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            let needs_key = secured && path.starts_with("/v1");
            if needs_key {
                operation.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
            } else if path != livekit::WEBHOOK {
                operation.responses.responses.remove("401");
            }
            operation.parameters.iter_mut().flatten().for_each(|parameter| {
                if let RefOr::T(parameter) = parameter {
                    describe(parameter);
                }
            });
            for (status, response) in &mut operation.responses.responses {
                let RefOr::T(response) = response else { continue };
                headers(status, response);
                if status == "201" {
                    let links = made.iter().filter(|(id, ..)| Some(id) == operation.operation_id.as_ref());
                    response.links.extend(links.map(|(_, to, link)| (to.clone(), RefOr::T(link.clone()))));
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

fn text(pattern: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build()
}

/// What is called the same is the same in every operation.
fn describe(parameter: &mut Parameter) {
    let (pattern, description) = match (&parameter.parameter_in, parameter.name.as_str()) {
        (ParameterIn::Path, "room") => (ROOM, "A room's name."),
        (ParameterIn::Path, "plugin") => (PLUGIN, "`NAME@VERSION`, as `/v1/plugins` lists it."),
        (ParameterIn::Header, "If-Match") => (
            IF_MATCH,
            "The `ETag` of what is to be changed: changed only if nobody else has done so since. `*`, or no header: whatever it is.",
        ),
        (ParameterIn::Header, "Last-Event-ID") => {
            let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(AFTER_MAX));
            parameter.schema = Some(number.build().into());
            parameter.description = Some("The last event heard: those after it come first.".to_owned());
            return;
        }
        _ => return,
    };
    parameter.schema = Some(text(pattern).into());
    parameter.description = Some(description.to_owned());
}

/// What a status brings with it.
fn headers(status: &str, response: &mut Response) {
    let mut add = |name: &str, schema: Object, description: &str| {
        let mut header = Header::new(schema);
        header.description = Some(description.to_owned());
        response.headers.insert(name.to_owned(), RefOr::T(header));
    };
    add("x-request-id", text(REQUEST_ID), "The request's own id, or one that was made for it; the host's log has it.");
    match status {
        "401" => add("www-authenticate", text("^Bearer$"), "How a key is sent."),
        "426" => add("upgrade", text("^websocket$"), "What this has to be opened as."),
        "429" => {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
            add("retry-after", seconds, "When to try again, s.");
        }
        // `/health` answers a 503 of its own.
        "503" if response.content.contains_key("application/problem+json") => {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
            add("retry-after", seconds, "When to try again, s.");
        }
        _ => {}
    }
    if let Some(RefOr::T(etag)) = response.headers.get_mut("etag") {
        etag.schema = Some(text(ETAG).into());
        etag.description = Some("The revision, for `If-Match`.".to_owned());
    }
}

/// What makes something, what can be done with it then, and how to get there.
fn links(document: &utoipa::openapi::OpenApi) -> Vec<(String, String, Link)> {
    const MADE: [(&str, &[(&str, &str)]); 3] = [
        ("create_room", &[("room", "$response.body#/name")]),
        ("add_plugin", &[("plugin", "$response.body#/plugin")]),
        ("start_recording", &[("room", "$request.path.room"), ("id", "$response.body#/id")]),
    ];
    let mut links = Vec::new();
    for (path, item) in &document.paths.paths {
        let takes: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (maker, gives) in MADE {
            // A link says all that it takes to get there.
            if takes.is_empty() || takes.len() != gives.len() || !takes.iter().all(|name| gives.iter().any(|(given, _)| given == name)) {
                continue;
            }
            for operation in operations(&mut item.clone()) {
                let Some(to) = operation.operation_id.clone() else { continue };
                // It takes an event as well, which a room that was just made has not.
                if to == "report_detection" {
                    continue;
                }
                let mut link = Link::builder().operation_id(to.clone());
                for (name, from) in gives {
                    link = link.parameter(*name, *from);
                }
                links.push((maker.to_owned(), to, link.build()));
            }
        }
    }
    links
}
