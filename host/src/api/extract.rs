//! What handlers take out of a request; what can't be taken is a problem like any other.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use super::problem::Problem;
use super::{BODY_MAX, schema};

/// Path parameters.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        // A path that can't be read names nothing.
        path.map(|path| Self(path.0)).map_err(|rejection| Problem::new(StatusCode::NOT_FOUND, rejection.body_text()))
    }
}

/// Query parameters.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))
    }
}

/// A JSON body, in and out. What comes in is held against the schema that the document gives for it.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + ToSchema + 'static, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = axum::Json::<Value>::from_request(whole_body(request).await?, state).await;
        let axum::Json(body) = json.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        let unusable = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        let faults = schema::faults::<T>(&body);
        if !faults.is_empty() {
            return Err(unusable(format!("the body has {} fault(s)", faults.len())).with_faults(faults));
        }
        serde_json::from_value(schema::whole(body)).map(Self).map_err(|error| unusable(format!("the body cannot be used: {error}")))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// A JPEG or PNG, as it comes.
pub struct Picture(pub bytes::Bytes);

impl<S: Send + Sync> FromRequest<S> for Picture {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        bytes_of(request, state, &["image/jpeg", "image/png"]).await.map(Self)
    }
}

/// A WebAssembly module or component, as it comes.
pub struct Wasm(pub bytes::Bytes);

impl<S: Send + Sync> FromRequest<S> for Wasm {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        bytes_of(request, state, &["application/wasm"]).await.map(Self)
    }
}

/// A LiveKit server's webhook, as it was signed.
pub struct Webhook(pub bytes::Bytes);

impl<S: Send + Sync> FromRequest<S> for Webhook {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        bytes_of(request, state, &["application/webhook+json", "application/json"]).await.map(Self)
    }
}

/// A body of one of these media types. One that does not say its own is looked at: its first bytes tell.
async fn bytes_of<S: Send + Sync>(request: Request, state: &S, types: &[&str]) -> Result<bytes::Bytes, Problem> {
    if let Some(given) = request.headers().get(header::CONTENT_TYPE) {
        let given = given.to_str().unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        if !types.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
            let detail = format!("the body is {given:?}; send {}", types.join(" or "));
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    }
    let bytes = bytes::Bytes::from_request(whole_body(request).await?, state).await;
    bytes.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))
}

/// Bytes of a body that are taken, where a route takes another number than most.
#[derive(Clone, Copy)]
pub struct BodyMax(pub usize);

/// The request with its whole body in memory. Of one that is too large as much again is read and forgotten: many clients hear an answer
/// only when they have sent everything.
async fn whole_body(request: Request) -> Result<Request, Problem> {
    let max = request.extensions().get::<BodyMax>().map_or(BODY_MAX, |max| max.0);
    let read_max = 2 * max;
    let (most, unit) = if max < 1 << 20 { (max >> 10, "KiB") } else { (max >> 20, "MiB") };
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is too large: at most {most} {unit} are taken"));
    let told = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > read_max as u64) {
        return Err(too_large());
    }
    let (parts, body) = request.into_parts();
    let (mut kept, mut read) = (Vec::new(), 0);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body was cut off: {error}")))?;
        read += chunk.len();
        match read {
            read if read <= max => kept.extend_from_slice(&chunk),
            read if read <= read_max => kept = Vec::new(),
            _ => break,
        }
    }
    if read > max { Err(too_large()) } else { Ok(Request::from_parts(parts, Body::from(kept))) }
}

/// The revision that `If-Match` names; none where there is no such header or it is `*`.
pub struct IfMatch(pub Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if_match(&parts.headers).map(Self)
    }
}

fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    // A proxy may have weakened the tag, and a person may have left the quotes out.
    let tag = text.strip_prefix("W/").unwrap_or(text);
    let digits = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
    let fits = (1..=REVISION_DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let revision = digits.parse().ok().filter(|_| fits);
    revision
        .map(Some)
        .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, format!("If-Match {text:?} is no revision; give the ETag of a GET, or `*`")))
}

/// So many digits fit into a revision, whichever they are.
const REVISION_DIGITS_MAX: usize = 18;
/// What [`IfMatch`] takes.
pub const IF_MATCH: &str = r#"^(\*|(W/)?("[0-9]{1,18}"|[0-9]{1,18}))$"#;

/// The `ETag` of a revision.
pub fn etag(revision: i64) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{revision}\""))]
}
