//! A collector by itself, for tests that bring their own senders.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tripline_api::{Edge, Graph};

use crate::{Api, Running, ports, programs, wait};

const START: Duration = Duration::from_secs(30);
/// Longer than a sidecar or an SDK of the tests holds back what it has counted.
const MOMENT: Duration = Duration::from_secs(2);

/// A running collector with a data folder of its own.
pub struct Collector {
    /// The process.
    pub running: Running,
    /// Its HTTP API.
    pub api: Api,
    /// Where it takes OTLP over gRPC.
    pub otlp_grpc: u16,
    /// Where it takes OTLP over HTTP.
    pub otlp_http: u16,
    /// Configuration and data.
    pub folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Collector {
    /// Starts a collector whose configuration ends with `more`, lines of YAML.
    ///
    /// # Errors
    /// When it has not been built, or does not become ready.
    pub async fn start(more: &str) -> Result<Self> {
        Self::start_with(more, &[]).await
    }

    /// The same with variables in its environment.
    ///
    /// # Errors
    /// When it has not been built, or does not become ready.
    pub async fn start_with(more: &str, environment: &[(&str, &str)]) -> Result<Self> {
        let http = ports::free(3)?;
        let folder = TempDir::with_prefix("tripline-collector-").context("could not create a data folder")?;
        let data = folder.path().join("data");
        let config = format!(
            "data_dir: {}\nlisten:\n  http: 127.0.0.1:{http}\n  otlp_grpc: 127.0.0.1:{}\n  otlp_http: 127.0.0.1:{}\n{more}\n",
            data.display(),
            http + 1,
            http + 2
        );
        fs::write(folder.path().join("tripline.yaml"), config).context("could not write the configuration")?;
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let running = Self::launch(&folder, &environment)?;
        let api = Api::on(http)?;
        let mut collector = Self { running, api, otlp_grpc: http + 1, otlp_http: http + 2, folder, environment };
        let ready = collector.api.answers("/readyz", START).await;
        collector.running.check()?;
        ready.map(|()| collector)
    }

    /// Kills it without warning and starts it again on the same ports and data.
    ///
    /// # Errors
    /// When it does not become ready again.
    pub async fn kill_and_restart(&mut self) -> Result<()> {
        self.running.signal(nix::sys::signal::Signal::SIGKILL)?;
        self.running.ended(START).await?;
        self.launch_again()?;
        self.api.answers("/readyz", START).await
    }

    /// Starts it again on the same ports and data, after it has ended.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn launch_again(&mut self) -> Result<()> {
        self.running = Self::launch(&self.folder, &self.environment)?;
        Ok(())
    }

    /// The address that senders are given for OTLP over gRPC.
    #[must_use]
    pub fn otlp_grpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.otlp_grpc)
    }

    /// Waits until the graph over a minute has exactly these edges, given as `client>server:protocol`, each with traffic;
    /// they are answered in the order of those names.
    ///
    /// # Errors
    /// When it has others after `limit`; the message lists them.
    pub async fn has_edges(&self, expected: &[&str], limit: Duration) -> Result<Vec<Edge>> {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        wait::until("the right edges", limit, async || {
            let graph: Graph = self.api.get("/api/v1/graph?window=60s").await?;
            let mut edges: Vec<Edge> = graph.edges.into_iter().filter(|edge| edge.requests > 0).collect();
            edges.sort_unstable_by(|a, b| a.id.cmp(&b.id));
            let ids: Vec<&str> = edges.iter().map(|edge| edge.id.as_str()).collect();
            anyhow::ensure!(ids == expected, "{ids:?}");
            Ok(edges)
        })
        .await
    }

    /// Waits until the graph over a minute has exactly these edges with exactly so many requests, and still has them a moment later: a
    /// count that passes the right number on its way up is not the right one.
    ///
    /// # Errors
    /// When it has others after `limit`; the message lists them.
    pub async fn has_counts(&self, expected: &[(&str, u64)], limit: Duration) -> Result<Vec<Edge>> {
        let ids: Vec<&str> = expected.iter().map(|(id, _)| *id).collect();
        let right = async || {
            let edges = self.has_edges(&ids, Duration::ZERO).await?;
            let requests = |id: &str| edges.iter().find(|edge| edge.id == id).map(|edge| edge.requests);
            anyhow::ensure!(expected.iter().all(|(id, count)| requests(id) == Some(*count)), "{edges:?}");
            Ok(edges)
        };
        wait::until("the right counts", limit, right).await?;
        tokio::time::sleep(MOMENT).await;
        right().await.context("the counts went on")
    }

    fn launch(folder: &TempDir, environment: &[(String, String)]) -> Result<Running> {
        let mut command = std::process::Command::new(programs::ours("tripline")?);
        command.arg("collector").arg("--config").arg(folder.path().join("tripline.yaml"));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Running::start_command(&command)
    }
}
