//! Different faults in the demo shop, real processes: each is one incident that suspects the right service first, also two at once, and
//! what it says can be computed again from history. The long form, ten faults with their ends, stands with its results in docs/demo.md.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tripline_api::{Graph, Incident, IncidentList, Phase, RecordedRange};
use tripline_tests::{Demo, wait};

async fn incidents(demo: &Demo) -> Result<Vec<Incident>> {
    Ok(demo.api.get::<IncidentList>("/api/v1/incidents").await?.incidents)
}

async fn fault(demo: &Demo, service: &str, kind: &str) -> Result<()> {
    let fault = serde_json::json!({"service": service, "kind": kind, "seconds": 25});
    demo.api.post("/api/v1/demo/faults", &fault).await.map(drop)
}

/// Waits until each of `services` is suspected first by exactly one incident, and by none else than these.
async fn suspected(demo: &Demo, services: &[&str], limit: u64) -> Result<BTreeMap<String, Incident>> {
    wait::until("one incident for each fault", Duration::from_secs(limit), async || {
        let found = incidents(demo).await?;
        let seen: Vec<(Option<&str>, Phase)> = found.iter().map(|i| (i.origin(), i.phase)).collect();
        ensure!(found.len() == services.len(), "{seen:?}");
        let by_origin: BTreeMap<String, Incident> =
            found.iter().filter_map(|i| Some((i.origin()?.to_owned(), i.clone()))).collect();
        ensure!(services.iter().all(|service| by_origin.contains_key(*service)), "{seen:?}");
        Ok(by_origin)
    })
    .await
}

/// Latency is judged against a baseline of some windows.
async fn warmed_up(demo: &Demo) -> Result<()> {
    wait::until("half a minute of traffic", Duration::from_secs(90), async || {
        let graph: Graph = demo.api.get("/api/v1/graph?window=60s").await?;
        let entry = graph.edges.iter().find(|edge| edge.client == "user").context("no entry")?;
        ensure!(entry.requests >= 6_000, "{} requests", entry.requests);
        Ok(())
    })
    .await
}

/// What started at a service that calls nobody: everything of it that its clients saw fail and that no breaker had refused.
fn failed_at(range: &RecordedRange, server: &str) -> u64 {
    let into = range.windows.iter().filter(|window| window.server == server && window.reporter == "client");
    into.map(|window| window.counts.failed - window.counts.shed).sum()
}

/// Fails unless history tells the same numbers as the incident.
fn check_numbers(incident: &Incident, range: &RecordedRange) -> Result<()> {
    let first = incident.suspected_origins.first().context("nobody is suspected")?;
    let told = first.evidence.iter().find(|evidence| evidence.kind == "own_errors").context("no errors of its own")?;
    let kept = failed_at(range, &first.service) as f64;
    // A normal share of failures is not the fault's; there is hardly one in the shop.
    ensure!(told.value > 0.0 && (told.value - kept).abs() <= 1.0 + kept * 0.02, "{kept} in history: {first:#?}");
    let edges = &incident.blast_radius.edges;
    let trips = range.transitions.iter().filter(|transition| {
        let edge = format!("{}>{}:http", transition.client, transition.server);
        let opened = transition.from.as_str() == "closed" && transition.to.as_str() == "open";
        // Later faults open breakers of the same callers.
        opened && edges.contains(&edge) && transition.at <= incident.updated_at
    });
    let trips = trips.count() as u64;
    ensure!(incident.trips == trips, "{trips} in history: {incident:#?}");
    ensure!(!first.traces.is_empty() && !incident.folded.is_empty(), "{incident:#?}");
    Ok(())
}

#[tokio::test]
async fn a_fault_and_then_two_at_once_are_three_incidents_with_their_origins() -> Result<()> {
    let demo = Demo::start(&["--seconds", "600"]).await?;
    warmed_up(&demo).await?;
    ensure!(incidents(&demo).await?.is_empty(), "{:#?}", incidents(&demo).await?);
    fault(&demo, "payments-db", "errors").await?;
    suspected(&demo, &["shop/payments-db"], 15).await?;
    let recovering = async || {
        let first = suspected(&demo, &["shop/payments-db"], 0).await?;
        ensure!(first["shop/payments-db"].phase == Phase::Recovering, "{:?}", first["shop/payments-db"].phase);
        Ok::<_, anyhow::Error>(first["shop/payments-db"].clone())
    };
    let first = wait::until("the first to recover", Duration::from_secs(60), recovering).await?;
    // Two services of which neither calls the other and which share their caller and its users. The first is optional, so that its
    // breaker is the only one: the second is called as ever. Behind a breaker that opened nearer to the users, as that of the gateway does
    // whatever the route, hardly anything of it would reach the collector, and which of the two comes first would be a race.
    fault(&demo, "recommendations", "errors").await?;
    suspected(&demo, &["shop/payments-db", "shop/recommendations"], 15).await?;
    fault(&demo, "search", "errors").await?;
    suspected(&demo, &["shop/payments-db", "shop/recommendations", "shop/search"], 20).await?;
    let range = wait::until("history", Duration::from_secs(40), async || {
        let range: RecordedRange = demo.api.get("/api/v1/recording").await?;
        let (last, updated) = (range.windows.last().map(|w| w.start.as_str()), first.updated_at.as_str());
        ensure!(last > Some(updated), "history ends at {last:?}");
        Ok(range)
    })
    .await?;
    check_numbers(&first, &range)
}
