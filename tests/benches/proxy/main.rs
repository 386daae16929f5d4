//! `cargo xtask bench proxy`: what the sidecar costs beside Envoy, HAProxy and itself. One JSON object a line.
//!
//! Every row sets up its own bed: nginx answers, wrk or h2load ask, the sidecar and its peer stand between them in turn, one worker
//! each, with the same duties and the same receiver of telemetry. A figure that compares is the median of the ratios of its
//! rounds, so that a machine that is slow for a while is slow for both.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

mod bed;
mod bytes;
mod cost;
mod load;
mod memory;
mod report;
mod requests;
mod soak;

use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    /// Resident memory, idle and with 1,000 open connections
    Memory,
    /// HTTP/1.1 beside Envoy: CPU, requests a second, p99
    Http1,
    /// CPU of telemetry: on against off
    Telemetry,
    /// Mutual TLS, a sidecar at both ends, beside two Envoys
    Mtls,
    /// HTTP/2 beside Envoy
    Http2,
    /// gRPC unary calls beside Envoy
    Grpc,
    /// Bytes a second beside HAProxy
    Tcp,
    /// Memory and descriptors under a long mixed load with failures and cancelled requests
    Soak,
    /// Nothing: load of every kind through our sidecars alone, for profile-guided optimisation
    #[value(hide = true)]
    Training,
}

impl Row {
    /// Those that measure something.
    fn measuring() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied().filter(|row| *row != Self::Training)
    }
}

/// How it is measured.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench proxy", about = "What the sidecar costs beside Envoy and HAProxy")]
struct Arguments {
    /// Rows to measure; all when left out
    #[arg(value_enum)]
    rows: Vec<Row>,
    /// Rounds of each, which alternate
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in a round
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    /// Connections that ask at once
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Streams at once on each connection of HTTP/2 and gRPC
    #[arg(long, default_value_t = 4)]
    streams: usize,
    /// Seconds of the soak; its first tenth, at most a minute, is for warming up
    #[arg(long, default_value_t = 600)]
    soak_seconds: u64,
    /// cargo's own, of no meaning here
    #[arg(long, hide = true)]
    bench: bool,
}

/// One round: how long, and how many connections and streams.
#[derive(Debug, Clone, Copy)]
struct Plan {
    rounds: usize,
    length: Duration,
    connections: usize,
    /// Of each connection of HTTP/2.
    streams: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let plan = Plan {
        rounds: arguments.rounds.max(1),
        length: Duration::from_secs(arguments.seconds.max(1)),
        connections: arguments.connections.max(1),
        streams: arguments.streams.max(1),
    };
    let chosen = if arguments.rows.is_empty() { Row::measuring().collect() } else { arguments.rows };
    for row in chosen {
        eprintln!("==> {row:?}");
        match row {
            Row::Memory => memory::row().await?,
            Row::Http1 => requests::http1(plan).await?,
            Row::Telemetry => requests::telemetry(plan).await?,
            Row::Mtls => requests::mtls(plan).await?,
            Row::Http2 => requests::http2(plan).await?,
            Row::Grpc => requests::grpc(plan).await?,
            Row::Tcp => bytes::row(plan).await?,
            Row::Soak => soak::row(Duration::from_secs(arguments.soak_seconds.max(10))).await?,
            Row::Training => requests::training(plan).await?,
        }
    }
    Ok(())
}
