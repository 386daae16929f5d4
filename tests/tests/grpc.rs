//! gRPC between unmodified programs of grpcio, streaming in every direction, through two real sidecars.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tripline_tests::sidecar::Ports;
use tripline_tests::{Running, Sidecar, ports, programs, wait};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/grpc");
const START: Duration = Duration::from_secs(20);

/// `web`, whose part the client plays, and `checkout`, each behind a sidecar.
struct Shop {
    _folder: TempDir,
    _server: Running,
    web: Sidecar,
    checkout: Sidecar,
    outbound: u16,
}

impl Shop {
    /// No collector listens: the sidecars' own metrics are looked at.
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let base = ports::free(9)?;
        let (web, checkout) = (Ports::from(base), Ports::from(base + 4));
        let mesh: PathBuf = folder.path().join("mesh.yaml");
        let text = fs::read_to_string(format!("{FIXTURES}/mesh.yaml")).context("no mesh fixture")?;
        fs::write(&mesh, text.replace("CHECKOUT_IN", &checkout.inbound.to_string()))?;
        let mut server = python("server.py", &[checkout.app.to_string()])?;
        server.says("serving", START).await?;
        Ok(Self {
            web: Sidecar::start(&mesh, "shop/web", web, base + 8).await?,
            checkout: Sidecar::start(&mesh, "shop/checkout", checkout, base + 8).await?,
            outbound: web.outbound,
            _folder: folder,
            _server: server,
        })
    }
}

fn python(script: &str, arguments: &[String]) -> Result<Running> {
    let mut command = Command::new(programs::python("python")?);
    Running::start_command(command.arg(format!("{FIXTURES}/{script}")).args(arguments))
}

/// Waits until a sidecar has counted so many exchanges of an edge with an outcome.
async fn counted(sidecar: &Sidecar, half: &str, outcome: &str, count: u64) -> Result<()> {
    let labels = format!("protocol=\"grpc\",half=\"{half}\",outcome=\"{outcome}\"}} {count}\n");
    wait::until(&labels, START, async || {
        let metrics = sidecar.admin.text("/metrics").await.map_err(|error| error.to_string())?;
        let counted = metrics
            .lines()
            .any(|line| line.starts_with("tripline_proxy_requests_total") && format!("{line}\n").ends_with(&labels));
        if counted { Ok(()) } else { Err(metrics) }
    })
    .await
}

#[tokio::test]
async fn every_form_of_call_passes_two_sidecars_and_its_status_decides() -> Result<()> {
    let shop = Shop::start().await?;
    let mut client = python("client.py", &[shop.outbound.to_string(), "5".to_owned()])?;
    let ended = client.ended(Duration::from_secs(150)).await?;
    ensure!(ended.success() && client.output().contains("all well"), "{}", client.output());
    for (sidecar, half) in [(&shop.web, "outbound"), (&shop.checkout, "inbound")] {
        // Four forms that succeed and one that the server refuses, which is no failure of it.
        counted(sidecar, half, "success", 5 * 5).await?;
        counted(sidecar, half, "failure", 2).await?;
    }
    let connections = shop.checkout.admin.text("/metrics").await?;
    ensure!(connections.contains("tripline_proxy_connections_accepted_total{} 1\n"), "{connections}");
    Ok(())
}
