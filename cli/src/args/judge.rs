//! The grammar of the commands that judge recordings and simulate them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tripline_demo::fault::parse_duration;

use super::Output;
use crate::detect::thresholds::Change;
use crate::simulate::policy::Change as PolicyChange;

/// `tripline localise`.
#[derive(Debug, Args)]
#[command(after_help = LOCALISE_EXAMPLE)]
pub struct LocaliseArguments {
    /// Recorded windows that hold the incident, as JSON lines.
    #[arg(value_name = "WINDOWS")]
    pub windows: PathBuf,
    /// Recorded windows of normal times [default: those of WINDOWS that end before the incident].
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Start of the incident, in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// End of the incident, in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub to: String,
    /// The entry point that is hurt [default: every service that no other one calls].
    #[arg(long, value_name = "SERVICE")]
    pub entry: Option<String>,
    /// What of it to explain [default: what is more out of the ordinary].
    #[arg(long, value_name = "SIGNAL")]
    pub signal: Option<LocaliseSignal>,
    /// How to write it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

const LOCALISE_EXAMPLE: &str = "\
Example:
  tripline localise incident.jsonl --baseline normal.jsonl --from 1700000000 --to 1700000120 --entry web

One window a line, as counts of a service or of an edge; what is unknown is left out:
  {\"graph\":[[\"web\",\"db\"]]}
  {\"at\":1700000000,\"seconds\":5,\"service\":\"db\",\"requests\":90,\"failures\":1,\"latency_ms\":4.2,\"self_ms\":4.2}
  {\"at\":1700000000,\"seconds\":5,\"client\":\"web\",\"server\":\"db\",\"requests\":90,\"client_latency_ms\":5.0,\"server_latency_ms\":4.2}

Lines that cannot be true are skipped and counted on stderr. docs/cascades.md tells how the score is computed.";

/// Which trouble of the entry points is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LocaliseSignal {
    /// They answer slowly.
    Latency,
    /// They fail.
    Failures,
}

/// `tripline detect`.
#[derive(Debug, Args)]
#[command(after_help = DETECT_EXAMPLE)]
pub struct DetectArguments {
    /// Recorded windows, as JSON lines; or give --from for the collector's own history.
    #[arg(value_name = "WINDOWS", required_unless_present = "from", conflicts_with = "from")]
    pub windows: Option<PathBuf>,
    /// Judge the collector's history from this time on: Unix seconds, RFC 3339, or "20m ago".
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Until this time [default: now].
    #[arg(long, value_name = "TIME", requires = "from")]
    pub to: Option<String>,
    /// So much history before --from teaches what is normal.
    #[arg(long, value_name = "LENGTH", default_value = "10m", value_parser = length)]
    pub learn: Duration,
    /// Another threshold, as in z=4 or min_failures=10; may be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = Change::read)]
    pub changes: Vec<Change>,
    /// Also write what history had as recorded windows to this new file.
    #[arg(long, value_name = "FILE", requires = "from")]
    pub export: Option<PathBuf>,
    /// How to write it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

const DETECT_EXAMPLE: &str = "\
Examples:
  tripline detect --from '1h ago' --set z=4 --set min_failures=10
  tripline detect --from 2026-11-21T09:00:00Z --to 2026-11-21T09:30:00Z -o json --export morning.jsonl
  tripline simulate plan.json --seed 7 --out run
  tripline detect run/windows.jsonl

The same recording gives the same bytes. A row may be two of its windows late. History keeps windows of ten seconds: onsets are known to
ten seconds, breakers exactly. docs/cascades.md tells what is lost, and what each threshold means.";

/// `tripline simulate`.
#[derive(Debug, Args)]
#[command(after_help = SIMULATE_EXAMPLE)]
pub struct SimulateArguments {
    /// Services, calls, traffic and faults, as JSON; or give --from-history.
    #[arg(value_name = "PLAN.json", required_unless_present = "from_history", conflicts_with = "from_history")]
    pub plan: Option<PathBuf>,
    /// Where all random numbers come from: equal seeds, equal runs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Folder for windows.jsonl and truth.json; made if it does not exist.
    #[arg(long, value_name = "DIR", required_unless_present = "from_history", conflicts_with = "from_history")]
    pub out: Option<PathBuf>,
    /// Replay what the collector's history has between two times against the breaker settings of --set.
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], requires = "changes")]
    pub from_history: Option<Vec<String>>,
    /// Another breaker setting of an edge, as in 'shop/web>shop/cart.max_failures=10'; may be repeated.
    #[arg(long = "set", value_name = "EDGE.NAME=VALUE", requires = "from_history", value_parser = PolicyChange::read)]
    pub changes: Vec<PolicyChange>,
    /// A breaker setting that an edge had, where its recorded trips do not tell; may be repeated.
    #[arg(long = "was", value_name = "EDGE.NAME=VALUE", requires = "from_history", value_parser = PolicyChange::read)]
    pub was: Vec<PolicyChange>,
    /// How to write the comparison.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

const SIMULATE_EXAMPLE: &str = "\
Examples:
  tripline simulate plan.json --seed 7 --out run
  tripline simulate --from-history '1h ago' now --set 'shop/web>shop/cart.max_failures=10'

A small plan:
  {\"seconds\": 240,
   \"services\": [{\"name\": \"shop/web\", \"median_ms\": 2, \"calls\": [{\"server\": \"shop/db\"}]},
                {\"name\": \"shop/db\", \"median_ms\": 3}],
   \"entries\": [{\"server\": \"shop/web\", \"per_second\": 100}],
   \"faults\": [{\"kind\": \"errors\", \"service\": \"shop/db\", \"from_s\": 120, \"to_s\": 180, \"ratio\": 0.5}]}

docs/simulation.md lists every field and every kind of fault.";

fn length(text: &str) -> Result<Duration, String> {
    let within = |length: &Duration| *length <= Duration::from_secs(24 * 3600);
    parse_duration(text).filter(within).ok_or_else(|| "expected a length of time up to 24h, as in 10m".to_owned())
}
