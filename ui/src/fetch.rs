//! Requests to the collector, answers decoded, refusals as one kind of error.

use gloo_net::http::{Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tripline_api::ApiError;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FetchError {
    /// There is no such thing, or no such route.
    #[error("{message}")]
    NotFound {
        /// What the collector says.
        message: String,
    },
    /// The collector refuses.
    #[error("the collector refuses: {message}")]
    Refused {
        /// What it says.
        message: String,
    },
    /// No answer at all.
    #[error("the collector does not answer")]
    Unreachable,
    /// An answer that this page cannot read.
    #[error("the collector answers what this page does not understand; reload it")]
    Garbled,
}

/// `GET path`.
pub(crate) async fn get<T: DeserializeOwned>(path: &str) -> Result<T, FetchError> {
    read(Request::get(path).send().await).await
}

/// `POST path` with a JSON body.
pub(crate) async fn post<T: DeserializeOwned>(path: &str, body: &impl Serialize) -> Result<T, FetchError> {
    let request = Request::post(path).json(body).map_err(|_| FetchError::Garbled)?;
    read(request.send().await).await
}

async fn read<T: DeserializeOwned>(answer: Result<Response, gloo_net::Error>) -> Result<T, FetchError> {
    let response = answer.map_err(|_| FetchError::Unreachable)?;
    if response.ok() {
        return response.json().await.map_err(|_| FetchError::Garbled);
    }
    let message = match response.json::<ApiError>().await {
        Ok(body) => body.error.message,
        Err(_) => format!("status {}", response.status()),
    };
    Err(if response.status() == 404 { FetchError::NotFound { message } } else { FetchError::Refused { message } })
}
