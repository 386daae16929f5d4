//! The history files are anybody's: DuckDB reads them by itself and finds what was sent.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tripline_tests::{Api, Collector, programs, wait};

const LIMIT: Duration = Duration::from_secs(30);
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/duckdb/read.py");

/// A client's and a server's span of trace `number`, 5 ms and 3 ms long.
fn request(number: u64, start: u64) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |id: u64, kind: u64, parent: String, millis: u64| {
        json!({"traceId": format!("{number:032x}"), "spanId": format!("{id:016x}"), "parentSpanId": parent, "kind": kind,
            "name": "GET /cart", "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": (start + millis * 1_000_000).to_string(), "attributes": [text("url.path", "/cart")]})
    };
    let of = |service: &str, span: Value| {
        json!({"resource": {"attributes": [text("service.name", service), text("service.namespace", "shop")]},
            "scopeSpans": [{"spans": [span]}]})
    };
    let (outer, inner) = (number * 10 + 1, number * 10 + 2);
    json!({"resourceSpans": [
        of("web", span(outer, 3, String::new(), 5)),
        of("cart", span(inner, 2, format!("{outer:016x}"), 3)),
    ]})
}

/// What DuckDB finds in a data folder.
fn read(data: &Path) -> Result<Value> {
    let output = Command::new(programs::python("python")?).arg(READER).arg(data).output().context("python")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("no JSON")
}

#[tokio::test]
async fn duckdb_reads_spans_and_edges_and_finds_a_trace_by_its_id() -> Result<()> {
    let mut collector = Collector::start("").await?;
    let otlp = Api::on(collector.otlp_http)?;
    let start = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    for number in 1..=3 {
        otlp.post("/v1/traces", &request(number, start)).await?;
    }
    wait::until("the edge in history", LIMIT, async || {
        let path = format!("/api/v1/edges?window=1m&at={}", start / 1_000_000_000 + 20);
        let edges: Value = collector.api.get(&path).await?;
        ensure!(edges["edges"][0]["requests"] == 3, "{edges}");
        Ok(())
    })
    .await?;
    collector.running.signal(Signal::SIGTERM)?;
    collector.running.ended(LIMIT).await?;
    let found = read(&collector.folder.path().join("data"))?;
    let (trace, outer) = (format!("{:032x}", 1), format!("{:016x}", 11));
    ensure!(found["spans"].as_array().is_some_and(|spans| spans.len() == 6), "{found}");
    let root = json!([trace, outer, true, "shop/web", "GET /cart", 5_000_000, start, "/cart"]);
    ensure!(found["spans"].as_array().is_some_and(|spans| spans.contains(&root)), "{root} is not in {found}");
    ensure!(found["by_id"] == json!([[2]]), "{found}");
    ensure!(found["edges"] == json!([["shop/web", "shop/cart", "spans", 3, 3]]), "{found}");
    Ok(())
}
