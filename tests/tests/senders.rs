//! Real senders that know nothing of Tripline: the OpenTelemetry Python SDK, AWS X-Ray's, a reporter of Zipkin, and Envoy with its
//! OpenTelemetry tracer.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tripline_api::{Graph, NodeKind};
use tripline_tests::sidecar::Ports;
use tripline_tests::{Api, Collector, Running, Sidecar, ports, programs, wait};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
const START: Duration = Duration::from_secs(30);
/// Spans wait in their senders' batches, and windows of unnamed callers wait for spans.
const SPANS: Duration = Duration::from_secs(45);

/// A service of `fixtures/opentelemetry`.
fn instrumented(collector: &Collector, arguments: &[&str]) -> Result<Running> {
    let mut service = Command::new(programs::python("python")?);
    service
        .arg(format!("{FIXTURES}/opentelemetry/service.py"))
        .args(arguments)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.otlp_grpc_url())
        .env("OTEL_EXPORTER_OTLP_INSECURE", "true");
    Running::start_command(&service)
}

async fn ask(port: u16, times: usize) -> Result<()> {
    let api = Api::on(port)?;
    api.answers("/", START).await?;
    for _ in 1..times {
        api.text("/").await?;
    }
    Ok(())
}

async fn kinds(collector: &Collector) -> Result<Vec<(String, NodeKind)>> {
    let graph: Graph = collector.api.get("/api/v1/graph?window=60s").await?;
    Ok(graph.nodes.into_iter().map(|node| (node.id, node.kind)).collect())
}

#[tokio::test]
async fn python_services_without_any_sidecar_are_paired_from_their_spans() -> Result<()> {
    let collector = Collector::start("").await?;
    let base = ports::free(2)?;
    let orders = format!("{}", base + 1);
    let _orders = instrumented(&collector, &["orders", &orders])?;
    Api::on(base + 1)?.answers("/", START).await?;
    let next = format!("http://127.0.0.1:{orders}/");
    let _storefront = instrumented(&collector, &["storefront", &base.to_string(), &next])?;
    ask(base, 20).await?;
    let database = "shop/orders>orders (sqlite):database";
    let expected = [
        ("shop/storefront>shop/orders:http", 20),
        (database, 21),
        ("user>shop/orders:http", 1),
        ("user>shop/storefront:http", 20),
    ];
    collector.has_counts(&expected, SPANS).await?;
    let kinds = kinds(&collector).await?;
    ensure!(kinds.contains(&("orders (sqlite)".into(), NodeKind::Database)), "{kinds:?}");
    ensure!(kinds.contains(&("user".into(), NodeKind::User)), "{kinds:?}");
    Ok(())
}

#[tokio::test]
async fn a_python_client_without_a_sidecar_is_named_on_the_edge_that_the_servers_sidecar_counts() -> Result<()> {
    let collector = Collector::start("").await?;
    let base = ports::free(5)?;
    let orders = Ports::from(base);
    let mesh = collector.folder.path().join("mesh.yaml");
    let text = fs::read_to_string(format!("{FIXTURES}/opentelemetry/mesh.yaml")).context("no mesh fixture")?;
    fs::write(&mesh, text.replace("ORDERS_IN", &orders.inbound.to_string()))?;
    let _orders = instrumented(&collector, &["orders", &orders.app.to_string()])?;
    let _sidecar = Sidecar::start(&mesh, "shop/orders", orders, collector.otlp_grpc).await?;
    let next = format!("http://127.0.0.1:{}/", orders.inbound);
    let storefront = base + 4;
    let _storefront = instrumented(&collector, &["storefront", &storefront.to_string(), &next])?;
    ask(storefront, 30).await?;
    let database = "shop/orders>orders (sqlite):database";
    let expected = [("shop/storefront>shop/orders:http", 30), (database, 30), ("user>shop/storefront:http", 30)];
    collector.has_counts(&expected, SPANS).await?;
    // Spans tell of the call first; the sidecar's counts take their place once the collector knows whose they are.
    let counted = wait::until("the sidecar's counts", SPANS, async || {
        let edges = collector.has_counts(&expected, Duration::ZERO).await?;
        let call = edges.into_iter().find(|edge| edge.id == expected[0].0).context("no edge")?;
        ensure!(call.reporter == "server", "{call:?}");
        Ok(())
    });
    counted.await
}

/// Envoy beside both applications, on ports from `base`; what runs is returned.
fn envoy_and_its_applications(collector: &Collector, base: u16) -> Result<[Running; 3]> {
    let port = |offset: u16| (base + offset).to_string();
    let mut config = fs::read_to_string(format!("{FIXTURES}/envoy/envoy.yaml")).context("no envoy fixture")?;
    config = config.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    for (offset, word) in ["ADMIN", "FRONT_IN", "FRONT_OUT", "FRONT_APP", "BACK_IN", "BACK_APP"].iter().enumerate() {
        config = config.replace(word, &port(offset as u16));
    }
    config = config.replace("COLLECTOR", &collector.otlp_grpc.to_string());
    let file = collector.folder.path().join("envoy.yaml");
    fs::write(&file, config)?;
    let app = format!("{FIXTURES}/envoy/app.py");
    let python = programs::python("python")?;
    let envoy = ["-c", &file.display().to_string(), "--concurrency", "1", "-l", "error"].map(str::to_owned);
    Ok([
        Running::start(&python, [app.as_str(), &port(5)])?,
        Running::start(&python, [app.as_str(), &port(3), &format!("http://127.0.0.1:{}/", port(2))])?,
        Running::start(&programs::python("envoy")?, envoy)?,
    ])
}

#[tokio::test]
async fn envoy_as_the_sidecar_of_two_services_gives_their_edges() -> Result<()> {
    let collector = Collector::start("").await?;
    let base = ports::free(6)?;
    let _running = envoy_and_its_applications(&collector, base)?;
    for app in [base + 3, base + 5] {
        // A connection only: a request would leave spans that the test did not ask for.
        let what = format!("port {app} to take connections");
        wait::until(&what, START, async || tokio::net::TcpStream::connect(("127.0.0.1", app)).await).await?;
    }
    ask(base + 1, 25).await?;
    collector.has_counts(&[("front>back:http", 25), ("user>front:http", 25)], SPANS).await.map(drop)
}

/// Runs one of the scripts that make calls and end.
async fn calls(script: &str, to: &str, count: u64) -> Result<()> {
    let mut command = Command::new(programs::python("python")?);
    command.args([&format!("{FIXTURES}/{script}/calls.py"), to, &count.to_string()]);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn the_xray_sdk_finds_its_daemon_and_its_segments_are_calls() -> Result<()> {
    let xray = ports::free(1)?;
    let collector = Collector::start(&format!("  xray: 127.0.0.1:{xray}")).await?;
    calls("xray", &format!("127.0.0.1:{xray}"), 40).await?;
    let edges = collector.has_counts(&[("user>web:http", 40), ("web>stock:http", 40)], SPANS).await?;
    let failed: Vec<u64> = edges.iter().map(|edge| edge.failed).collect();
    ensure!(failed == [0, 8], "{failed:?}");
    Ok(())
}

#[tokio::test]
async fn a_zipkin_reporter_is_taken_in_on_both_ports() -> Result<()> {
    let collector = Collector::start("").await?;
    let usual = format!("http://127.0.0.1:{}/api/v2/spans", collector.otlp_http);
    for to in [usual, collector.api.url("/zipkin/api/v2/spans")] {
        calls("zipkin", &to, 15).await?;
    }
    collector.has_counts(&[("shop>prices:http", 30), ("user>shop:http", 30)], SPANS).await.map(drop)
}
