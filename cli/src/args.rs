//! The grammar of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tripline_demo::fault::{FaultPlan, parse_duration};

pub use crate::detect::thresholds::Change;
pub use crate::simulate::policy::Change as PolicyChange;

/// Watches a service mesh and says which part broke first.
#[derive(Debug, Parser)]
#[command(name = "tripline", version, propagate_version = true, arg_required_else_help = true)]
pub struct Arguments {
    /// How to reach the collector.
    #[command(flatten)]
    pub api: ApiArguments,
    /// What to log.
    #[command(flatten)]
    pub log: LogArguments,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the collector is, for all commands that ask it something.
#[derive(Debug, Clone, Args)]
pub struct ApiArguments {
    /// The collector's HTTP API.
    #[arg(long, global = true, value_name = "URL", env = "TRIPLINE_API", default_value = "http://127.0.0.1:7600")]
    pub collector: String,
    /// The collector's token, if it asks for one.
    #[arg(long, global = true, value_name = "TOKEN", env = "TRIPLINE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// What goes to stderr as log.
#[derive(Debug, Clone, Args)]
pub struct LogArguments {
    /// What to log: off, error, warn, info, debug, trace, or a filter such as `info,tripline_collector=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = "RUST_LOG")]
    pub log: Option<String>,
    /// How to write it.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a shop of 12 services behind sidecars, its load and a collector, to watch a cascade.
    Demo(Box<DemoArguments>),
    /// Run the collector: receivers, live graph, history, alerts, web UI.
    Collector(CollectorArguments),
    /// Look something up in the collector.
    #[command(flatten)]
    Show(ShowCommand),
    /// The service graph as a drawing or as JSON.
    Graph(GraphArguments),
    /// Check mesh documents, or send them to the collector.
    #[command(subcommand)]
    Mesh(MeshCommand),
    /// Find the suspected origin of an incident in recorded windows.
    Localise(LocaliseArguments),
    /// Say what the detector would have told of recorded windows.
    Detect(DetectArguments),
    /// Simulate a mesh with faults and record what its sidecars would report.
    Simulate(SimulateArguments),
    /// One service of the demo shop.
    #[command(hide = true)]
    DemoService(DemoServiceArguments),
}

impl Command {
    /// What is logged when nobody says otherwise; none for a command that starts logging itself.
    pub(crate) const fn default_log(&self) -> Option<&'static str> {
        match self {
            Self::Collector(_) => None,
            Self::DemoService(_) => Some("info"),
            _ => Some("warn"),
        }
    }
}

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

/// `tripline collector`.
#[derive(Debug, Args)]
pub struct CollectorArguments {
    /// Configuration file; all of it is optional.
    #[arg(long, value_name = "FILE", env = "TRIPLINE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where the web UI and the HTTP API listen [default: 127.0.0.1:7600].
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<SocketAddr>,
    /// Where OTLP over gRPC is received [default: 127.0.0.1:4317].
    #[arg(long, value_name = "IP:PORT")]
    pub otlp_grpc: Option<SocketAddr>,
    /// Where OTLP over HTTP is received [default: 127.0.0.1:4318].
    #[arg(long, value_name = "IP:PORT")]
    pub otlp_http: Option<SocketAddr>,
    /// Where journal and history live [default: ./tripline-data].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Let listeners leave loopback although nothing authenticates those who call.
    #[arg(long)]
    pub allow_unauthenticated: bool,
}

/// Look-ups.
#[derive(Debug, Subcommand)]
pub enum ShowCommand {
    /// Services: health, rate, errors, latency.
    Services(StatisticsArguments),
    /// Edges: who calls whom, how well, and the state of the breakers between.
    Edges(StatisticsArguments),
    /// Circuit breakers, open ones first.
    Breakers(ListArguments),
    /// Incidents, newest first; with an ID everything about one.
    Incidents(IncidentArguments),
    /// Sidecars that report.
    Proxies(ListArguments),
    /// Services by traffic, live.
    Top(TopArguments),
    /// One trace as a tree.
    Trace(TraceArguments),
    /// Traces by service, operation, duration, error and attribute, newest first.
    Traces(TracesArguments),
    /// The operations of a service over a range of time, the slowest first.
    Operations(OperationsArguments),
    /// Log records, newest last.
    Logs(LogsArguments),
    /// Why there is an edge between two services, or none.
    Explain(ExplainArguments),
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns.
    Table,
    /// As the HTTP API gives it.
    Json,
}

/// What all lists take.
#[derive(Debug, Clone, Args)]
pub struct ListArguments {
    /// How to write it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
    /// Ask again every two seconds until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
}

/// `tripline services` and `tripline edges`.
#[derive(Debug, Clone, Args)]
pub struct StatisticsArguments {
    /// As it was then, RFC 3339 [default: now].
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Over how long: as in 60s, 5m; with --at also as in 2h, 7d.
    #[arg(long, value_name = "LENGTH")]
    pub window: Option<String>,
    /// As for all lists.
    #[command(flatten)]
    pub list: ListArguments,
}

/// `tripline traces`.
#[derive(Debug, Clone, Args)]
pub struct TracesArguments {
    /// With a span of this service, as in shop/web.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub service: Option<String>,
    /// With a span of this name (of that service).
    #[arg(long, value_name = "NAME")]
    pub operation: Option<String>,
    /// With a span that has this attribute, as in http.route=/cart.
    #[arg(long, value_name = "KEY=VALUE")]
    pub attribute: Option<String>,
    /// That took at least so many milliseconds.
    #[arg(long, value_name = "MS")]
    pub min_ms: Option<f64>,
    /// Only with an error (true), or only without any (false).
    #[arg(long, value_name = "BOOL")]
    pub error: Option<bool>,
    /// From when on, and so on.
    #[command(flatten)]
    pub range: RangeArguments,
}

/// `tripline operations`.
#[derive(Debug, Clone, Args)]
pub struct OperationsArguments {
    /// Of which service, as in shop/web.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub service: String,
    /// From when on, and so on.
    #[command(flatten)]
    pub range: RangeArguments,
}

/// What look-ups over a range of time take.
#[derive(Debug, Clone, Args)]
pub struct RangeArguments {
    /// From this time on, RFC 3339 [default: an hour before the end].
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Until this time, RFC 3339 [default: now].
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// How to write it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// `tripline incidents`.
#[derive(Debug, Clone, Args)]
pub struct IncidentArguments {
    /// Only this one, whole.
    pub id: Option<String>,
    /// Of this one, what was folded into it instead of being told.
    #[arg(long, requires = "id")]
    pub folded: bool,
    /// Those that were open from this time on: Unix seconds, RFC 3339, or "2h ago".
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    pub from: Option<String>,
    /// Those that were open until this time.
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    pub to: Option<String>,
    /// Of these levels, as in cascade,amplifying.
    #[arg(long, value_name = "LEVELS", conflicts_with = "id")]
    pub level: Option<String>,
    /// In these phases, as in starting,spreading.
    #[arg(long, value_name = "PHASES", conflicts_with = "id")]
    pub phase: Option<String>,
    /// In which this service is suspected or hurt.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "id")]
    pub service: Option<String>,
    /// As for all lists.
    #[command(flatten)]
    pub list: ListArguments,
}

/// `tripline top`.
#[derive(Debug, Clone, Args)]
pub struct TopArguments {
    /// Ask once and end.
    #[arg(long)]
    pub once: bool,
}

/// `tripline trace`.
#[derive(Debug, Clone, Args)]
pub struct TraceArguments {
    /// 32 hexadecimal digits.
    pub id: String,
    /// How to write it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// `tripline logs`.
#[derive(Debug, Clone, Args)]
pub struct LogsArguments {
    /// Only of this service, as in shop/web.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub service: Option<String>,
    /// Only of this trace.
    #[arg(long, value_name = "ID")]
    pub trace: Option<String>,
    /// Only with these words in the text.
    #[arg(short, long, value_name = "WORDS")]
    pub query: Option<String>,
    /// From this time on, RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Until this time, RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u32,
    /// How to write it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// `tripline explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArguments {
    /// Who calls, as in shop/web.
    pub client: String,
    /// Who is called.
    pub server: String,
    /// How to write it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

/// How the graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphOutput {
    /// For Graphviz.
    Dot,
    /// As the HTTP API gives it.
    Json,
    /// A picture, as the web UI lays it out.
    Svg,
    /// Columns: what differs; only with --compare.
    Table,
}

/// `tripline graph`.
#[derive(Debug, Args)]
pub struct GraphArguments {
    /// How to write it [default: dot; with --compare: table, or json].
    #[arg(short, long, value_name = "FORMAT", requires_if("table", "compare"))]
    pub output: Option<GraphOutput>,
    /// As it was then, RFC 3339 [default: now].
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Tell what differs from then, RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub compare: Option<String>,
    /// Over how long: as in 60s, 5m; with --at also as in 2h, 7d.
    #[arg(long, value_name = "LENGTH", default_value = "60s")]
    pub window: String,
    /// Only this namespace.
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// `tripline mesh`.
#[derive(Debug, Subcommand)]
pub enum MeshCommand {
    /// Say what of the documents is used, approximated or ignored; ends with 64 when they are broken.
    Check(MeshArguments),
    /// Check the documents and send them to the collector.
    Apply(MeshArguments),
}

/// What both take.
#[derive(Debug, Args)]
pub struct MeshArguments {
    /// A YAML or JSON file, or a folder of them.
    pub path: PathBuf,
    /// How to write it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
}

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

fn length(text: &str) -> Result<Duration, String> {
    let within = |length: &Duration| *length <= Duration::from_secs(24 * 3600);
    parse_duration(text).filter(within).ok_or_else(|| "expected a length of time up to 24h, as in 10m".to_owned())
}

fn ratio(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("\"{text}\" is no number"))?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("expected a share from 0 to 1".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_grammar_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_scripted_demo() {
        let parsed =
            parse("tripline demo --headless --seconds 210 --fault payments-db:errors:20s:40s --port-base 9000");
        let Command::Demo(demo) = parsed.expect("good arguments").command else { panic!("not a demo") };
        assert_eq!((demo.seconds, demo.headless, demo.port_base, demo.rate), (Some(210), true, Some(9000), 200.0));
        assert_eq!(demo.faults.first().map(|fault| fault.service), Some("payments-db"));
    }

    #[test]
    fn look_ups_take_the_collector_before_and_after() {
        for line in ["tripline --collector http://c:1 edges -o json", "tripline edges -o json --collector http://c:1"] {
            let parsed = parse(line).expect("good arguments");
            assert_eq!(parsed.api.collector, "http://c:1");
            let Command::Show(ShowCommand::Edges(edges)) = parsed.command else { panic!("not edges") };
            assert_eq!((edges.list.output, edges.list.watch), (Output::Json, false));
        }
    }

    #[test]
    fn wrong_usage_says_what_is_right() {
        let table = [
            ("tripline demo --fault payments-db:errors:20s", "SERVICE:KIND:AFTER:FOR"),
            ("tripline demo --fault nobody:errors:1s:2s", "unknown service \"nobody\""),
            ("tripline demo --sample-ratio 2", "from 0 to 1"),
            ("tripline demo --rate 0", "more than 0"),
            ("tripline demo --seconds 0", "1..=86400"),
            ("tripline demo --report-to http://x:1 --webhook http://y:1", "cannot be used with"),
            ("tripline edges -o yaml", "possible values: table, json"),
            ("tripline graph -o table", "--compare <TIME>"),
            ("tripline operations", "<NAMESPACE/NAME>"),
            ("tripline edgess", "edges"),
            ("tripline mesh check", "<PATH>"),
            ("tripline detect", "<WINDOWS>"),
            ("tripline detect w.jsonl --from 1", "cannot be used with"),
            ("tripline detect w.jsonl --set z", "NAME=VALUE"),
            ("tripline detect --from 1 --learn 2d", "up to 24h"),
            ("tripline simulate plan.json", "--out <DIR>"),
            ("tripline simulate --from-history 1 2", "--set <EDGE.NAME=VALUE>"),
            ("tripline simulate --from-history 1 --set a>b.max_failures=9", "2 values required"),
            ("tripline simulate --from-history 1 2 --set a>b.nothing=9", "no rule"),
            ("tripline localise w.jsonl --from 1", "--to <TIME>"),
            ("tripline localise w.jsonl --from 1 --to 2 --signal noise", "possible values: latency, failures"),
        ];
        for (line, told) in table {
            let error = parse(line).expect_err(line);
            assert!(error.contains(told), "{line}: {error}");
        }
    }

    #[test]
    fn what_only_the_demo_needs_is_hidden() {
        assert!(!Arguments::command().render_long_help().to_string().contains("demo-service"));
    }
}
