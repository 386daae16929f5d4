//! A WebDriver session: the dozen commands that the tests need, as the standard has them, over plain HTTP.
//!
//! Written here because it is short, and because a WebDriver crate would bring so many dependencies, with features of
//! their own for those we share, that everything would be compiled twice: once for the binaries and once for the tests.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Client;
use serde_json::{Value, json};

/// How long the browser may take for one command.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The key under which the standard keeps an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A session of a WebDriver server.
pub(super) struct Session {
    client: Client,
    address: String,
}

/// An element of the page.
pub(super) struct Element(String);

impl Session {
    /// Starts a browser.
    pub(super) async fn start(driver: &str, capabilities: Value) -> Result<Self> {
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build().context("could not make an HTTP client")?;
        let mut session = Self { client, address: format!("{driver}/session") };
        let started = session.post("", json!({"capabilities": {"alwaysMatch": capabilities}})).await?;
        let id = started["sessionId"].as_str().context("the session has no id")?;
        session.address = format!("{driver}/session/{id}");
        Ok(session)
    }

    /// Sends a command, such as `/url`, and returns the value that it answers.
    pub(super) async fn post(&self, command: &str, body: Value) -> Result<Value> {
        let address = format!("{}{command}", self.address);
        let answer = self.client.post(address).json(&body).send().await;
        value(answer.with_context(|| format!("the browser does not answer {command}"))?).await
    }

    /// Asks for a value, such as `/screenshot`.
    pub(super) async fn get(&self, question: &str) -> Result<Value> {
        let answer = self.client.get(format!("{}{question}", self.address)).send().await;
        value(answer.with_context(|| format!("the browser does not answer {question}"))?).await
    }

    /// Every element that fits the CSS selector.
    pub(super) async fn find_all(&self, selector: &str) -> Result<Vec<Element>> {
        let found = self.post("/elements", json!({"using": "css selector", "value": selector})).await?;
        let ids = found.as_array().into_iter().flatten().filter_map(|element| element[ELEMENT].as_str());
        Ok(ids.map(|id| Element(id.to_owned())).collect())
    }

    /// The first element that fits the CSS selector.
    pub(super) async fn find(&self, selector: &str) -> Result<Element> {
        self.find_all(selector).await?.into_iter().next().with_context(|| format!("nothing fits {selector}"))
    }

    /// The text of an element, as a person sees it.
    pub(super) async fn text(&self, element: &Element) -> Result<String> {
        let text = self.get(&format!("/element/{}/text", element.0)).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks into the middle of an element; something that covers it is an error.
    pub(super) async fn click(&self, element: &Element) -> Result<()> {
        self.post(&format!("/element/{}/click", element.0), json!({})).await.map(drop)
    }

    /// A method of Chrome's DevTools, which chromedriver passes on.
    pub(super) async fn dev_tools(&self, method: &str, parameters: Value) -> Result<Value> {
        self.post("/goog/cdp/execute", json!({"cmd": method, "params": parameters})).await
    }
}

async fn value(answer: reqwest::Response) -> Result<Value> {
    let status = answer.status();
    let body: Value = answer.json().await.context("the browser's answer is not JSON")?;
    if !status.is_success() {
        let error = &body["value"];
        // Not the `stacktrace`, which is long and chromedriver's own.
        bail!("{}: {}", error["error"].as_str().unwrap_or_default(), error["message"].as_str().unwrap_or_default());
    }
    Ok(body["value"].clone())
}
