//! Every error of the service as RFC 9457 problem details: the one mapping from errors to HTTP status.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::config;
use crate::host::HostError;
use crate::plugin::catalog::CatalogError;
use crate::plugin::events::Stage;
use crate::serve::feedback::FeedbackError;
use crate::serve::livekit::TokenRefused;
use crate::serve::livekit::bearer::BearerError;
use crate::serve::livekit::post::PostError;
use crate::serve::livekit::webhook::WebhookError;
use crate::serve::policy::PolicyError;
use crate::serve::recording::RecordingError;
use crate::serve::rooms::RoomError;
use crate::store::StoreError;

/// One thing wrong with what was sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FaultView {
    /// Where: a JSON pointer, or a key of the settings.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// RFC 9457 problem details.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem, when the title alone does not tell; `about:blank` otherwise.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What was wrong, where, and what to do.
    pub detail: String,
    /// Everything that is wrong, where there may be several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultView>,
}

/// What any operation may answer when it does not do what was asked.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the variants are for the document alone")]
pub enum Problems {
    /// No key, or one that nobody has.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The key's role may not do this, or the request came from a page of another origin.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// The host's own fault.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// Not now: too much at once, the host is stopping, or the store takes no writes. `Retry-After` says when to try again.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Of what is named.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the variants are for the document alone")]
pub enum Missing {
    /// There is no such thing.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
}

/// Of what has to go with what is there.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the variants are for the document alone")]
pub enum Conflicts {
    /// It does not go with what is there: a name that is taken, a plugin in use, settings that cannot work on this host.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
}

/// Of who asks too often.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the variants are for the document alone")]
pub enum Hasty {
    /// Too much at once. `Retry-After` says when to try again.
    #[response(status = 429, content_type = "application/problem+json")]
    TooManyRequests(Problem),
}

/// Of a query or a header.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the variants are for the document alone")]
pub enum Unreadable {
    /// The query, or a header, is not as described.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
}

/// Of `If-Match`.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the variants are for the document alone")]
pub enum Stale {
    /// `If-Match` is no revision.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// Somebody else has changed it: `If-Match` is not the current revision.
    #[response(status = 412, content_type = "application/problem+json")]
    PreconditionFailed(Problem),
}

/// Of a body.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "the variants are for the document alone")]
pub enum BadBody {
    /// The request cannot be read: its query, headers or body.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// The body is larger than is taken.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is of another media type.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// What the body says cannot be used.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(Problem),
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error").to_owned();
        Self { kind: "about:blank".to_owned(), title, status: status.as_u16(), detail: detail.into(), faults: Vec::new() }
    }

    pub fn with_faults(self, faults: Vec<FaultView>) -> Self {
        Self { faults, ..self }
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        response
    }
}

fn views(faults: Vec<config::Fault>) -> Vec<FaultView> {
    faults.into_iter().map(|fault| FaultView { message: format!("{}; {}", fault.wrong, fault.fix), path: fault.key }).collect()
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::Exists(_) => StatusCode::CONFLICT,
            StoreError::Missing(_) => StatusCode::NOT_FOUND,
            StoreError::Stale { .. } => StatusCode::PRECONDITION_FAILED,
            StoreError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            StoreError::Unavailable { .. } | StoreError::Unusable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!(%error, "store");
        }
        Self::new(status, error.to_string())
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        let status = match &error {
            // Each value is fine; together, or on this host, they cannot work.
            HostError::NoSuchLabel { .. } | HostError::Delay(_) | HostError::Admission(_) => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<RoomError> for Problem {
    fn from(error: RoomError) -> Self {
        let detail = error.to_string();
        match error {
            RoomError::Settings(faults) if faults.iter().any(config::Fault::is_relation) => {
                Self::new(StatusCode::CONFLICT, detail).with_faults(views(faults))
            }
            RoomError::Settings(faults) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_faults(views(faults)),
            RoomError::Name(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            RoomError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, detail),
            RoomError::Live(_) | RoomError::HasPublisher(_) | RoomError::Stopped(_) => Self::new(StatusCode::CONFLICT, detail),
            RoomError::Draining => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            RoomError::Host(error) => error.into(),
            RoomError::Store(error) => error.into(),
        }
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        let status = match &error {
            CatalogError::Unknown(..) => StatusCode::NOT_FOUND,
            CatalogError::Taken(..) => StatusCode::CONFLICT,
            CatalogError::Io { .. } | CatalogError::Corrupt(..) => StatusCode::SERVICE_UNAVAILABLE,
            CatalogError::Key(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        let detail = error.to_string();
        match error {
            // What is no name of a plugin names none.
            PolicyError::Catalog(CatalogError::Name(_)) => Self::new(StatusCode::NOT_FOUND, detail),
            PolicyError::Catalog(error) => error.into(),
            PolicyError::Config(faults) => {
                let faults = faults.into_iter().map(|(path, message)| FaultView { path, message }).collect();
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_faults(faults)
            }
            PolicyError::OtherSlot { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            PolicyError::Refused { stage: Stage::Commit, .. } => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            PolicyError::Refused { stage: Stage::Rollback | Stage::Shadow, .. } => Self::new(StatusCode::CONFLICT, detail),
            PolicyError::Refused { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            PolicyError::Slow => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            PolicyError::NothingChosen => Self::new(StatusCode::NOT_FOUND, detail),
            PolicyError::Store(error) => error.into(),
        }
    }
}

impl From<FeedbackError> for Problem {
    fn from(error: FeedbackError) -> Self {
        let detail = error.to_string();
        match error {
            FeedbackError::NoEvent(_) => Self::new(StatusCode::NOT_FOUND, detail),
            FeedbackError::NotADetection(..) => Self::new(StatusCode::CONFLICT, detail),
            FeedbackError::Store(error) => error.into(),
        }
    }
}

impl From<RecordingError> for Problem {
    fn from(error: RecordingError) -> Self {
        let status = match &error {
            RecordingError::Running | RecordingError::NotRunning => StatusCode::CONFLICT,
            RecordingError::Unknown(_) => StatusCode::NOT_FOUND,
            RecordingError::Folder(_) | RecordingError::Record(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<TokenRefused> for Problem {
    fn from(error: TokenRefused) -> Self {
        let detail = error.to_string();
        match error {
            TokenRefused::Name(_) | TokenRefused::Flagged(_) => {
                let faults = vec![FaultView { path: "name".to_owned(), message: detail.clone() }];
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_faults(faults)
            }
            TokenRefused::Attribute(_) | TokenRefused::LongAttribute(..) | TokenRefused::NoAttributes => {
                let faults = vec![FaultView { path: "attributes".to_owned(), message: detail.clone() }];
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_faults(faults)
            }
            TokenRefused::Taken(_) => Self::new(StatusCode::CONFLICT, detail),
            TokenRefused::Unjudged(_) | TokenRefused::NoPlace(..) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
            TokenRefused::Token(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
        }
    }
}

impl From<PostError> for Problem {
    fn from(error: PostError) -> Self {
        let detail = error.to_string();
        match error {
            PostError::Name(error) => error.into(),
            PostError::Bearer(BearerError::Bad(_) | BearerError::Foreign) => Self::new(StatusCode::UNAUTHORIZED, detail),
            PostError::Bearer(BearerError::OtherRoom | BearerError::Broadcaster) => Self::new(StatusCode::FORBIDDEN, detail),
            PostError::Bearer(BearerError::Away) => Self::new(StatusCode::CONFLICT, detail),
            PostError::Empty | PostError::Long(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            PostError::Fast | PostError::Full => Self::new(StatusCode::TOO_MANY_REQUESTS, detail),
        }
    }
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        let status = match &error {
            WebhookError::Body(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, error.to_string())
    }
}
