//! Asking the collector: one client for its HTTP API, with errors that say what to do.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tripline_api::ApiError;

use crate::args::ApiArguments;

/// Longest wait for an answer; queries of history may take a while.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pages of one list that are followed.
const MAX_PAGES: usize = 100;

/// The collector, as a client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("\"{0}\" is no address of a collector: expected something like http://127.0.0.1:7600")]
    Address(String),
    #[error("cannot make an HTTP client")]
    Setup(#[source] reqwest::Error),
    #[error(
        "cannot reach the collector at {url}: start one with `tripline demo` or `tripline collector`, or name another \
         with --collector URL or TRIPLINE_API"
    )]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("the collector at {0} asks for a token: give it with --token or TRIPLINE_TOKEN")]
    Unauthorized(String),
    #[error("{message}")]
    Refused { status: StatusCode, message: String },
    #[error("the answer to {path} is not what a collector of this version gives; is {url} a Tripline collector?")]
    Unreadable {
        url: String,
        path: String,
        #[source]
        source: serde_json::Error,
    },
}

impl Client {
    /// A client as the arguments say.
    pub(crate) fn new(arguments: &ApiArguments) -> Result<Self, ClientError> {
        let bad = || ClientError::Address(arguments.collector.clone());
        let mut base: Url = arguments.collector.parse().map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(bad());
        }
        // Joining keeps a prefix only when it ends in a slash.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(ClientError::Setup)?;
        Ok(Self { http, base, token: arguments.token.clone() })
    }

    /// `GET /api/v1/{path}` as a value of the API.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ClientError> {
        let value = self.get_json(path, query).await?;
        self.read(path, value)
    }

    /// `GET /api/v1/{path}` as it comes.
    pub(crate) async fn get_json(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ClientError> {
        self.exchange(path, self.request(Method::GET, path)?.query(query)).await
    }

    /// A list with all its pages: `GET /api/v1/{path}`, the list being the field called `path`.
    pub(crate) async fn get_list(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ClientError> {
        let mut whole = self.get_json(path, query).await?;
        for _ in 1..MAX_PAGES {
            let Some(next) = whole.get("next").and_then(Value::as_str).map(str::to_owned) else { break };
            let mut query = query.to_vec();
            query.push(("cursor", &next));
            let mut page = self.get_json(path, &query).await?;
            let more = page.get_mut(path).and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
            if let Some(list) = whole.get_mut(path).and_then(Value::as_array_mut) {
                list.extend(more);
            }
            whole["next"] = page["next"].take();
        }
        Ok(whole)
    }

    /// `POST /api/v1/{path}` with a value of the API.
    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, ClientError> {
        self.exchange(path, self.request(Method::POST, path)?.json(body)).await
    }

    /// Reads a value of the API.
    pub(crate) fn read<T: DeserializeOwned>(&self, path: &str, value: Value) -> Result<T, ClientError> {
        serde_json::from_value(value).map_err(|source| self.unreadable(path, source))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ClientError> {
        let url = self
            .base
            .join(&format!("api/v1/{path}"))
            .map_err(|_| ClientError::Address(format!("{}api/v1/{path}", self.base)))?;
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn exchange(&self, path: &str, request: RequestBuilder) -> Result<Value, ClientError> {
        let unreachable = |source: reqwest::Error| ClientError::Unreachable {
            url: self.base.to_string(),
            source: source.without_url(),
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status == StatusCode::UNAUTHORIZED {
            return Err(ClientError::Unauthorized(self.base.to_string()));
        }
        if !status.is_success() {
            let message = match serde_json::from_slice::<ApiError>(&body) {
                Ok(refused) => refused.error.message,
                Err(_) => format!("the collector answered {path} with status {}", status.as_u16()),
            };
            return Err(ClientError::Refused { status, message });
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|source| self.unreadable(path, source))
    }

    fn unreadable(&self, path: &str, source: serde_json::Error) -> ClientError {
        ClientError::Unreadable { url: self.base.to_string(), path: path.to_owned(), source }
    }
}

/// Writes `text` so that it is one segment of a path, whatever it holds.
pub(crate) fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn arguments(collector: String) -> ApiArguments {
        ApiArguments { collector, token: Some("s3cret".to_owned()) }
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    /// Answers each connection with the next of `answers` and gives back the request heads.
    async fn collector(answers: Vec<String>) -> (ApiArguments, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = tokio::spawn(async move {
            let mut heads = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.expect("a byte"));
                }
                heads.push(String::from_utf8(head).expect("text"));
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
            heads
        });
        (arguments(format!("http://{address}")), seen)
    }

    #[tokio::test]
    async fn a_list_is_read_over_all_its_pages() {
        let answers =
            vec![answer("200 OK", r#"{"edges":[1],"next":"a+b"}"#), answer("200 OK", r#"{"edges":[2],"next":null}"#)];
        let (arguments, seen) = collector(answers).await;
        let list = Client::new(&arguments).expect("a client").get_list("edges", &[]).await.expect("a list");
        assert_eq!(list, serde_json::json!({"edges": [1, 2], "next": null}));
        let seen = seen.await.expect("no panic");
        assert!(seen[0].starts_with("GET /api/v1/edges HTTP/1.1"), "{seen:?}");
        assert!(seen[0].contains("authorization: Bearer s3cret"), "{seen:?}");
        assert!(seen[1].starts_with("GET /api/v1/edges?cursor=a%2Bb HTTP/1.1"), "{seen:?}");
    }

    #[tokio::test]
    async fn refusals_are_told_in_the_collectors_words() {
        let body = r#"{"error":{"code":"not_found","message":"no incident 7; see /api/v1/incidents"}}"#;
        let (arguments, _) = collector(vec![answer("404 Not Found", body)]).await;
        let error = Client::new(&arguments).expect("a client").get_json("incidents/7", &[]).await.expect_err("refused");
        assert_eq!(error.to_string(), "no incident 7; see /api/v1/incidents");
        assert!(matches!(error, ClientError::Refused { status: StatusCode::NOT_FOUND, .. }));
    }

    #[tokio::test]
    async fn a_collector_that_is_not_there_is_told_with_the_fix() {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        let client = Client::new(&arguments(format!("http://{free}"))).expect("a client");
        let error = client.get_json("edges", &[]).await.expect_err("nobody there").to_string();
        assert!(error.contains("tripline demo") && error.contains("TRIPLINE_API"), "{error}");
    }

    #[test]
    fn addresses() {
        for (address, good) in [("http://c:1", true), ("https://c/prefix", true), ("c:7600", false), ("", false)] {
            assert_eq!(Client::new(&arguments(address.to_owned())).is_ok(), good, "{address}");
        }
        assert_eq!(segment("../a b/ü"), "..%2Fa%20b%2F%C3%BC");
    }
}
