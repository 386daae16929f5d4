//! The programs as a person meets them when something is wrong: broken documents, taken ports, hostile telemetry.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tripline_tests::sidecar::Ports;
use tripline_tests::{Api, Collector, Sidecar, ports, programs};

/// Five mistakes, each on a line of its own that a message must name.
const BROKEN: &str = "apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: { name: shop }
spec: { namespaceSelector: {} }
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: { name: web, namespace: shop }
spec:
  listeners:
    - portMapping: { port: 99999, protocol: http }
    - portMapping: { port: 80, protocol: smtp }
  serviceDiscovery: { dns: {} }
  backends:
    - virtualService: { virtualServiceRef: { name: nobody } }
";

fn proxy(mesh: &str, more: &[&str]) -> Result<(Output, TempDir)> {
    let folder = TempDir::new()?;
    let file = folder.path().join("mesh.yaml");
    fs::write(&file, mesh)?;
    let output = Command::new(programs::ours("tripline-proxy")?)
        .args(["--mesh", &file.display().to_string(), "--node", "shop/web"])
        .args(more)
        .output()?;
    Ok((output, folder))
}

#[test]
fn a_broken_mesh_document_lists_every_problem_at_once_and_exits_64() -> Result<()> {
    let (output, _folder) = proxy(BROKEN, &["--check"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(64), "{} {said}", output.status);
    for (line, word) in [(11, "port"), (12, "protocol"), (13, "hostname"), (15, "nobody")] {
        let named = said.lines().any(|text| text.contains(&format!("mesh.yaml:{line}")) && text.contains(word));
        ensure!(named, "nothing about line {line} ({word}) in:\n{said}");
    }
    Ok(())
}

#[test]
fn unknown_fields_warn_with_file_line_and_field_and_do_not_stop_anything() -> Result<()> {
    let mesh = "apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: { name: web, namespace: shop }
spec:
  colour: green
  listeners:
    - portMapping: { port: 8080, protocol: http }
      speed: 12
  serviceDiscovery: { dns: { hostname: localhost } }
";
    let (output, _folder) = proxy(mesh, &["--check"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {said}", output.status);
    for (line, field) in [(5, "colour"), (8, "speed")] {
        let named = said.lines().any(|text| text.contains(&format!("mesh.yaml:{line}")) && text.contains(field));
        ensure!(named, "nothing about line {line} ({field}) in:\n{said}");
    }
    Ok(())
}

#[test]
fn a_taken_port_is_named_with_what_to_do() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let folder = TempDir::new()?;
    let config = folder.path().join("tripline.yaml");
    let listen = format!("listen:\n  http: 127.0.0.1:{port}\n  otlp_grpc: 127.0.0.1:0\n  otlp_http: 127.0.0.1:0\n");
    fs::write(&config, format!("data_dir: {}\n{listen}", folder.path().join("data").display()))?;
    let output = Command::new(programs::ours("tripline")?).args(["collector", "--config"]).arg(&config).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{} {said}", output.status);
    ensure!(said.contains(&port.to_string()) && said.contains("listen"), "{said}");
    Ok(())
}

/// What is wrong, its content type, its bytes, and the status that OTLP asks for.
type Malformed = (&'static str, &'static str, Vec<u8>, u16);

fn malformed() -> [Malformed; 5] {
    let (protobuf, json) = ("application/x-protobuf", "application/json");
    [
        ("truncated protobuf", protobuf, vec![0x0a, 0xff, 0x01, 0x0a], 400),
        ("wrong types", json, b"{\"resourceSpans\":[{\"scopeSpans\":7}]}".to_vec(), 400),
        ("nested 200,000 deep", json, "{\"a\":".repeat(200_000).into_bytes(), 400),
        ("not OTLP's content type", "text/plain", b"hello".to_vec(), 415),
        ("nothing at all", protobuf, Vec::new(), 200),
    ]
}

#[tokio::test]
async fn malformed_telemetry_gets_its_status_and_the_collector_goes_on() -> Result<()> {
    let mut collector = Collector::start("").await?;
    let url = format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http);
    let client = reqwest::Client::builder().no_proxy().build()?;
    for (what, kind, body, expected) in malformed() {
        let answer = client.post(&url).header("content-type", kind).body(body).send().await.context(what)?;
        ensure!(answer.status().as_u16() == expected, "{what}: {}", answer.status());
    }
    let bomb = client.post(&url).header("content-type", "application/x-protobuf").header("content-encoding", "gzip");
    let answer = bomb.body(gzip_of_zeros(64 * 1024 * 1024)?).send().await?;
    ensure!(answer.status().as_u16() == 413, "gzip bomb: {}", answer.status());
    collector.running.check()?;
    collector.api.text("/readyz").await.map(drop)
}

fn gzip_of_zeros(size: u64) -> Result<Vec<u8>> {
    let output = Command::new("sh").args(["-c", &format!("head -c {size} /dev/zero | gzip -9")]).output()?;
    ensure!(output.status.success());
    Ok(output.stdout)
}

/// A node `web` with a backend that is not there.
fn mesh_with_a_dead_backend(inbound: u16, dead: u16) -> String {
    format!(
        "apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {{ name: web, namespace: shop }}
spec:
  listeners: [ {{ portMapping: {{ port: {inbound}, protocol: http }} }} ]
  serviceDiscovery: {{ dns: {{ hostname: 127.0.0.1 }} }}
  backends: [ {{ virtualService: {{ virtualServiceRef: {{ name: dead }} }} }} ]
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: {{ name: dead, namespace: shop }}
spec:
  listeners: [ {{ portMapping: {{ port: {dead}, protocol: http }} }} ]
  serviceDiscovery: {{ dns: {{ hostname: 127.0.0.1 }} }}
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: {{ name: dead, namespace: shop }}
spec: {{ awsName: dead.shop.local, provider: {{ virtualNode: {{ virtualNodeRef: {{ name: dead }} }} }} }}
"
    )
}

#[tokio::test]
async fn a_dead_service_gets_its_client_a_503_with_a_reason_within_the_timeout() -> Result<()> {
    let folder = TempDir::new()?;
    let base = ports::free(8)?;
    let web = Ports::from(base);
    let file = folder.path().join("mesh.yaml");
    fs::write(&file, mesh_with_a_dead_backend(web.inbound, base + 5))?;
    // No collector listens there: the sidecar must not care.
    let _sidecar = Sidecar::start(&file, "shop/web", web, base + 6).await?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let url = format!("http://127.0.0.1:{}/", web.outbound);
    let answer = client.get(&url).header("host", "dead.shop.local").send().await?;
    ensure!(answer.status().as_u16() == 503, "{}", answer.status());
    ensure!(answer.headers().contains_key("x-tripline-error"), "{:?}", answer.headers());
    let text = answer.text().await?;
    ensure!(text.contains("dead"), "{text}");
    // Its own application is not there either.
    let answer = Api::on(web.inbound)?.text("/").await;
    ensure!(answer.as_ref().is_err_and(|error| format!("{error:#}").contains("503")), "{answer:?}");
    Ok(())
}
