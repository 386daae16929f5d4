//! Asking a collector, or any other HTTP server of a test.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wait;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server on loopback.
#[derive(Clone)]
pub struct Api {
    base: String,
    client: Client,
}

impl Api {
    /// The server that listens, or soon will, on this port of 127.0.0.1.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn on(port: u16) -> Result<Self> {
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build().context("could not make an HTTP client")?;
        Ok(Self { base: format!("http://127.0.0.1:{port}"), client })
    }

    /// The address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// What a GET answers, as JSON of this type.
    ///
    /// # Errors
    /// When there is no answer, or one with another status than 2xx, or of another shape.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let text = self.text(path).await?;
        serde_json::from_str(&text).with_context(|| format!("GET {path} answered another shape: {text}"))
    }

    /// What a GET answers, as text.
    ///
    /// # Errors
    /// When there is no answer, or one with another status than 2xx.
    pub async fn text(&self, path: &str) -> Result<String> {
        let answer = self.client.get(self.url(path)).send().await.with_context(|| format!("GET {path}"))?;
        success(answer, &format!("GET {path}")).await
    }

    /// What a POST of JSON answers, as text.
    ///
    /// # Errors
    /// When there is no answer, or one with another status than 2xx.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<String> {
        let answer =
            self.client.post(self.url(path)).json(body).send().await.with_context(|| format!("POST {path}"))?;
        success(answer, &format!("POST {path}")).await
    }

    /// Waits until a GET of this path answers 2xx.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn answers(&self, path: &str, limit: Duration) -> Result<()> {
        wait::until(&format!("{} to answer", self.url(path)), limit, async || self.text(path).await).await.map(drop)
    }
}

async fn success(answer: Response, what: &str) -> Result<String> {
    let status = answer.status();
    let text = answer.text().await.with_context(|| format!("{what}: its body did not arrive"))?;
    ensure!(status.is_success(), "{what} answered {status}: {text}");
    Ok(text)
}
