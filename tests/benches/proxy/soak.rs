//! A long mixed load: ordinary requests over both protocols, failing ones, and ones that are given up half-way.
//!
//! Memory must stay where it was when warm, and when the load is over and the server gone, no descriptor may be left
//! beyond those before the load.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep};
use tripline_tests::wait;

use crate::bed::{Bed, Telemetry};
use crate::cost;
use crate::load::{Call, Target, h2load, wrk};
use crate::report::{Bar, figure, rounded};

/// Failing and given-up requests a second, each.
const ODD_RATE: u64 = 50;
/// Connections of the ordinary load.
const CONNECTIONS: usize = 16;
/// How long a load lasts until it is started anew: the end cuts requests off.
const TURN: Duration = Duration::from_secs(5);
/// How long idle connections may take to go.
const CLOSING: Duration = Duration::from_secs(20);

/// Runs it and prints growth of memory and descriptors left.
pub(crate) async fn row(length: Duration) -> Result<()> {
    let mut bed = Bed::start().await?;
    let sidecar = bed.sidecar(Telemetry::On).await?;
    let (pid, port) = (sidecar.running.pid(), bed.client().outbound);
    let before = cost::descriptors(pid)?;
    let end = Instant::now() + length;
    let message = bed.message();
    let ((warm, peak), (), (), failing, abandoned) = tokio::try_join!(
        watch(pid, length),
        ordinary(port, end),
        calls(port, &message, end),
        odd(port, "/failing", Ending::Read, end),
        odd(port, "/slow", Ending::Abandon, end),
    )?;
    let more = json!({
        "warm_mib": rounded(warm), "peak_mib": rounded(peak), "seconds": length.as_secs(),
        "failing_requests": failing, "abandoned_requests": abandoned,
    });
    figure("soak", "growth_mib", peak - warm, Bar::AtMost(2.0), more);
    bed.end_server();
    let settled = wait::until("idle connections to go", CLOSING, async || {
        let now = cost::descriptors(pid)?;
        ensure!(now <= before, "{now} descriptors, {before} before the load");
        Ok::<_, anyhow::Error>(())
    });
    let left = if settled.await.is_ok() { 0 } else { cost::descriptors(pid)? - before };
    figure("soak", "descriptors_left", left as f64, Bar::AtMost(0.0), json!({"before": before}));
    Ok(())
}

/// HTTP/1.1 requests that go well, until the end.
async fn ordinary(port: u16, end: Instant) -> Result<()> {
    while Instant::now() < end {
        wrk(&Target { port, host: "http1.bench.local", hop: &[] }, CONNECTIONS, TURN).await?;
    }
    Ok(())
}

/// gRPC calls that go well but for those that the end of a turn cuts off, until the end.
async fn calls(port: u16, message: &Path, end: Instant) -> Result<()> {
    let call = Call { path: "/bench.Echo/Say", message: Some(message) };
    while Instant::now() < end {
        h2load(&Target { port, host: "grpc.bench.local", hop: &[] }, (4, 4), TURN, call).await?;
    }
    Ok(())
}

/// Resident memory when warm (after a tenth of the time, at most a minute), and its highest value after that.
async fn watch(pid: Pid, length: Duration) -> Result<(f64, f64)> {
    let (began, warming) = (Instant::now(), (length / 10).min(Duration::from_secs(60)));
    sleep(warming).await;
    let warm = cost::resident_mib(pid)?;
    let mut peak = warm;
    while began.elapsed() < length {
        sleep(Duration::from_secs(1)).await;
        peak = peak.max(cost::resident_mib(pid)?);
    }
    Ok((warm, peak))
}

/// How a request is ended.
#[derive(Clone, Copy)]
enum Ending {
    /// By its answer.
    Read,
    /// In the middle of its answer.
    Abandon,
}

/// Asks on a new connection each time; how often.
async fn odd(port: u16, path: &'static str, ending: Ending, end: Instant) -> Result<u64> {
    let mut pace = interval(Duration::from_secs(1) / ODD_RATE as u32);
    let mut asked = 0;
    while Instant::now() < end {
        pace.tick().await;
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.context("could not connect")?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: failing.bench.local\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let mut answer = vec![0_u8; 4096];
        let mut read = connection.read(&mut answer).await?;
        while matches!(ending, Ending::Read) && read > 0 {
            read = connection.read(&mut answer).await?;
        }
        asked += 1;
    }
    Ok(asked)
}
