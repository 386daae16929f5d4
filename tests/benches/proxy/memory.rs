//! Resident memory: idle, and with many connections that have asked once and stay open.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::bed::{Bed, Telemetry};
use crate::cost::resident_mib;
use crate::report::{Bar, figure, rounded};

/// Connections that stay open.
const CONNECTIONS: usize = 1_000;
/// Until a program that has just started, or has just been called, has come to rest.
const REST: Duration = Duration::from_secs(3);

/// Ours and Envoy's.
pub(crate) async fn row() -> Result<()> {
    let bed = Bed::start().await?;
    let (envoy, sidecar) = (bed.envoy_client().await?, bed.sidecar(Telemetry::On).await?);
    sleep(REST).await;
    let idle = (resident_mib(sidecar.running.pid())?, resident_mib(envoy.pid())?);
    let both = |(ours, peers): (f64, f64)| json!({"peer": "envoy", "ours": rounded(ours), "peers": rounded(peers)});
    figure("memory", "idle_mib", idle.0, Bar::AtMost(12.0), both(idle));
    let through_ours = open(bed.client().outbound).await?;
    let through_envoy = open(bed.envoy()[0]).await?;
    sleep(REST).await;
    let busy = (resident_mib(sidecar.running.pid())?, resident_mib(envoy.pid())?);
    figure("memory", "thousand_connections_mib", busy.0, Bar::AtMost(40.0), both(busy));
    drop((through_ours, through_envoy));
    Ok(())
}

/// Connections of which each has had one answer.
async fn open(port: u16) -> Result<Vec<TcpStream>> {
    let mut all = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.context("could not connect")?;
        connection.write_all(b"GET / HTTP/1.1\r\nHost: http1.bench.local\r\n\r\n").await?;
        answered(&mut connection).await?;
        all.push(connection);
    }
    Ok(all)
}

/// Reads one answer of 1 KiB.
async fn answered(connection: &mut TcpStream) -> Result<()> {
    let mut answer = Vec::new();
    while !answer.ends_with(&[b'x'; 1024]) {
        ensure!(connection.read_buf(&mut answer).await? > 0, "no answer: {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}
