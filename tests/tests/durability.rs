//! What was acknowledged is there after `kill -9`, again and again.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tripline_tests::{Collector, programs, wait};

/// Deaths of the short form; the long one sets `TRIPLINE_KILLS`, to 100 say.
const KILLS: u32 = 25;
/// Senders at a time: what they send is gathered for one sync, and a death meets several requests at different places.
const SENDERS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// The ids in the files that the manifest names, read by another program than the one that wrote them: all of them, and how many
/// different ones.
const READ_BACK: &str = "
import duckdb, json, sys
folder = sys.argv[1]
files = [folder + '/' + f['path'] for f in json.load(open(folder + '/manifest.json'))['files'] if f['kind'] == 'spans']
ids = [row[0] for row in duckdb.read_parquet(files).project('lower(hex(span_id))').fetchall()]
print(json.dumps({'count': len(ids), 'ids': sorted(set(ids))}))
";

/// One span of its own trace, whose number is in its id.
fn request(number: u64) -> Value {
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let service = json!({"key": "service.name", "value": {"stringValue": "oracle"}});
    json!({"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [{"spans": [{
        "traceId": format!("{number:032x}"), "spanId": format!("{number:016x}"), "name": "n", "kind": 2,
        "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 1).to_string()}]}]}]})
}

/// The numbers of spans that were acknowledged, in all lives of the collector.
type Acknowledged = Arc<Mutex<BTreeSet<u64>>>;

fn count(acknowledged: &Acknowledged) -> usize {
    acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// Sends spans with numbers from `first` on until the collector dies.
async fn send(url: String, first: u64, acknowledged: Acknowledged) {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap_or_default();
    for number in first.. {
        match client.post(&url).json(&request(number)).send().await {
            Ok(answer) if answer.status().is_success() => {
                acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
}

/// What is in the files once the collector has ended in peace.
async fn stored(collector: &mut Collector) -> Result<(u64, BTreeSet<u64>)> {
    collector.running.signal(Signal::SIGTERM)?;
    collector.running.ended(PATIENCE).await?;
    let mut python = Command::new(programs::python("python")?);
    python.args(["-c", READ_BACK]).arg(collector.folder.path().join("data"));
    let output = tokio::task::spawn_blocking(move || python.output()).await??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout)?;
    let ids = found["ids"].as_array().context("no ids")?.iter().filter_map(Value::as_str);
    let ids: BTreeSet<u64> = ids.map(|id| u64::from_str_radix(id, 16)).collect::<Result<_, _>>()?;
    Ok((found["count"].as_u64().context("no count")?, ids))
}

/// Lets senders send until so many more spans were acknowledged, then kills and restarts the collector.
async fn die(collector: &mut Collector, round: u32, acknowledged: &Acknowledged) -> Result<()> {
    let url = format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http);
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let first = (u64::from(round) * SENDERS + sender) * 1_000_000 + 1;
        senders.spawn(send(url.clone(), first, Arc::clone(acknowledged)));
    }
    // At a different moment each time, in the middle of whatever it does.
    let enough = count(acknowledged) + 1 + (round as usize * 7) % 60;
    wait::until("spans to be acknowledged", PATIENCE, async || {
        let count = count(acknowledged);
        ensure!(count >= enough, "{count} so far");
        Ok(())
    })
    .await?;
    collector.kill_and_restart().await?;
    while senders.join_next().await.is_some() {}
    Ok(())
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_however_often_it_is_killed() -> Result<()> {
    let kills = std::env::var("TRIPLINE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let mut collector = Collector::start("").await?;
    let acknowledged = Acknowledged::default();
    for round in 0..kills {
        die(&mut collector, round, &acknowledged).await?;
    }
    let (rows, stored) = stored(&mut collector).await?;
    let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    ensure!(lost.is_empty(), "{} of {} were lost: {lost:?}", lost.len(), acknowledged.len());
    ensure!(rows == stored.len() as u64, "{rows} rows of {} spans: some came back twice", stored.len());
    ensure!(acknowledged.len() >= kills as usize, "only {} spans were acknowledged", acknowledged.len());
    Ok(())
}
