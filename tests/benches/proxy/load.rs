//! Load by wrk and h2load, and what they say of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use tripline_tests::{Running, programs};

use crate::cost;

/// How much longer than its load a generator may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// One run of load through a hop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Requests that failed, in whatever way.
    pub(crate) errors: u64,
    /// Requests a second, as the generator counts them.
    pub(crate) per_second: f64,
    /// Milliseconds within which 99 % were answered; none where the generator does not tell.
    pub(crate) p99_ms: Option<f64>,
    /// Microseconds of processor time a request, of all programs of the hop together.
    pub(crate) cpu_us: f64,
}

/// Where and what to ask.
pub(crate) struct Target<'a> {
    /// Port of the hop.
    pub(crate) port: u16,
    /// Whom the request is for.
    pub(crate) host: &'a str,
    /// The programs of the hop.
    pub(crate) hop: &'a [Pid],
}

/// HTTP/1.1 by wrk.
pub(crate) async fn wrk(target: &Target<'_>, connections: usize, length: Duration) -> Result<Run> {
    let mut command = Command::new(programs::peer("wrk", "wrk")?);
    command.args(["-t1", "--latency", "--timeout", "5s"]);
    command.arg(format!("-c{connections}")).arg(format!("-d{}s", length.as_secs()));
    command.args(["-H", &format!("Host: {}", target.host), &format!("http://127.0.0.1:{}/", target.port)]);
    let (text, cpu) = measured(&command, target.hop, length).await?;
    let requests = before(&text, " requests in").context("wrk told no number of requests")?;
    let after = |label: &str| text.split(label).nth(1).and_then(|rest| rest.split_whitespace().next());
    let broken = text.lines().find(|line| line.contains("Socket errors")).unwrap_or_default();
    let broken = broken.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
    let refused = after("Non-2xx or 3xx responses:").and_then(|number| number.parse().ok()).unwrap_or(0);
    Ok(Run {
        errors: broken + refused,
        per_second: after("Requests/sec:").and_then(|number| number.parse().ok()).context("wrk told no rate")?,
        p99_ms: after("99%").and_then(milliseconds),
        cpu_us: cpu * 1e6 / requests.max(1.0),
    })
}

/// HTTP/2 with prior knowledge by h2load, so many connections with so many streams each; a POST of the file if there is one.
pub(crate) async fn h2load(
    target: &Target<'_>,
    (connections, streams): (usize, usize),
    length: Duration,
    call: Call<'_>,
) -> Result<Run> {
    let mut command = Command::new(programs::peer("h2load", "nghttp2-client")?);
    command
        .arg("-t1")
        .arg(format!("-m{streams}"))
        .arg(format!("-c{connections}"))
        .arg(format!("-D{}", length.as_secs()));
    command.args(["-H", &format!(":authority: {}", target.host)]);
    if let Some(message) = call.message {
        command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-d"]).arg(message);
    }
    command.arg(format!("http://127.0.0.1:{}{}", target.port, call.path));
    let (text, cpu) = measured(&command, target.hop, length).await?;
    let requests = before(&text, " succeeded").context("h2load told no number of requests")?;
    let errors = [" failed", " errored", " timeout"].iter().filter_map(|what| before(&text, what)).sum::<f64>();
    let per_second = before(&text, " req/s").context("h2load told no rate")?;
    Ok(Run { errors: errors as u64, per_second, p99_ms: None, cpu_us: cpu * 1e6 / requests.max(1.0) })
}

/// What h2load asks for.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Path of the request.
    pub(crate) path: &'a str,
    /// File with the body of a gRPC call.
    pub(crate) message: Option<&'a Path>,
}

/// Runs a generator; what it wrote, and the processor seconds that the hop took meanwhile.
async fn measured(command: &Command, hop: &[Pid], length: Duration) -> Result<(String, f64)> {
    let spent = || hop.iter().map(|pid| cost::cpu_seconds(*pid)).sum::<Result<f64>>();
    let before = spent()?;
    let mut generator = Running::start_command(command)?;
    let status = generator.ended(length + GRACE).await?;
    let text = generator.output();
    ensure!(status.success(), "the load generator ended ({status}): {text}");
    Ok((text, spent()? - before))
}

/// The number in front of a label.
fn before(text: &str, label: &str) -> Option<f64> {
    let (head, _) = text.split_once(label)?;
    head.rsplit([' ', '\n', ',']).next()?.parse().ok()
}

/// `1.20ms`, `830.00us`, `1.01s`.
fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    units.iter().find_map(|(unit, scale)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * scale))
}
