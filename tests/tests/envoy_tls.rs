//! Envoy as the peer sidecar of ours over mutual TLS, both ways: each proves to the other who it is.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tripline_tests::certificates::Authority;
use tripline_tests::fixtures::fill;
use tripline_tests::sidecar::Ports;
use tripline_tests::{Api, Running, Sidecar, ports, programs, wait};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/envoy");
const START: Duration = Duration::from_secs(30);

/// `web` (ours) calls `legacy` (Envoy), and Envoy calls `checkout` (ours).
struct Shop {
    _folder: TempDir,
    _programs: Vec<Running>,
    _web: Sidecar,
    checkout: Sidecar,
    web: Ports,
    envoy_out: u16,
}

impl Shop {
    async fn start(protocol: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::new(folder.path())?;
        for name in ["web", "legacy", "checkout"] {
            authority.issue(name, &format!("spiffe://shop.example/ns/shop/sa/{name}"))?;
        }
        let base = ports::free(12)?;
        let (web, checkout) = (Ports::from(base), Ports::from(base + 4));
        let (envoy_in, envoy_out, envoy_app) = (base + 8, base + 9, base + 10);
        let words = [
            ("FOLDER", folder.path().display().to_string()),
            ("PROTOCOL", protocol.to_owned()),
            ("ENVOY_IN", envoy_in.to_string()),
            ("ENVOY_OUT", envoy_out.to_string()),
            ("ENVOY_APP", envoy_app.to_string()),
            ("CHECKOUT_IN", checkout.inbound.to_string()),
        ];
        let (mesh, config) =
            (fill(FIXTURES, "mesh.yaml", folder.path(), &words)?, fill(FIXTURES, "tls.yaml", folder.path(), &words)?);
        let app = |port: u16| {
            let mut command = Command::new("python3");
            Running::start_command(command.arg(format!("{FIXTURES}/headers.py")).arg(port.to_string()))
        };
        let mut envoy = Command::new(programs::python("envoy")?);
        envoy.args(["--disable-hot-restart", "--log-level", "warning", "--concurrency", "1", "-c"]).arg(&config);
        let programs = vec![app(envoy_app)?, app(checkout.app)?, Running::start_command(&envoy)?];
        Ok(Self {
            _web: Sidecar::start(&mesh, "shop/web", web, base + 11).await?,
            checkout: Sidecar::start(&mesh, "shop/checkout", checkout, base + 11).await?,
            _folder: folder,
            _programs: programs,
            web,
            envoy_out,
        })
    }
}

/// The answer to a call of `legacy` through our sidecar, once everything listens.
async fn call_legacy(port: u16) -> Result<String> {
    let proxy = reqwest::Proxy::http(format!("http://127.0.0.1:{port}"))?;
    let client = reqwest::Client::builder().proxy(proxy).timeout(Duration::from_secs(5)).build()?;
    wait::until("an answer through Envoy", START, async || {
        let answer = client.get("http://legacy.shop.local/").send().await.map_err(|error| error.to_string())?;
        let (status, text) = (answer.status(), answer.text().await.map_err(|error| error.to_string())?);
        if status.is_success() { Ok(text) } else { Err(format!("{status} {text}")) }
    })
    .await
}

#[tokio::test]
async fn envoy_and_ours_believe_each_other_over_http_1() -> Result<()> {
    believe_each_other("http").await
}

#[tokio::test]
async fn envoy_and_ours_believe_each_other_over_http_2() -> Result<()> {
    believe_each_other("http2").await
}

async fn believe_each_other(protocol: &str) -> Result<()> {
    let shop = Shop::start(protocol).await?;
    let seen = call_legacy(shop.web.outbound).await?;
    ensure!(seen.contains("URI=spiffe://shop.example/ns/shop/sa/web"), "Envoy saw {seen}");
    let envoy = Api::on(shop.envoy_out)?;
    envoy.answers("/", START).await?;
    let edge =
        "client=\"shop/legacy\",server=\"shop/checkout\",protocol=\"http\",half=\"inbound\",outcome=\"success\"} ";
    wait::until(edge, START, async || {
        let metrics = shop.checkout.admin.text("/metrics").await.map_err(|error| error.to_string())?;
        let counted = metrics.lines().any(|line| line.contains(edge) && !line.ends_with(" 0"));
        if counted { Ok(()) } else { Err(metrics) }
    })
    .await
}
