//! The programs of a benchmark on ports of their own: nginx, a receiver that discards telemetry, Envoy, our sidecars.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tripline_tests::certificates::Authority;
use tripline_tests::fixture::{self, Word};
use tripline_tests::sidecar::Ports;
use tripline_tests::{Running, Sidecar, ports, programs, wait};

/// How long a program may take until it listens.
const START: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER: usize = 1024;
/// Bytes of the answer that is sent at 1 KiB a second.
const SLOW_ANSWER: usize = 60 * 1024;

/// Ports, files, nginx and the receiver of telemetry; the hops are started as a row needs them.
pub(crate) struct Bed {
    folder: TempDir,
    words: Vec<Word>,
    base: u16,
    nginx: Option<Running>,
    _telemetry: Running,
}

impl Bed {
    /// Writes the files and starts what answers.
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let authority = Authority::new(folder.path())?;
        for name in ["client", "server"] {
            authority.issue(name, &format!("spiffe://shop.example/ns/bench/sa/{name}"))?;
        }
        answers(folder.path())?;
        let base = ports::free(24)?;
        let mut bed = Self {
            words: words(folder.path(), base),
            _telemetry: telemetry(folder.path(), base)?,
            folder,
            base,
            nginx: None,
        };
        listens(bed.telemetry_port()).await?;
        let nginx = programs::peer("nginx", "nginx-light")?;
        bed.nginx = Some(Running::start(&nginx, ["-c".as_ref(), bed.fill("nginx.conf")?.as_os_str()])?);
        listens(bed.http1()).await?;
        Ok(bed)
    }

    /// Port of the server over HTTP/1.1.
    pub(crate) const fn http1(&self) -> u16 {
        self.base
    }

    const fn telemetry_port(&self) -> u16 {
        self.base + 2
    }

    /// Envoy's ports for HTTP/1.1, HTTP/2 and mutual TLS.
    pub(crate) const fn envoy(&self) -> [u16; 3] {
        [self.base + 4, self.base + 5, self.base + 6]
    }

    /// Where HAProxy and the sidecar take bytes, and where both lead them.
    pub(crate) const fn bytes(&self) -> [u16; 3] {
        [self.base + 16, self.base + 17, self.base + 18]
    }

    /// Ports of our sidecar at the client.
    pub(crate) const fn client(&self) -> Ports {
        Ports::from(self.base + 8)
    }

    /// Ports of our sidecar at the server, whose application is nginx.
    const fn server(&self) -> Ports {
        Ports { app: self.http1(), ..Ports::from(self.base + 12) }
    }

    /// The body of a gRPC call.
    pub(crate) fn message(&self) -> PathBuf {
        self.folder.path().join("www/message")
    }

    /// Envoy at the client's end.
    pub(crate) async fn envoy_client(&self) -> Result<Running> {
        self.run_envoy("envoy-client.yaml", self.envoy()[0]).await
    }

    /// Envoy at the server's end.
    pub(crate) async fn envoy_server(&self) -> Result<Running> {
        self.run_envoy("envoy-server.yaml", self.base + 7).await
    }

    async fn run_envoy(&self, fixture: &str, port: u16) -> Result<Running> {
        let mut envoy = Command::new(programs::python("envoy")?);
        envoy.args(["--disable-hot-restart", "--log-level", "error", "--concurrency", "1", "-c"]);
        let mut running = Running::start_command(envoy.arg(self.fill(fixture)?))?;
        let listening = listens(port).await;
        running.check()?;
        listening.map(|()| running)
    }

    /// HAProxy with one thread.
    pub(crate) async fn haproxy(&self) -> Result<Running> {
        let haproxy = programs::peer("haproxy", "haproxy")?;
        let running = Running::start(&haproxy, ["-db".as_ref(), "-f".as_ref(), self.fill("haproxy.cfg")?.as_os_str()])?;
        listens(self.bytes()[0]).await?;
        Ok(running)
    }

    /// Our sidecar at the client's end, as people run it but for its sampling, which is Envoy's.
    pub(crate) async fn sidecar(&self, telemetry: Telemetry) -> Result<Sidecar> {
        let [_, forward, _] = self.bytes();
        let collector = match telemetry {
            Telemetry::On => format!("http://127.0.0.1:{}", self.telemetry_port()),
            Telemetry::Off => "none".to_owned(),
        };
        let more = [
            ("TRIPLINE_COLLECTOR", collector),
            ("TRIPLINE_SAMPLE_RATIO", "0.05".to_owned()),
            ("TRIPLINE_FORWARD", format!("127.0.0.1:{forward}=bytes.bench.local")),
        ];
        Sidecar::start_with(&self.fill("mesh.yaml")?, "bench/client", self.client(), &more).await
    }

    /// Our sidecar at the server's end.
    pub(crate) async fn server_sidecar(&self) -> Result<Sidecar> {
        let collector = format!("http://127.0.0.1:{}", self.telemetry_port());
        let more = [("TRIPLINE_COLLECTOR", collector), ("TRIPLINE_SAMPLE_RATIO", "0.05".to_owned())];
        Sidecar::start_with(&self.fill("mesh.yaml")?, "bench/server", self.server(), &more).await
    }

    /// Ends nginx, and with it all connections to it.
    pub(crate) fn end_server(&mut self) {
        self.nginx = None;
    }

    fn fill(&self, name: &str) -> Result<PathBuf> {
        fixture::fill(&format!("bench/{name}"), self.folder.path(), &self.words)
    }
}

/// Whether a sidecar reports.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Telemetry {
    On,
    Off,
}

/// Waits until something takes connections at a port of loopback.
async fn listens(port: u16) -> Result<()> {
    wait::until(&format!("port {port}"), START, async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await)
        .await
        .map(drop)
}

/// The files that nginx serves.
fn answers(folder: &Path) -> Result<()> {
    let call = folder.join("www/bench.Echo");
    fs::create_dir_all(&call)?;
    // One message: no compression, its length, the bytes.
    let length = u32::try_from(ANSWER)?.to_be_bytes();
    let message = [&[0], length.as_slice(), &[b'x'; ANSWER]].concat();
    fs::write(call.join("Say"), &message)?;
    fs::write(folder.join("www/message"), &message)?;
    fs::write(folder.join("www/slow"), vec![b'x'; SLOW_ANSWER]).context("could not write the files that nginx serves")
}

/// The words of all fixtures.
fn words(folder: &Path, base: u16) -> Vec<Word> {
    let port = |word: &'static str, offset: u16| (word, (base + offset).to_string());
    vec![
        ("FOLDER", folder.display().to_string()),
        ("ANSWER", "x".repeat(ANSWER)),
        port("SERVER_HTTP1", 0),
        port("SERVER_HTTP2", 1),
        port("TELEMETRY", 2),
        port("ENVOY_HTTP1", 4),
        port("ENVOY_HTTP2", 5),
        port("ENVOY_SECURE", 6),
        port("ENVOY_INBOUND", 7),
        port("SIDECAR_INBOUND", 12),
        port("HAPROXY", 16),
        port("SINK", 18),
    ]
}

/// Rotel, which decodes OTLP and discards it.
fn telemetry(folder: &Path, base: u16) -> Result<Running> {
    let mut rotel = Command::new(programs::python("rotel-agent")?);
    rotel.args(["start", "--exporter", "blackhole"]);
    rotel.args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{}", base + 2)]);
    rotel.args(["--otlp-http-endpoint", &format!("127.0.0.1:{}", base + 3)]);
    rotel.arg("--pid-file").arg(folder.join("rotel.pid")).arg("--log-file").arg(folder.join("rotel.log"));
    Running::start_command(&rotel)
}
