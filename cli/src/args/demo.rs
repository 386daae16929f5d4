//! The grammar of the demo and of its services.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tripline_demo::fault::FaultPlan;

/// `tripline demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Script a fault, as in payments-db:errors:20s:40s (kinds: errors, latency, crash, hang); may be repeated.
    #[arg(long = "fault", value_name = "SERVICE:KIND:AFTER:FOR")]
    pub faults: Vec<FaultPlan>,
    /// End by itself after so many seconds of load.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,
    /// No live status line; incidents and faults are told as plain lines.
    #[arg(long)]
    pub headless: bool,
    /// Use ports from P: collector P, P+1, P+2, services from P+10 [default: 7600, 4317, 4318 and from 21010].
    #[arg(long, value_name = "P")]
    pub port_base: Option<u16>,
    /// Requests a second, whatever the shop answers.
    #[arg(long, value_name = "N", default_value_t = 200.0, value_parser = positive)]
    pub rate: f64,
    /// No load.
    #[arg(long)]
    pub no_load: bool,
    /// Keep history, mesh document and logs in this folder [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Do not remove the temporary folder at the end.
    #[arg(long)]
    pub keep_logs: bool,
    /// Share of the traces whose spans are recorded; counts are always exact.
    #[arg(long, value_name = "0..1", value_parser = ratio)]
    pub sample_ratio: Option<f64>,
    /// Tell this Alertmanager (version 2 of its API) about incidents; may be repeated.
    #[arg(long = "alertmanager", value_name = "URL")]
    pub alertmanagers: Vec<String>,
    /// Post incidents as JSON to this address; may be repeated.
    #[arg(long = "webhook", value_name = "URL")]
    pub webhooks: Vec<String>,
    /// Report to a collector that runs already, at its OTLP/gRPC address, instead of starting one.
    #[arg(long, value_name = "URL", conflicts_with_all = ["alertmanagers", "webhooks"])]
    pub report_to: Option<String>,
}

/// `tripline demo-service`.
#[derive(Debug, Args)]
pub struct DemoServiceArguments {
    /// Which one.
    pub name: String,
    /// Where it listens.
    #[arg(long, value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// Its sidecar's outbound half.
    #[arg(long, value_name = "IP:PORT")]
    pub sidecar: SocketAddr,
    /// Obey fault commands on standard input, and end when it does.
    #[arg(long)]
    pub exit_with_stdin: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("\"{text}\" is no number"))?;
    if number > 0.0 && number <= 100_000.0 {
        Ok(number)
    } else {
        Err("expected more than 0, at most 100000".to_owned())
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("\"{text}\" is no number"))?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("expected a share from 0 to 1".to_owned()) }
}
