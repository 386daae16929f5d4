//! What the collector is told to do: `tripline.yaml`, variables and flags, read into one validated [`Config`].
//!
//! Everything is optional; an empty file and no file mean the same. Flags win over variables, variables over the file.
//! Reading never stops at the first problem: [`ConfigError`] lists all of them, each with file, line, field and what was
//! expected. An unknown key is a problem, too, because a misspelt limit that is silently ignored is worse than none.
//!
//! Nothing here opens a socket or a data file; paths are only checked where they are used.

mod check;
mod document;
mod read;
mod value;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use value::Url;

/// All settings of one collector, valid together.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where journal and history live.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub listen: Listen,
    /// What every caller of the API and every sender of OTLP must bring as `authorization: Bearer ...`.
    pub token: Option<Secret>,
    /// Whether listeners may leave loopback although nothing authenticates those who call.
    pub allow_unauthenticated: bool,
    /// TLS for all three listeners.
    pub tls: Option<Tls>,
    /// When a request is acknowledged.
    pub durability: Durability,
    /// Bounds against whatever is sent.
    pub limits: Limits,
    /// Second endpoints for everything received.
    pub export: Vec<OtlpTarget>,
    /// Whom to tell about incidents.
    pub alert: Alert,
    /// How long history is kept.
    pub retention: Retention,
    /// The object store that history's files go to; only the local disk by default.
    pub history_store: Option<HistoryStore>,
    /// Where the collector's own spans go; nowhere by default.
    pub self_telemetry: Option<SelfTelemetry>,
}

/// Socket addresses of the listeners; port 0 lets the system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Web UI, HTTP API, `/metrics`.
    pub http: SocketAddr,
    /// OTLP over gRPC.
    pub otlp_grpc: SocketAddr,
    /// OTLP over HTTP, and Zipkin's JSON.
    pub otlp_http: SocketAddr,
    /// X-Ray's daemon protocol, UDP and TCP; none: where the SDKs look for it, if that is free.
    pub xray: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { http: local(7600), otlp_grpc: local(4317), otlp_http: local(4318), xray: None }
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// PEM files of the listeners' TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, the listener's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub private_key: PathBuf,
    /// When set, clients must show a certificate that one of these authorities signed.
    pub client_ca: Option<PathBuf>,
}

/// When a request is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When it is in the journal and the journal is synced; `kill -9` and a power cut lose nothing acknowledged.
    Synced {
        /// Longest time that requests are gathered for one sync.
        interval: Duration,
    },
    /// When it is in memory: no journal, a crash loses what history had not written yet.
    Memory,
}

impl Default for Durability {
    fn default() -> Self {
        Self::Synced { interval: Duration::from_millis(20) }
    }
}

/// Bounds against whatever is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest OTLP/gRPC message after decompression.
    pub grpc_request_bytes: usize,
    /// Largest OTLP/HTTP body after decompression.
    pub http_request_bytes: usize,
    /// Memory that the process may take; none: what the control group allows. See [`crate::memory`].
    pub memory_bytes: Option<usize>,
    /// Bytes of all requests, from before they are read until history has written them; beyond it they are refused, to be sent
    /// again.
    pub in_flight_bytes: usize,
    /// Connections on each listener; one more is closed at once.
    pub connections: usize,
    /// Streams on one HTTP/2 connection.
    pub streams: u32,
    /// Time for a request's header lines, and for a connection's first request.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long a request waits for room behind a busy graph or history before it is refused, to be sent again.
    pub queue_timeout: Duration,
    /// Largest journal on disk; beyond it requests are refused, to be sent again.
    pub journal_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grpc_request_bytes: 4 << 20,
            http_request_bytes: 20 << 20,
            memory_bytes: None,
            in_flight_bytes: 80 << 20,
            connections: 4096,
            streams: 100,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            queue_timeout: Duration::from_secs(5),
            journal_bytes: 8 << 30,
        }
    }
}

/// How a second endpoint is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportProtocol {
    /// OTLP/gRPC.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf bodies.
    Http,
}

/// How bodies are compressed on their way to a second endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, which every OTLP receiver must understand.
    #[default]
    Gzip,
    /// zstd: cheaper and smaller, where it is understood.
    Zstd,
}

/// One second endpoint for everything received.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpTarget {
    /// `http://host:port` or `https://host:port`; for HTTP a path prefix is kept and `/v1/...` appended.
    pub endpoint: Url,
    /// gRPC or HTTP.
    pub protocol: ExportProtocol,
    /// Added to each request.
    pub headers: Vec<(String, Secret)>,
    /// Compression of what is sent.
    pub compression: Compression,
    /// Requests waiting at most; what comes when it is full is dropped and counted.
    pub queue: usize,
    /// Bytes waiting at most.
    pub queue_bytes: usize,
}

/// Whom to tell about incidents.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Alert {
    /// Own receivers: the incident as JSON is posted there.
    pub webhooks: Vec<Webhook>,
    /// Alertmanagers, API version 2.
    pub alertmanagers: Vec<Url>,
}

/// One own receiver of incidents.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Where to post.
    pub url: Url,
    /// Added to each request.
    pub headers: Vec<(String, Secret)>,
}

/// How long history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Spans; zero keeps none of them: they make the graph and are forgotten.
    pub spans: Duration,
    /// Log records.
    pub logs: Duration,
    /// Windows of the edges, ten seconds each.
    pub edges: Duration,
    /// The same windows, added up by the minute.
    pub edges_1m: Duration,
    /// And by the hour.
    pub edges_1h: Duration,
    /// Breaker transitions and incidents.
    pub incidents: Duration,
    /// Disk space for all of it; the oldest hours go first.
    pub disk_bytes: u64,
    /// Disk space for spans alone.
    pub spans_bytes: Option<u64>,
    /// For log records.
    pub logs_bytes: Option<u64>,
    /// For windows of ten seconds.
    pub edges_bytes: Option<u64>,
    /// For windows of minutes.
    pub edges_1m_bytes: Option<u64>,
    /// For windows of hours.
    pub edges_1h_bytes: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self {
            spans: hours(72),
            logs: hours(72),
            edges: hours(24),
            edges_1m: hours(30 * 24),
            edges_1h: hours(400 * 24),
            incidents: hours(90 * 24),
            disk_bytes: 20 << 30,
            spans_bytes: None,
            logs_bytes: None,
            edges_bytes: None,
            edges_1m_bytes: None,
            edges_1h_bytes: None,
        }
    }
}

/// The object store that history's files go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryStore {
    /// The bucket in `s3://bucket/prefix`.
    pub bucket: String,
    /// What the names of all objects begin with; may be empty.
    pub prefix: String,
    /// The store's address where it is not Amazon's.
    pub endpoint: Option<Url>,
    /// Bytes of local copies.
    pub cache_bytes: u64,
}

/// Where the collector's own spans go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTelemetry {
    /// An OTLP/gRPC endpoint.
    pub endpoint: Url,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./tripline-data"),
            listen: Listen::default(),
            token: None,
            allow_unauthenticated: false,
            tls: None,
            durability: Durability::default(),
            limits: Limits::default(),
            export: Vec::new(),
            alert: Alert::default(),
            retention: Retention::default(),
            history_store: None,
            self_telemetry: None,
        }
    }
}

/// What flags or variables say; each wins over the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// `--data-dir`, `TRIPLINE_DATA_DIR`.
    pub data_dir: Option<PathBuf>,
    /// `--http`, `TRIPLINE_HTTP`.
    pub http: Option<SocketAddr>,
    /// `--otlp-grpc`, `TRIPLINE_OTLP_GRPC`.
    pub otlp_grpc: Option<SocketAddr>,
    /// `--otlp-http`, `TRIPLINE_OTLP_HTTP`.
    pub otlp_http: Option<SocketAddr>,
    /// `TRIPLINE_TOKEN`.
    pub token: Option<String>,
    /// `--allow-unauthenticated`.
    pub allow_unauthenticated: bool,
}

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line; none for what a flag or variable said.
    pub place: Option<(PathBuf, usize)>,
    /// The field, for example `listen.http`, or the variable.
    pub field: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.place {
            write!(f, "{}:{line}: ", file.display())?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything wrong with the configuration; the command line ends with exit code 64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.problems))]
pub struct ConfigError {
    /// At least one, in the order of the file.
    pub problems: Vec<Problem>,
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// Reads `file` when one is given, then lets `variable` and at last `flags` win over it.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(
        file: Option<&Path>,
        flags: &Overrides,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let text = file.map(|path| (path, std::fs::read_to_string(path)));
        match text {
            None => Self::from_text(Path::new("tripline.yaml"), "", flags, variable),
            Some((path, Ok(text))) => Self::from_text(path, &text, flags, variable),
            Some((path, Err(error))) => {
                let message = format!("cannot read {}: {error}", path.display());
                Err(ConfigError { problems: vec![Problem { place: None, field: String::new(), message }] })
            }
        }
    }

    /// The same for a text already read; `file` is only named in problems.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_text(
        file: &Path,
        text: &str,
        flags: &Overrides,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut problems = document::Problems::new(file);
        let (mut config, lines) = read::config(text, &mut problems);
        read::variables(&mut config, variable, &mut problems);
        read::flags(&mut config, flags);
        check::whole(&config, &lines, &mut problems);
        let problems = problems.into_list();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }
}
