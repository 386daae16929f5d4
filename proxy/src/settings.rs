//! What the command line, the environment and the mesh's documents say, checked before anything starts.
//!
//! Flags win over variables, variables over documents. App Mesh's and OpenTelemetry's own variables are read where ours are
//! not set, so that a task definition or a pod spec needs no change.

use std::fs;
use std::hash::BuildHasher as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::limit_args::LimitArgs;
use clap::Parser;
use rustc_hash::FxBuildHasher;
use thiserror::Error;
use tripline_mesh::{Mesh, NodeConfig, NodeError, Problem, Problems, Source};

use crate::resource_attributes;

/// Most files read from a folder.
const MAX_FILES: usize = 1_000;
/// Largest file read, in bytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The sidecar proxy of Tripline.
#[derive(Debug, Clone, Parser)]
#[command(name = "tripline-proxy", version, about)]
pub struct Args {
    /// App Mesh documents: a YAML file, or a folder of them.
    #[arg(long, env = "TRIPLINE_MESH", value_name = "PATH")]
    pub mesh: PathBuf,
    /// The virtual node this sidecar stands beside, or the virtual gateway it is to be.
    #[arg(long, env = "TRIPLINE_NODE", value_name = "NAMESPACE/NAME")]
    pub node: Option<String>,
    /// App Mesh's way to say the node.
    #[arg(long, env = "APPMESH_RESOURCE_ARN", hide = true)]
    pub resource_arn: Option<String>,
    /// App Mesh's older way to say the node.
    #[arg(long, env = "APPMESH_VIRTUAL_NODE_NAME", hide = true)]
    pub virtual_node_name: Option<String>,
    /// Where telemetry goes: the collector's OTLP gRPC address; "none" to send none [default: http://127.0.0.1:4317].
    #[arg(long, env = "TRIPLINE_COLLECTOR", value_name = "URL")]
    pub collector: Option<String>,
    /// OpenTelemetry's way to say the collector.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide = true)]
    pub otlp_endpoint: Option<String>,
    /// Authorities that an https:// collector must lead to [default: the system's].
    #[arg(long, env = "TRIPLINE_COLLECTOR_CA", value_name = "FILE")]
    pub collector_ca: Option<PathBuf>,
    /// OpenTelemetry's way to name the authorities.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", hide = true)]
    pub otlp_certificate: Option<PathBuf>,
    /// What else is said about this process in its telemetry: key=value,key=value.
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "PAIRS", default_value = "", hide_default_value = true)]
    pub resource_attributes: String,
    /// Ports that the redirect rules leave alone, so that what the application calls there passes by unseen: reported, not enforced.
    #[arg(long, env = "APPMESH_EGRESS_IGNORED_PORTS", value_name = "PORTS", value_delimiter = ',')]
    pub bypassed_ports: Vec<u16>,
    /// Where other services reach this one; only bound when the node has listeners.
    #[arg(long, env = "TRIPLINE_INBOUND", value_name = "IP:PORT", default_value = "127.0.0.1:15000")]
    pub inbound: SocketAddr,
    /// Where the application sends its calls.
    #[arg(long, env = "TRIPLINE_OUTBOUND", value_name = "IP:PORT", default_value = "127.0.0.1:15001")]
    pub outbound: SocketAddr,
    /// Metrics, health, configuration, breakers, drain.
    #[arg(long, env = "TRIPLINE_ADMIN", value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    pub admin: SocketAddr,
    /// Where the application listens [default: the node's listener port on 127.0.0.1].
    #[arg(long, env = "TRIPLINE_APP", value_name = "IP:PORT")]
    pub app: Option<SocketAddr>,
    /// A port whose connections are passed to a service as bytes: IP:PORT=SERVICE[:PORT]; may be given several times.
    #[arg(long = "forward", env = "TRIPLINE_FORWARD", value_name = "IP:PORT=SERVICE", value_delimiter = ',', value_parser = forward)]
    pub forwards: Vec<Forward>,
    /// Share of new traces whose spans are sent; counts are always complete.
    #[arg(long, env = "TRIPLINE_SAMPLE_RATIO", value_name = "0..1", default_value = "0.05", value_parser = ratio)]
    pub sample_ratio: f64,
    /// Threads that carry traffic.
    #[arg(long, env = "TRIPLINE_WORKERS", value_name = "N", default_value = "1", value_parser = workers)]
    pub workers: usize,
    /// Seconds between two looks for changed documents; 0 waits for SIGHUP or POST /reload.
    #[arg(long, env = "TRIPLINE_RELOAD_SECONDS", value_name = "N", default_value = "2")]
    pub reload_seconds: u64,
    /// Try requests of routes without a retryPolicy twice more on 503 and broken connections, as App Mesh did unasked.
    #[arg(long, env = "TRIPLINE_APP_MESH_RETRIES")]
    pub app_mesh_retries: bool,
    /// Speak HTTP/2 in plain text to `http` listeners, too: each of them has a sidecar of ours before it.
    #[arg(long, env = "TRIPLINE_HTTP2_TO_SIDECARS")]
    pub http2_to_sidecars: bool,
    /// The name server to ask instead of the system's.
    #[arg(long, env = "TRIPLINE_DNS", value_name = "IP:PORT")]
    pub dns: Option<SocketAddr>,
    /// Limits of time and number.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What to log: error, warn, info, debug, trace, or a filter of tracing's.
    #[arg(long, env = "TRIPLINE_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// End when standard input ends, for supervisors that may be killed.
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
    /// Check the configuration and exit.
    #[arg(long)]
    pub check: bool,
}

/// A port of the sidecar that leads to one service, for protocols that do not name whom they call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Where the application connects.
    pub listen: SocketAddr,
    /// The service, by any of its host names.
    pub service: String,
    /// Which of its ports; needed when it has several.
    pub port: Option<u16>,
}

fn forward(text: &str) -> Result<Forward, String> {
    let wrong = || "expected IP:PORT=SERVICE or IP:PORT=SERVICE:PORT, such as 127.0.0.1:5432=orders-db".to_owned();
    let (listen, service) = text.split_once('=').ok_or_else(wrong)?;
    let (service, port) = match service.rsplit_once(':') {
        Some((service, port)) => (service, Some(port.parse().map_err(|_| wrong())?)),
        None => (service, None),
    };
    if service.is_empty() {
        return Err(wrong());
    }
    Ok(Forward { listen: listen.parse().map_err(|_| wrong())?, service: service.to_owned(), port })
}

fn ratio(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number in 0..1, such as 0.05".to_owned())?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("expected a number in 0..1, such as 0.05".to_owned()) }
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=256) => Ok(number),
        _ => Err("expected a number of threads in 1..=256".to_owned()),
    }
}

/// How a sidecar runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where other services reach this one.
    pub inbound: SocketAddr,
    /// Where the application sends its calls.
    pub outbound: SocketAddr,
    /// For operators.
    pub admin: SocketAddr,
    /// Where the application listens; by default the listener's port on 127.0.0.1.
    pub app: Option<SocketAddr>,
    /// The collector's OTLP gRPC address.
    pub collector: String,
    /// Authorities that an encrypted collector must lead to; the system's when none.
    pub collector_ca: Option<PathBuf>,
    /// What else is said about this process in its telemetry.
    pub resource_attributes: Vec<(String, String)>,
    /// Ports that connections of the application pass by on.
    pub bypassed_ports: Vec<u16>,
    /// Ports whose connections are passed to a service as bytes.
    pub forwards: Vec<Forward>,
    /// Share of new traces that are sampled, 0..=1.
    pub sample_ratio: f64,
    /// Threads that carry traffic; at least one.
    pub workers: usize,
    /// Time between two looks for changed documents; none to wait until somebody asks.
    pub reload: Option<Duration>,
    /// Whether requests of routes without a policy are tried again as App Mesh did.
    pub app_mesh_retries: bool,
    /// Whether `http` listeners are called over HTTP/2 in plain text, which sidecars of ours take.
    pub http2_to_sidecars: bool,
    /// The name server to ask instead of the system's.
    pub dns: Option<SocketAddr>,
    /// Limits of time and number.
    pub limits: LimitArgs,
}

impl Default for Settings {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            inbound: local(15000),
            outbound: local(15001),
            admin: local(9901),
            app: None,
            forwards: Vec::new(),
            collector: "http://127.0.0.1:4317".to_owned(),
            collector_ca: None,
            resource_attributes: Vec::new(),
            bypassed_ports: Vec::new(),
            sample_ratio: 0.05,
            workers: 1,
            reload: Some(Duration::from_secs(2)),
            app_mesh_retries: false,
            http2_to_sidecars: false,
            dns: None,
            limits: LimitArgs::default(),
        }
    }
}

impl Args {
    /// The settings that the arguments come to.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let collector = self.collector.clone().or_else(|| self.otlp_endpoint.clone());
        Settings {
            inbound: self.inbound,
            outbound: self.outbound,
            admin: self.admin,
            app: self.app,
            forwards: self.forwards.clone(),
            collector: collector.unwrap_or_else(|| Settings::default().collector),
            collector_ca: self.collector_ca.clone().or_else(|| self.otlp_certificate.clone()),
            resource_attributes: resource_attributes::read(&self.resource_attributes),
            bypassed_ports: self.bypassed_ports.clone(),
            sample_ratio: self.sample_ratio,
            workers: self.workers,
            reload: (self.reload_seconds > 0).then(|| Duration::from_secs(self.reload_seconds)),
            app_mesh_retries: self.app_mesh_retries,
            http2_to_sidecars: self.http2_to_sidecars,
            dns: self.dns,
            limits: self.limits,
        }
    }

    /// The node as it was named, by us or by App Mesh.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        let names = [&self.node, &self.resource_arn, &self.virtual_node_name];
        names.into_iter().flatten().map(String::as_str).find(|name| !name.is_empty())
    }
}

/// The configuration of one sidecar, read and checked.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// What this sidecar needs of the mesh.
    pub node: NodeConfig,
    /// Host names of all services of the mesh, to tell a service that may not be called from one that does not exist.
    pub mesh_hosts: Vec<String>,
    /// What was noticed while reading.
    pub warnings: Vec<Problem>,
    /// Where it came from, to read it again.
    pub origin: Origin,
}

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// A file, or a folder of them.
    pub path: PathBuf,
    /// The node as it was named.
    pub node: Option<String>,
    /// What the documents looked like before they were read.
    pub(crate) looks: Option<Looks>,
}

/// The files of the documents and a hash of what is in each. The time of a change would not do: the kernel's clock for it stands still
/// for some milliseconds, in which a file can be read and then written again.
pub(crate) type Looks = Vec<(PathBuf, u64)>;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The path cannot be read.
    #[error("cannot read {}; give the mesh's documents with --mesh PATH or TRIPLINE_MESH", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The documents are wrong.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The node is not there.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// Nobody said which node.
    #[error(
        "which virtual node does this sidecar stand beside, or which virtual gateway is it? say --node NAMESPACE/NAME or TRIPLINE_NODE; the mesh has {known}"
    )]
    NoNode {
        /// The nodes there are.
        known: String,
    },
}

impl Configuration {
    /// Reads a file, or the `.yaml`, `.yml` and `.json` files of a folder in the order of their names.
    ///
    /// # Errors
    /// [`LoadError`]: unreadable, wrong (every problem at once), or without the node.
    pub fn load(path: &Path, node: Option<&str>) -> Result<Self, LoadError> {
        let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
        // Before reading: what changes while it is read has then changed since.
        let looks = looks_of(path);
        let texts = read_all(path).map_err(unreadable)?;
        let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source { name, text }).collect();
        let loaded = Mesh::parse(&sources)?;
        let origin = Origin { path: path.to_owned(), node: node.map(str::to_owned), looks };
        let Some(node) = node else {
            let members = loaded.mesh.nodes.keys().chain(loaded.mesh.gateways.keys());
            let known: Vec<String> = members.map(ToString::to_string).collect();
            return Err(LoadError::NoNode { known: known.join(", ") });
        };
        let node = loaded.mesh.find_node(node)?;
        let mesh_hosts = loaded.mesh.services.values().flat_map(|service| {
            [service.aws_name.to_ascii_lowercase(), format!("{}.{}", service.id.name(), service.id.namespace())]
        });
        Ok(Self {
            node: loaded.mesh.node_config(&node)?,
            mesh_hosts: mesh_hosts.collect(),
            warnings: loaded.warnings,
            origin,
        })
    }
}

fn read_all(path: &Path) -> io::Result<Vec<(String, String)>> {
    document_files(path)?.iter().map(|file| read_one(file)).collect()
}

/// What the documents look like; none when they cannot be read.
pub(crate) fn looks_of(path: &Path) -> Option<Looks> {
    let look = |file: PathBuf| {
        let (_, text) = read_one(&file).ok()?;
        let hash = FxBuildHasher.hash_one(text);
        Some((file, hash))
    };
    document_files(path).ok()?.into_iter().map(look).collect()
}

/// The files that the documents are in.
fn document_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let known = file.extension().and_then(|e| e.to_str()).is_some_and(|e| matches!(e, "yaml" | "yml" | "json"));
        if known && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the folder has no .yaml, .yml or .json file"));
    }
    if files.len() > MAX_FILES {
        return Err(io::Error::other(format!("the folder has more than {MAX_FILES} documents")));
    }
    files.sort();
    Ok(files)
}

fn read_one(path: &Path) -> io::Result<(String, String)> {
    if fs::metadata(path)?.len() > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("{} is larger than {MAX_FILE_BYTES} bytes", path.display())));
    }
    let text = fs::read_to_string(path).map_err(|error| {
        let named = format!("{}: {error}", path.display());
        io::Error::new(error.kind(), named)
    })?;
    Ok((path.display().to_string(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &[&str]) -> Args {
        let start = ["tripline-proxy", "--mesh", "mesh.yaml"];
        Args::try_parse_from(start.iter().chain(line)).unwrap()
    }

    #[test]
    fn flags_win_and_app_mesh_s_names_are_a_fallback() {
        let arn = "arn:aws:appmesh:eu-west-1:1:mesh/shop/virtualNode/web_shop";
        assert_eq!(args(&["--resource-arn", arn]).node_name(), Some(arn));
        assert_eq!(args(&["--resource-arn", arn, "--node", "shop/web"]).node_name(), Some("shop/web"));
        let both = args(&["--otlp-endpoint", "http://a:1", "--collector", "http://b:2"]);
        assert_eq!(both.settings().collector, "http://b:2");
        assert_eq!(args(&[]).settings(), Settings::default());
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for line in [["--sample-ratio", "1.5"], ["--sample-ratio", "NaN"], ["--workers", "0"], ["--admin", "9901"]] {
            assert!(Args::try_parse_from(["x", "--mesh", "m", line[0], line[1]]).is_err(), "{line:?}");
        }
    }

    #[test]
    fn forwarded_ports_are_read_strictly() {
        let read = args(&["--forward", "127.0.0.1:5432=orders-db,127.0.0.1:1=x.y:2"]).settings().forwards;
        let ports: Vec<_> = read.iter().map(|forward| (forward.service.as_str(), forward.port)).collect();
        assert_eq!(ports, [("orders-db", None), ("x.y", Some(2))]);
        for wrong in ["5432=db", "127.0.0.1:1", "127.0.0.1:1=", "127.0.0.1:1=db:x"] {
            assert!(Args::try_parse_from(["x", "--mesh", "m", "--forward", wrong]).is_err(), "{wrong}");
        }
    }

    /// Rows of the table of settings: flag, variable, default, and what else is in them.
    fn documented() -> Vec<Vec<String>> {
        let page = include_str!("../../docs/proxy.md");
        let (_, section) = page.split_once("\n## Settings\n").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `--"));
        rows.map(|row| row.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect()).collect()
    }

    #[test]
    fn every_setting_is_on_its_page_with_its_variable_and_default_and_no_other_is() {
        let command = <Args as clap::CommandFactory>::command();
        let mut known = Vec::new();
        for arg in command.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")) {
            let flag = format!("`--{}`", arg.get_long().unwrap());
            let variable = arg.get_env().map(|name| format!("`{}`", name.display())).unwrap_or_default();
            let row = documented().into_iter().find(|row| row[0] == flag);
            let row = row.unwrap_or_else(|| panic!("docs/proxy.md has no row for {flag} | {variable}"));
            assert_eq!(row[1], variable, "{flag}");
            let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.display().to_string()).collect();
            let is_switch = !arg.get_action().takes_values();
            match defaults.first().filter(|value| !value.is_empty() && !is_switch) {
                Some(default) => assert_eq!(row[2], *default, "{flag}"),
                None => assert!(!row[2].is_empty(), "{flag}: say none, off or required"),
            }
            assert!(!row[3].is_empty() && arg.get_help().is_some(), "{flag}: say what it sets");
            known.push(flag);
        }
        for row in documented() {
            assert!(known.contains(&row[0]), "docs/proxy.md has {}, which is no flag", row[0]);
        }
    }

    #[test]
    fn a_missing_path_says_what_to_do() {
        let error = Configuration::load(Path::new("/nowhere/mesh.yaml"), None).unwrap_err().to_string();
        assert!(error.contains("--mesh PATH"), "{error}");
    }

    #[test]
    fn a_folder_without_documents_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let error = Configuration::load(folder.path(), None).unwrap_err();
        assert!(matches!(error, LoadError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound));
    }
}
