//! Refusals as the API writes them, and extractors that refuse in that form.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tripline_api::{ApiError, ErrorBody};

use crate::history::QueryError;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// What a handler answers.
pub(super) type Answer<T> = Result<Json<T>, Refusal>;

impl Refusal {
    /// There is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "not_found", message: message.into() }
    }

    /// The request makes no sense.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "bad_request", message: message.into() }
    }

    /// No token, or a wrong one.
    pub(super) fn unauthorized() -> Self {
        let message =
            "send the collector's token as \"authorization: Bearer TOKEN\", or open /?token=TOKEN in a browser";
        Self { status: StatusCode::UNAUTHORIZED, code: "unauthorized", message: message.into() }
    }

    /// A browser sent it on behalf of another site.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, code: "forbidden", message: message.into() }
    }

    /// The path exists, the method does not.
    pub(super) fn method_not_allowed() -> Self {
        let message = "this path does not know that method; see /api/v1/openapi.json".into();
        Self { status: StatusCode::METHOD_NOT_ALLOWED, code: "method_not_allowed", message }
    }

    /// Larger than we take.
    pub(super) fn too_large(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: "too_large", message: message.into() }
    }

    /// Not within the time limit.
    pub(super) fn timeout(message: impl Into<String>) -> Self {
        Self { status: StatusCode::GATEWAY_TIMEOUT, code: "timeout", message: message.into() }
    }

    /// Not now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "unavailable", message: message.into() }
    }

    /// Our fault.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "internal", message: message.into() }
    }

    /// A refusal that was already written for the wire, as [`super::DemoControl`] gives it.
    pub(super) fn of(error: ApiError) -> Self {
        let message = error.error.message;
        match error.error.code.as_str() {
            "not_found" => Self::not_found(message),
            "bad_request" => Self::bad_request(message),
            "unavailable" => Self::unavailable(message),
            _ => Self::internal(message),
        }
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match error {
            QueryError::Timeout(_) => Self::timeout(message),
            QueryError::Cursor => Self::bad_request(message),
            QueryError::Memory(_) => Self::too_large(StatusCode::UNPROCESSABLE_ENTITY, message),
            QueryError::Fetch(cause) => {
                tracing::error!(cause = crate::history::chain(&cause), "history's object store did not answer");
                Self::unavailable(message)
            }
            QueryError::Closed | QueryError::GivenUp => Self::unavailable(message),
            QueryError::Read(cause) => {
                tracing::error!(%cause, "a query of history failed");
                Self::internal("reading history failed; the collector's log says why")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ApiError { error: ErrorBody { code: self.code.into(), message: self.message } };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// Query parameters; unknown ones are refused, because a filter that is silently ignored gives a wrong answer.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let Query(params) =
            Query::try_from_uri(&parts.uri).map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
        Ok(Self(params))
    }
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;
    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Refusal::too_large(rejection.status(), rejection.body_text()))
            }
            Err(rejection) => Err(Refusal::bad_request(rejection.body_text())),
        }
    }
}
