//! A real browser: Debian's Chromium, headless, driven through chromedriver.

mod session;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Running, programs, wait};
use session::Session;

/// How long chromedriver and the browser may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// What chromedriver says, followed by its port, once it listens.
const STARTED: &str = "started successfully on port ";

/// The browser asks for nothing outside: neither for updates of its own nor for what its maker counts.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
];

/// The page's colours, as the system would prefer them.
#[derive(Clone, Copy)]
pub enum Scheme {
    /// Dark text on a light ground.
    Light,
    /// Light text on a dark ground.
    Dark,
}

/// A browser with one page.
pub struct Browser {
    session: Session,
    _driver: Running,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser with an empty profile and opens `url`.
    ///
    /// # Errors
    /// When Chromium or chromedriver is missing, or does not start.
    pub async fn open(url: &str) -> Result<Self> {
        let profile = TempDir::with_prefix("tripline-browser-").context("could not create a browser profile")?;
        let mut driver = Running::start(&programs::peer("chromedriver", "chromium-driver")?, ["--port=0"])?;
        let line = driver.says(STARTED, START).await?;
        let port = line.split(STARTED).nth(1).unwrap_or_default().trim_end_matches('.');
        let session = Session::start(&format!("http://127.0.0.1:{port}"), capabilities(profile.path()))
            .await
            .context("chromedriver could not start Chromium")?;
        session.post("/url", json!({"url": url})).await.with_context(|| format!("could not open {url}"))?;
        Ok(Self { session, _driver: driver, _profile: profile })
    }

    /// What a script, the body of a function, returns.
    ///
    /// # Errors
    /// When it throws.
    pub async fn run(&self, script: &str) -> Result<Value> {
        self.session.post("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// Waits until an element fits the CSS selector, and returns its text.
    ///
    /// # Errors
    /// When none does within `limit`.
    pub async fn shows(&self, selector: &str, limit: Duration) -> Result<String> {
        wait::until(&format!("the page to show {selector}"), limit, async || {
            self.session.text(&self.session.find(selector).await?).await
        })
        .await
    }

    /// Clicks the first element that fits the CSS selector, once there is one.
    ///
    /// # Errors
    /// When there is none within `limit`, or it cannot be clicked.
    pub async fn click(&self, selector: &str, limit: Duration) -> Result<()> {
        wait::until(&format!("{selector} to take a click"), limit, async || {
            self.session.click(&self.session.find(selector).await?).await
        })
        .await
    }

    /// How many elements fit the CSS selector.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn count(&self, selector: &str) -> Result<usize> {
        Ok(self.session.find_all(selector).await?.len())
    }

    /// What the page and the browser complained about since it was last asked: errors of scripts and of requests.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let entries = self.session.post("/se/log", json!({"type": "browser"})).await?;
        let severe = |entry: &&Value| entry["level"] == "SEVERE";
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        Ok(entries.as_array().into_iter().flatten().filter(severe).map(text).collect())
    }

    /// Has the page drawn as on a system that prefers these colours and no motion: a picture of a page whose colours are still
    /// fading from one scheme into the other shows what nobody sees.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn prefer(&self, scheme: Scheme) -> Result<()> {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!([
            {"name": "prefers-color-scheme", "value": value},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        let set = self.session.dev_tools("Emulation.setEmulatedMedia", json!({"features": features})).await;
        set.context("could not set the colour scheme").map(drop)
    }

    /// Saves what the page shows as a PNG file of this size.
    ///
    /// # Errors
    /// When the browser does not answer or the file cannot be written.
    pub async fn screenshot(&self, file: &Path, (width, height): (u32, u32)) -> Result<()> {
        self.session.post("/window/rect", json!({"width": width, "height": height})).await?;
        let picture = self.session.get("/screenshot").await?;
        let png = STANDARD
            .decode(picture.as_str().unwrap_or_default())
            .map_err(|error| anyhow!("the screenshot is not base64: {error}"))?;
        std::fs::write(file, png).with_context(|| format!("could not write {}", file.display()))
    }
}

fn capabilities(profile: &Path) -> Value {
    let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
    flags.push(format!("--user-data-dir={}", profile.display()));
    json!({"goog:chromeOptions": {"args": flags}, "goog:loggingPrefs": {"browser": "ALL"}})
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "data:text/html,<h1>Good morning</h1><p>One<p>Two<script>console.error('cold')</script>";

    #[tokio::test]
    async fn a_page_is_shown_its_complaints_heard_and_its_colours_preferred() -> Result<()> {
        let browser = Browser::open(PAGE).await?;
        assert_eq!(browser.shows("h1", START).await?, "Good morning");
        assert_eq!(browser.count("p").await?, 2);
        assert!(browser.complaints().await?.concat().contains("cold"));
        browser.prefer(Scheme::Dark).await?;
        let dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
        assert_eq!(browser.run(dark).await?, true);
        Ok(())
    }
}
