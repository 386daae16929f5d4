//! Posting JSON to one receiver, and what is counted about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};

use crate::config::{Secret, Url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why alerts cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// TLS.
    #[error("cannot set up the HTTP client for alerts")]
    Client(#[from] reqwest::Error),
    /// A configured header.
    #[error("alert receiver {url}: \"{name}\" is no header, or its value has characters that a header must not have")]
    Header {
        /// The receiver.
        url: Url,
        /// The header's name.
        name: String,
    },
}

/// Why one post failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// No answer.
    #[error("no answer")]
    Unreachable(#[from] reqwest::Error),
    /// An answer that says no.
    #[error("it answered {0}")]
    Refused(StatusCode),
}

impl PostError {
    /// Whether the same post may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
        }
    }
}

/// Counters of one receiver, all since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// `webhook` or `alertmanager`.
    pub kind: &'static str,
    /// Its host and port; path and credentials are nobody's business.
    pub host: String,
    /// Posts that it took.
    pub delivered: u64,
    /// Posts that failed, tried again or not.
    pub failures: u64,
    /// Notifications that it was never told.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Tally {
    delivered: AtomicU64,
    failures: AtomicU64,
    dropped: AtomicU64,
}

/// One receiver. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Target {
    kind: &'static str,
    url: String,
    host: String,
    headers: HeaderMap,
    client: Client,
    tally: Arc<Tally>,
}

impl Target {
    /// A receiver that is posted to at `url`.
    pub(super) fn new(
        kind: &'static str,
        url: &Url,
        headers: &[(String, Secret)],
        client: &Client,
    ) -> Result<Self, StartError> {
        let pairs = headers.iter().map(|(name, value)| {
            let bad = || StartError::Header { url: url.clone(), name: name.clone() };
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
            value.set_sensitive(true);
            Ok((name.parse::<HeaderName>().map_err(|_| bad())?, value))
        });
        let uri: http::Uri = url.as_str().parse().unwrap_or_default();
        Ok(Self {
            kind,
            url: url.as_str().to_owned(),
            host: host_of(&uri),
            headers: pairs.collect::<Result<_, StartError>>()?,
            client: client.clone(),
            tally: Arc::default(),
        })
    }

    /// An Alertmanager at `url`.
    pub(super) fn alertmanager(url: &Url, client: &Client) -> Result<Self, StartError> {
        let mut target = Self::new("alertmanager", url, &[], client)?;
        target.url.push_str("/api/v2/alerts");
        Ok(target)
    }

    pub(super) fn is_alertmanager(&self) -> bool {
        self.kind == "alertmanager"
    }

    /// Posts once; counted and told.
    pub(super) async fn post(&self, body: &serde_json::Value) -> Result<(), PostError> {
        let result = self.try_post(body).await;
        match &result {
            Ok(()) => self.tally.delivered.fetch_add(1, Relaxed),
            Err(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(receiver = self.host, kind = self.kind, %error, cause, "an alert was not delivered");
                self.tally.failures.fetch_add(1, Relaxed)
            }
        };
        result
    }

    async fn try_post(&self, body: &serde_json::Value) -> Result<(), PostError> {
        let request = self.client.post(&self.url).headers(self.headers.clone()).json(body);
        // The address may hold a password: it is taken out of what is logged.
        let status = request.send().await.map_err(reqwest::Error::without_url)?.status();
        if status.is_success() { Ok(()) } else { Err(PostError::Refused(status)) }
    }

    pub(super) fn count_dropped(&self, notifications: u64) {
        self.tally.dropped.fetch_add(notifications, Relaxed);
        tracing::warn!(receiver = self.host, kind = self.kind, notifications, "alerts were dropped");
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            kind: self.kind,
            host: self.host.clone(),
            delivered: self.tally.delivered.load(Relaxed),
            failures: self.tally.failures.load(Relaxed),
            dropped: self.tally.dropped.load(Relaxed),
        }
    }
}

/// The client that all receivers share. It follows no redirects: a receiver that moved should be configured anew, and a
/// redirect must not carry our headers elsewhere.
pub(super) fn client() -> Result<Client, StartError> {
    let none = reqwest::redirect::Policy::none();
    Ok(Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).redirect(none).build()?)
}

fn host_of(uri: &http::Uri) -> String {
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_out_of_what_is_shown() {
        let url = Url::parse("https://user:secret@alerts.example:9093/path").unwrap();
        let target = Target::alertmanager(&url, &client().unwrap()).unwrap();
        assert_eq!(target.counters().host, "alerts.example:9093");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, is_passing) in [(503, true), (500, true), (429, true), (408, true), (400, false), (302, false)] {
            assert_eq!(PostError::Refused(StatusCode::from_u16(status).unwrap()).is_passing(), is_passing, "{status}");
        }
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_refused() {
        let url = Url::parse("http://127.0.0.1:1").unwrap();
        let headers = [("x-key".to_owned(), Secret::new("a\nb"))];
        let refused = Target::new("webhook", &url, &headers, &client().unwrap());
        assert!(matches!(refused, Err(StartError::Header { .. })));
    }
}
