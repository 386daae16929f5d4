//! History in an object store: moto's S3 keeps the files, the local disk is lost, and the past is still there.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tripline_tests::{Api, Collector, Running, ports, programs, wait};

const LIMIT: Duration = Duration::from_secs(40);
const TRACE: &str = "0000000000000000000000000000002a";

fn request() -> Value {
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let service = json!({"key": "service.name", "value": {"stringValue": "web"}});
    json!({"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [{"spans": [{
        "traceId": TRACE, "spanId": "000000000000002a", "name": "n", "kind": 2,
        "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 1).to_string()}]}]}]})
}

/// moto's S3 with a bucket.
async fn bucket(port: u16) -> Result<Running> {
    let mut moto = Command::new(programs::python("moto_server")?);
    moto.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let moto = Running::start_command(&moto)?;
    Api::on(port)?.answers("/", LIMIT).await?;
    let made = reqwest::Client::new().put(format!("http://127.0.0.1:{port}/telemetry")).send().await?;
    ensure!(made.status().is_success(), "no bucket: {}", made.status());
    Ok(moto)
}

/// A running collector whose history lies in that bucket.
async fn collector(port: u16, more: &str) -> Result<Collector> {
    let settings = format!("history:\n  store: s3://telemetry/tripline\n  endpoint: http://127.0.0.1:{port}\n{more}");
    let credentials = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_REGION", "us-east-1")];
    Collector::start_with(&settings, &credentials).await
}

async fn stop(collector: &mut Collector) -> Result<()> {
    collector.running.signal(Signal::SIGTERM)?;
    collector.running.ended(LIMIT).await.map(drop)
}

async fn finds_the_trace(collector: &Collector) -> Result<()> {
    wait::until("the trace", LIMIT, async || collector.api.text(&format!("/api/v1/traces/{TRACE}")).await)
        .await
        .map(drop)
}

#[tokio::test]
async fn the_past_outlives_the_disk_of_the_collector() -> Result<()> {
    let port = ports::free(1)?;
    let _moto = bucket(port).await?;
    let mut first = collector(port, "").await?;
    Api::on(first.otlp_http)?.post("/v1/traces", &request()).await?;
    finds_the_trace(&first).await?;
    stop(&mut first).await?;

    let mut second = collector(port, "").await?;
    ensure!(!second.folder.path().join("data/spans").exists(), "nothing is fetched before it is asked for");
    finds_the_trace(&second).await?;
    stop(&mut second).await
}

#[tokio::test]
async fn local_copies_are_let_go_and_fetched_again() -> Result<()> {
    let port = ports::free(1)?;
    let _moto = bucket(port).await?;
    let mut collector = collector(port, "  cache_bytes: 1\n").await?;
    Api::on(collector.otlp_http)?.post("/v1/traces", &request()).await?;
    let spans = collector.folder.path().join("data/spans");
    wait::until("the local copy to go", LIMIT, async || {
        ensure!(spans.exists(), "not written yet");
        let files = files(&spans)?;
        ensure!(files.iter().any(|name| name.ends_with(".bloom")), "{files:?}");
        ensure!(files.iter().all(|name| !name.ends_with(".parquet")), "{files:?}");
        Ok(())
    })
    .await?;
    finds_the_trace(&collector).await?;
    stop(&mut collector).await
}

#[tokio::test]
async fn a_prefix_of_another_collector_is_refused() -> Result<()> {
    let port = ports::free(1)?;
    let _moto = bucket(port).await?;
    let mut first = collector(port, "").await?;
    Api::on(first.otlp_http)?.post("/v1/traces", &request()).await?;
    finds_the_trace(&first).await?;
    stop(&mut first).await?;
    let manifest = first.folder.path().join("data/manifest.json");
    let mut changed: Value = serde_json::from_str(&fs::read_to_string(&manifest)?)?;
    changed["id"] = json!(changed["id"].as_u64().context("an id")? - 1);
    fs::write(&manifest, changed.to_string())?;
    first.launch_again()?;
    let status = first.running.ended(LIMIT).await?;
    ensure!(!status.success(), "it started");
    ensure!(first.running.output().contains("belongs to another collector"), "{}", first.running.output());
    Ok(())
}

/// Names of all files below a folder.
fn files(folder: &std::path::Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.extend(files(&entry.path())?);
        } else {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}
