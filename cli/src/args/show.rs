//! The grammar of what looks something up in the collector.

use clap::{Args, Subcommand, ValueEnum};

use super::Output;

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
