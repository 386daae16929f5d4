//! The engine and its past, over real sockets: what was normal before a restart, and a past fault judged again with other thresholds.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tripline_api::{EdgeList, Graph, Incident, IncidentList, Phase, RecordedRange, RecordedWindow};
use tripline_tests::puppets::{Mood, OWN_MS, Puppets, RATE};
use tripline_tests::{Collector, programs, wait};

/// Windows that the chain leaves in ten seconds: two reporters of two edges, one of the users'.
const IN_ONE: usize = 5;
const SLOW: Mood = Mood { slower_ms: 400, failing: 0 };
const FAILING: Mood = Mood { slower_ms: 0, failing: 40 };
const WELL: Mood = Mood { slower_ms: 0, failing: 0 };

async fn incidents(collector: &Collector) -> Result<Vec<Incident>> {
    Ok(collector.api.get::<IncidentList>("/api/v1/incidents").await?.incidents)
}

/// Waits for exactly one incident that suspects `shop/db`.
async fn the_incident(collector: &Collector, limit: Duration) -> Result<Incident> {
    wait::until("one incident", limit, async || {
        let mut found = incidents(collector).await?;
        ensure!(found.len() == 1, "{found:#?}");
        let incident = found.pop().context("none")?;
        ensure!(incident.origin() == Some("shop/db"), "{incident:#?}");
        Ok(incident)
    })
    .await
}

/// Waits until every edge has had so many seconds of traffic.
async fn some_traffic(collector: &Collector, seconds: u64) -> Result<()> {
    wait::until("traffic", Duration::from_secs(seconds + 20), async || {
        let graph: Graph = collector.api.get("/api/v1/graph?window=60s").await?;
        let requests = graph.edges.iter().map(|edge| edge.requests).min().unwrap_or(0);
        ensure!(requests >= seconds * RATE, "{requests}");
        Ok(())
    })
    .await
}

/// Waits until history has kept so much.
async fn kept(collector: &Collector, what: impl Fn(&RecordedRange) -> bool) -> Result<RecordedRange> {
    // Up to 25 s until a window is complete, and a loaded machine on top.
    wait::until("history", Duration::from_secs(90), async || {
        let since = std::time::UNIX_EPOCH.elapsed()?.as_secs() - 200;
        let range: RecordedRange = collector.api.get(&format!("/api/v1/recording?from={since}")).await?;
        ensure!(what(&range), "{} windows up to {:?}", range.windows.len(), range.windows.last().map(|w| &w.start));
        Ok(range)
    })
    .await
}

#[tokio::test]
async fn what_was_normal_before_a_kill_is_known_after_it() -> Result<()> {
    let mut collector = Collector::start("").await?;
    let puppets = Puppets::start(collector.otlp_http)?;
    // A baseline takes three; of these the last ones may be in memory only, and are lost.
    kept(&collector, |range| range.windows.len() >= 5 * IN_ONE).await?;
    ensure!(incidents(&collector).await?.is_empty(), "{:#?}", incidents(&collector).await?);
    collector.kill_and_restart().await?;
    // Slow from the first second on: a collector without a memory takes that for normal.
    puppets.be(SLOW);
    the_incident(&collector, Duration::from_secs(25)).await?;
    // The number is a mean that begins five seconds before the incident, so it rises to what the slowness is.
    wait::until("its own time as evidence", Duration::from_secs(60), async || {
        let incident = the_incident(&collector, Duration::ZERO).await?;
        let evidence = &incident.suspected_origins[0].evidence;
        let slower = evidence.iter().find(|evidence| evidence.kind == "own_latency").context("it is none")?;
        ensure!((0.35..0.45).contains(&slower.value), "{evidence:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test]
async fn a_restart_alone_is_no_incident() -> Result<()> {
    let mut collector = Collector::start("").await?;
    let _puppets = Puppets::start(collector.otlp_http)?;
    kept(&collector, |range| range.windows.len() >= 2 * IN_ONE).await?;
    collector.kill_and_restart().await?;
    some_traffic(&collector, 20).await?;
    ensure!(incidents(&collector).await?.is_empty(), "{:#?}", incidents(&collector).await?);
    Ok(())
}

/// What `tripline detect` says of this collector's history, as JSON.
fn detect(collector: &Collector, more: &[&str]) -> Result<Value> {
    let output = Command::new(programs::ours("tripline")?)
        .args(["detect", "--from", "5m ago", "--learn", "0s", "-o", "json", "--collector", &collector.api.url("")])
        .args(more)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What a file of recorded windows gives.
fn detect_file(file: &str) -> Result<Value> {
    let output = Command::new(programs::ours("tripline")?).args(["detect", file, "-o", "json"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test]
async fn a_past_fault_is_judged_again_with_other_thresholds_and_can_be_exported() -> Result<()> {
    let collector = Collector::start("").await?;
    let puppets = Puppets::start(collector.otlp_http)?;
    some_traffic(&collector, 20).await?;
    puppets.be(FAILING);
    let live = the_incident(&collector, Duration::from_secs(20)).await?;
    let failed =
        |range: &RecordedRange| range.windows.iter().filter(|w| w.counts.failed > 0 && w.server == "shop/db").count();
    kept(&collector, |range| failed(range) >= 4).await?;
    puppets.be(WELL);

    let again = detect(&collector, &[])?;
    ensure!(again["notices"][0]["notice"] == "opened", "{again:#}");
    ensure!(again["notices"][0]["suspected_origin"] == "shop/db" && live.origin() == Some("shop/db"), "{again:#}");
    let deaf = detect(&collector, &["--set", "min_failures=1000000", "--set", "mads=1000000"])?;
    ensure!(deaf["notices"] == serde_json::json!([]) && deaf["incidents"] == serde_json::json!([]), "{deaf:#}");
    let file = collector.folder.path().join("past.jsonl");
    let file = file.to_str().context("a plain path")?;
    detect(&collector, &["--export", file])?;
    ensure!(detect_file(file)?["notices"][0]["suspected_origin"] == "shop/db", "{:#}", detect_file(file)?);
    Ok(())
}

/// Sums over the windows of one reporter of the edges into a service.
fn sum(range: &RecordedRange, server: &str, reporter: &str, of: impl Fn(&RecordedWindow) -> u64) -> u64 {
    range.windows.iter().filter(|w| w.server == server && w.reporter == reporter).map(of).sum()
}

/// Milliseconds of its own that a service needed in all beyond `normal_ms` a request.
fn added_ms(range: &RecordedRange, server: &str, normal_ms: u64) -> f64 {
    let all = sum(range, server, "server", |w| w.self_time.sum_us);
    let count = sum(range, server, "server", |w| w.self_time.counts.iter().sum());
    all as f64 / 1e3 - (normal_ms * count) as f64
}

fn value(incident: &Incident, kind: &str) -> Result<f64> {
    let evidence = incident.suspected_origins.first().map(|first| first.evidence.as_slice()).unwrap_or_default();
    evidence
        .iter()
        .find(|evidence| evidence.kind == kind)
        .map(|evidence| evidence.value)
        .with_context(|| format!("no {kind}: {evidence:#?}"))
}

/// Every number that an incident has, once more from what history kept.
fn check_against_history(incident: &Incident, range: &RecordedRange) -> Result<()> {
    let own = sum(range, "shop/db", "server", |w| w.counts.origin_failures);
    ensure!(own > 0 && value(incident, "own_errors")? == own as f64, "own errors {own}: {incident:#?}");
    let at_the_door = sum(range, "shop/web", "server", |w| w.counts.failed);
    ensure!(incident.blast_radius.requests_failed == at_the_door, "{at_the_door} at the door: {incident:#?}");
    let explained = own as f64 / at_the_door as f64;
    ensure!((value(incident, "explains_failures")? - explained).abs() < 1e-9, "explains {explained}: {incident:#?}");
    ensure!(
        (incident.suspected_origins[0].score - explained).abs() < 1e-9 && incident.unexplained.abs() < 1e-9,
        "{incident:#?}"
    );
    let radius = &incident.blast_radius;
    let all = sum(range, "shop/web", "server", |w| w.counts.requests);
    ensure!(radius.requests_total > at_the_door && radius.requests_total <= all, "of {all} at the door: {incident:#?}");
    // Every request reaches the database, which is as fast as ever before and after.
    let slower = added_ms(range, "shop/db", OWN_MS) / 1e3 / radius.requests_total as f64;
    ensure!((value(incident, "own_latency")? - slower).abs() < 1e-3, "{slower} s slower: {incident:#?}");
    let ratio = radius.requests_failed as f64 / radius.requests_total as f64;
    ensure!((radius.affected_request_ratio - ratio).abs() < 1e-9, "{incident:#?}");
    ensure!((radius.entries[0].failed_ratio - ratio).abs() < 1e-9, "{incident:#?}");
    Ok(())
}

#[tokio::test]
async fn every_number_of_an_incident_can_be_computed_from_the_edges_and_from_history() -> Result<()> {
    let collector = Collector::start("").await?;
    let puppets = Puppets::start(collector.otlp_http)?;
    some_traffic(&collector, 25).await?;
    puppets.be(Mood { slower_ms: 400, failing: 40 });
    the_incident(&collector, Duration::from_secs(20)).await?;
    let slow = |incident: &Incident| value(incident, "own_latency").is_ok();
    wait::until("its own time as evidence", Duration::from_secs(20), async || {
        let incident = the_incident(&collector, Duration::ZERO).await?;
        ensure!(slow(&incident), "{incident:#?}");
        Ok(())
    })
    .await?;
    puppets.be(WELL);
    let over = wait::until("the end of it", Duration::from_secs(40), async || {
        let incident = the_incident(&collector, Duration::ZERO).await?;
        ensure!(incident.phase == Phase::Recovering, "{:?}", incident.phase);
        Ok(incident)
    })
    .await?;
    let edges: EdgeList = collector.api.get("/api/v1/edges?window=75s").await?;
    let edge = edges.edges.iter().find(|edge| edge.id == "shop/pay>shop/db:http").context("no edge")?;
    ensure!(edge.failed as f64 == value(&over, "own_errors")?, "{edge:#?} {over:#?}");
    let at_the_end = over.updated_at.clone();
    let range = kept(&collector, |range| range.windows.iter().any(|w| w.start > at_the_end)).await?;
    check_against_history(&over, &range)
}
