//! The grammar of the command line.

mod demo;
mod judge;
mod show;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::demo::{DemoArguments, DemoServiceArguments};
pub use self::judge::{DetectArguments, LocaliseArguments, LocaliseSignal, SimulateArguments};
pub use self::show::{
    ExplainArguments, GraphArguments, GraphOutput, IncidentArguments, ListArguments, LogsArguments,
    OperationsArguments, RangeArguments, ShowCommand, StatisticsArguments, TopArguments, TraceArguments,
    TracesArguments,
};

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

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns.
    Table,
    /// As the HTTP API gives it.
    Json,
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
