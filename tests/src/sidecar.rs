//! A sidecar of ours beside an application that the test starts itself.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::{Api, Running, programs};

const START: Duration = Duration::from_secs(20);

/// Where one sidecar listens, and what it stands beside.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Where clients reach the service.
    pub inbound: u16,
    /// Where the application reaches others.
    pub outbound: u16,
    /// Its admin port.
    pub admin: u16,
    /// Where the application listens.
    pub app: u16,
}

impl Ports {
    /// Four neighbouring ports from `base`.
    #[must_use]
    pub const fn from(base: u16) -> Self {
        Self { inbound: base, outbound: base + 1, admin: base + 2, app: base + 3 }
    }
}

/// A running sidecar.
pub struct Sidecar {
    /// The process.
    pub running: Running,
    /// Its admin port.
    pub admin: Api,
}

impl Sidecar {
    /// Starts the sidecar of `node` with a mesh document; `collector` is the port of OTLP over gRPC.
    ///
    /// # Errors
    /// When it has not been built, or does not become ready.
    pub async fn start(mesh: &Path, node: &str, ports: Ports, collector: u16) -> Result<Self> {
        let collector = format!("http://127.0.0.1:{collector}");
        let more = [("TRIPLINE_COLLECTOR", collector), ("TRIPLINE_SAMPLE_RATIO", "0.01".to_owned())];
        Self::start_with(mesh, node, ports, &more).await
    }

    /// Starts it with further variables of its environment.
    ///
    /// # Errors
    /// When it has not been built, or does not become ready.
    pub async fn start_with(mesh: &Path, node: &str, ports: Ports, more: &[(&str, String)]) -> Result<Self> {
        let mut command = Command::new(programs::ours("tripline-proxy")?);
        command
            .env("TRIPLINE_MESH", mesh)
            .env("TRIPLINE_NODE", node)
            .env("TRIPLINE_INBOUND", format!("127.0.0.1:{}", ports.inbound))
            .env("TRIPLINE_OUTBOUND", format!("127.0.0.1:{}", ports.outbound))
            .env("TRIPLINE_ADMIN", format!("127.0.0.1:{}", ports.admin))
            .env("TRIPLINE_APP", format!("127.0.0.1:{}", ports.app))
            .envs(more.iter().map(|(name, value)| (*name, value)));
        let mut running = Running::start_command(&command)?;
        let admin = Api::on(ports.admin)?;
        let ready = admin.answers("/readyz", START).await;
        running.check()?;
        ready.map(|()| Self { running, admin })
    }
}
