//! The demo, started as a person starts it but on ports of its own.

mod trial;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{Mutex, MutexGuard};

use crate::{Api, Running, ports, programs};

pub use trial::{Fault, Row};

/// Ports that the demo takes from its base upwards: the collector's, then four for each of twelve services.
const PORTS: u16 = 64;

/// How long the collector and all services may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// Two demos at once would compete for the cores that the story of each needs. cargo-nextest keeps them apart as well;
/// this is for `cargo test`, which runs the tests of one file at the same time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A running demo: the collector, twelve services behind their sidecars, and the load.
pub struct Demo {
    /// The process that started all others.
    pub running: Running,
    /// The collector.
    pub api: Api,
    /// The first of its ports, which is the collector's.
    pub port: u16,
    _alone: MutexGuard<'static, ()>,
}

impl Demo {
    /// Starts `tripline demo --headless` with more arguments, and waits until the collector is ready.
    ///
    /// # Errors
    /// When it has not been built, or does not become ready.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        let alone = ONE_AT_A_TIME.lock().await;
        let port = ports::free(PORTS)?;
        let base = port.to_string();
        let mut all = vec!["demo", "--headless", "--port-base", &base];
        all.extend(arguments);
        let mut running = Running::start(&programs::ours("tripline")?, all)?;
        let api = Api::on(port)?;
        let ready = api.answers("/readyz", START).await;
        running.check()?;
        ready.with_context(|| format!("the demo did not start; it said:\n{}", running.output()))?;
        Ok(Self { running, api, port, _alone: alone })
    }
}
