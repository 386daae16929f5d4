//! Bytes passed on, in writes of 64 KiB over four connections, beside HAProxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::Plan;
use crate::bed::{Bed, Telemetry};
use crate::cost;
use crate::report::{Bar, figure, median, rounded};

/// Connections that send at once.
const CONNECTIONS: usize = 4;
/// Bytes of one write.
const CHUNK: usize = 64 * 1024;

/// Bytes a second that arrived, and processor nanoseconds a KiB of the hop.
type Round = (f64, f64);

/// Ours and HAProxy's.
pub(crate) async fn row(plan: Plan) -> Result<()> {
    let bed = Bed::start().await?;
    let [haproxy_port, our_port, sink_port] = bed.bytes();
    let arrived = sink(sink_port).await?;
    let (haproxy, sidecar) = (bed.haproxy().await?, bed.sidecar(Telemetry::On).await?);
    let (mut peers, mut ours): (Vec<Round>, Vec<Round>) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        peers.push(send(haproxy_port, haproxy.pid(), &arrived, plan.length).await?);
        ours.push(send(our_port, sidecar.running.pid(), &arrived, plan.length).await?);
    }
    for (name, bar, of) in [
        ("bytes_per_second_ratio", Bar::AtLeast(0.9), (|round| round.0) as fn(&Round) -> f64),
        ("cpu_per_byte_ratio", Bar::AtMost(1.1), |round| round.1),
    ] {
        let both = json!({
            "peer": "haproxy", "rounds": ours.len(),
            "ours": rounded(median(ours.iter().map(of))), "peers": rounded(median(peers.iter().map(of))),
        });
        figure("tcp", name, median(ours.iter().zip(&peers).map(|(ours, peer)| of(ours) / of(peer))), bar, both);
    }
    Ok(())
}

/// Sends for a while; what arrived a second, and what the hop spent on it.
async fn send(port: u16, hop: Pid, arrived: &AtomicU64, length: Duration) -> Result<Round> {
    let (before, spent, began) = (arrived.load(Ordering::Relaxed), cost::cpu_seconds(hop)?, Instant::now());
    let senders: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(sender(port, began + length))).collect();
    for sender in senders {
        sender.await??;
    }
    let bytes = (arrived.load(Ordering::Relaxed) - before) as f64;
    Ok((bytes / began.elapsed().as_secs_f64(), (cost::cpu_seconds(hop)? - spent) * 1e9 * 1024.0 / bytes))
}

async fn sender(port: u16, until: Instant) -> Result<()> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.context("could not connect")?;
    let chunk = vec![0_u8; CHUNK];
    // The end of the time in the middle of a write is how this ends.
    while let Ok(written) = timeout_at(until, connection.write_all(&chunk)).await {
        written.context("the hop broke the connection")?;
    }
    Ok(())
}

/// Takes connections and reads what comes, for as long as the benchmark runs.
async fn sink(port: u16) -> Result<Arc<AtomicU64>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("the sink's port is taken")?;
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&arrived);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut buffer = vec![0_u8; 4 * CHUNK];
                while let Ok(read @ 1..) = connection.read(&mut buffer).await {
                    counter.fetch_add(read as u64, Ordering::Relaxed);
                }
            });
        }
    });
    Ok(arrived)
}
