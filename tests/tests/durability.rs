//! What was acknowledged is there after `kill -9`, again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tripline_tests::{Collector, wait};

/// Deaths of the short form; the long one sets `TRIPLINE_KILLS`, to 100 say.
const KILLS: u32 = 4;
const FOUND: Duration = Duration::from_secs(30);

/// One span of its own trace, whose number is in its id.
fn request(number: u64) -> Value {
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let service = json!({"key": "service.name", "value": {"stringValue": "oracle"}});
    json!({"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [{"spans": [{
        "traceId": format!("{number:032x}"), "spanId": format!("{number:016x}"), "name": "n", "kind": 2,
        "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 1).to_string()}]}]}]})
}

/// Sends until the collector dies; answers the numbers that were acknowledged.
async fn send(url: &str, first: u64) -> BTreeSet<u64> {
    let client = reqwest::Client::new();
    let mut acknowledged = BTreeSet::new();
    for number in first.. {
        let sent = client.post(url).timeout(Duration::from_secs(10)).json(&request(number)).send().await;
        match sent {
            Ok(answer) if answer.status().is_success() => drop(acknowledged.insert(number)),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    acknowledged
}

/// Spans that the collector has taken in since it started, those that it read back among them.
async fn received(collector: &Collector) -> Result<f64> {
    let metrics = collector.api.text("/metrics").await?;
    let mut lines =
        metrics.lines().filter(|line| line.starts_with("tripline_collector_received_total{item=\"spans\"}"));
    Ok(lines.next().and_then(|line| line.rsplit(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(0.0))
}

/// Fails unless every one of these spans is found.
async fn are_found(collector: &Collector, all: &BTreeSet<u64>) -> Result<()> {
    wait::until("every acknowledged span", FOUND, async || {
        let mut lost = Vec::new();
        for number in all {
            if collector.api.text(&format!("/api/v1/traces/{number:032x}")).await.is_err() {
                lost.push(*number);
            }
        }
        ensure!(lost.is_empty(), "{} of {} were lost: {lost:?}", lost.len(), all.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_however_often_it_is_killed() -> Result<()> {
    let kills = std::env::var("TRIPLINE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let mut collector = Collector::start("").await?;
    let url = format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http);
    let mut all = BTreeSet::new();
    for round in 0..kills {
        let before = received(&collector).await?;
        let first = u64::from(round) * 1_000_000 + 1;
        let to = url.clone();
        let sender = tokio::spawn(async move { send(&to, first).await });
        // Killed in the middle of whatever it does once some more were taken: at a different moment each time.
        let enough = before + f64::from(20 + round % 7 * 15);
        wait::until("spans to be received", FOUND, async || {
            let count = received(&collector).await?;
            ensure!(count >= enough, "{count} so far");
            Ok(())
        })
        .await?;
        collector.kill_and_restart().await?;
        all.extend(sender.await.context("the sender broke off")?);
    }
    ensure!(all.len() >= kills as usize * 10, "only {} spans were acknowledged", all.len());
    are_found(&collector, &all).await
}
