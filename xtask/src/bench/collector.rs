//! The collector's intake beside Rotel, an OpenTelemetry collector in Rust that here only decodes and throws away.
//!
//! Both get the same OTLP/HTTP requests from wrk, in turns, in one run, so that whatever else the machine does meets both. What is
//! compared is spans per second of processor time; the median of the rounds' ratios is the figure. Each row names its bar.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::json;

use super::measured::{Program, Wrk, pause, script};
use super::requests::{Call, Chance, SPANS, large_mesh, request, small_mesh};
use crate::places::Places;
use crate::{build, command, peers, progress};

/// Ports of the programs, away from the usual ones.
const HTTP: u16 = 27_600;
const OTLP: u16 = 24_318;
const ROTEL_OTLP: u16 = 34_318;
const SMALL_MESH_REQUESTS: usize = 256;

#[derive(Parser)]
#[command(name = "cargo xtask bench collector", about = "The collector's intake beside Rotel")]
struct Options {
    /// Rows to run: memory-only, default, gzip, zstd, overload, large; all when left out
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Seconds of each round
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Rounds of each row
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of the overload, and of the large mesh
    #[arg(long, default_value_t = 60)]
    long: u64,
    /// A collector that is there already; built when left out
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Runs the rows that were asked for.
pub(super) fn bench(places: &Places, arguments: &[String]) -> Result<()> {
    let options = Options::try_parse_from(std::iter::once(&"collector".to_owned()).chain(arguments))?;
    let tripline = match &options.binary {
        Some(binary) => binary.clone(),
        None => build::binaries(places, build::Profile::Release)?.first().context("no binary was built")?.clone(),
    };
    let folder = places.cache("bench-collector");
    let _gone = fs::remove_dir_all(&folder);
    let bench = Bench { tripline, rotel: rotel(places)?, folder, options };
    bench.write_requests("plain", &|body| Ok(body.to_vec()), None)?;
    let wanted = |row: &str| bench.options.rows.is_empty() || bench.options.rows.iter().any(|one| one == row);
    let graph_only = "durability: memory\nretention:\n  spans_hours: 0\n";
    let beside = [
        ("memory-only", graph_only, "plain", 5.0),
        ("default", "", "plain", 2.0),
        ("gzip", "", "gzip", 2.0),
        ("zstd", "", "zstd", 2.0),
    ];
    for (row, config, bodies, bar) in beside {
        if wanted(row) {
            match bodies {
                "gzip" => bench.write_requests(bodies, &gzip, Some("gzip"))?,
                "zstd" => bench.write_requests(bodies, &|body| Ok(zstd::bulk::compress(body, 3)?), Some("zstd"))?,
                _ => {}
            }
            bench.beside_rotel(row, config, bodies, bar)?;
        }
    }
    if wanted("overload") {
        bench.overload()?;
    }
    if wanted("large") {
        bench.large()?;
    }
    Ok(())
}

fn gzip(body: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body)?;
    Ok(encoder.finish()?)
}

/// Rotel's binary, one of the Python peers.
fn rotel(places: &Places) -> Result<PathBuf> {
    for missing in peers::prepare(places) {
        progress::warn(&format!("{missing:#}"));
    }
    let versions = places.cache("python").join("lib").read_dir().into_iter().flatten().flatten();
    let mut found = versions.map(|version| version.path().join("site-packages/rotel/rotel-agent"));
    found.find(|file| file.is_file()).context("there is no rotel-agent among the Python peers: see the warning above")
}

struct Bench {
    tripline: PathBuf,
    rotel: PathBuf,
    folder: PathBuf,
    options: Options,
}

/// Spans a second of processor time, and what else one run showed.
struct Run {
    spans_per_cpu_second: f64,
    spans_per_second: f64,
    errors: u64,
}

impl Bench {
    fn write_requests(
        &self,
        name: &str,
        shape: &dyn Fn(&[u8]) -> Result<Vec<u8>>,
        encoding: Option<&str>,
    ) -> Result<()> {
        let mut chance = Chance(7);
        let mesh = small_mesh(&mut chance);
        let some = |chance: &mut Chance| -> Vec<Call> {
            (0..SPANS / 2).filter_map(|_| mesh.get(chance.below(mesh.len() as u64) as usize)).copied().collect()
        };
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        for number in 0..SMALL_MESH_REQUESTS {
            let calls = some(&mut chance);
            fs::write(folder.join(number.to_string()), shape(&request(&calls, &mut chance))?)?;
        }
        fs::write(folder.join("post.lua"), script(&folder, SMALL_MESH_REQUESTS, encoding))?;
        Ok(())
    }

    /// Starts a collector on an empty data folder.
    fn collector(&self, config: &str) -> Result<Program> {
        let data = self.folder.join("data");
        let _gone = fs::remove_dir_all(&data);
        self.collector_again(config)
    }

    /// Starts a collector on what one before has left.
    fn collector_again(&self, config: &str) -> Result<Program> {
        let file = self.folder.join("tripline.yaml");
        let listen = format!(
            "listen:\n  http: 127.0.0.1:{HTTP}\n  otlp_grpc: 127.0.0.1:{}\n  otlp_http: 127.0.0.1:{OTLP}\n",
            OTLP - 1
        );
        fs::write(&file, format!("data_dir: {}\n{listen}{config}", self.folder.join("data").display()))?;
        Program::start(
            Command::new(&self.tripline).arg("collector").arg("--config").arg(&file),
            OTLP,
            &self.folder.join("tripline.log"),
        )
    }

    fn peer(&self) -> Result<Program> {
        let mut rotel = Command::new(&self.rotel);
        rotel.args(["start", "--exporter", "blackhole", "--otlp-http-endpoint", &format!("127.0.0.1:{ROTEL_OTLP}")]);
        rotel.args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{}", ROTEL_OTLP - 1)]);
        rotel
            .arg("--pid-file")
            .arg(self.folder.join("rotel.pid"))
            .arg("--log-file")
            .arg(self.folder.join("rotel-own.log"));
        Program::start(&mut rotel, ROTEL_OTLP, &self.folder.join("rotel.log"))
    }

    fn run(&self, program: &Program, port: u16, script: &Path) -> Result<Run> {
        let seconds = self.options.seconds;
        let before = program.cpu_seconds()?;
        let load = Wrk { script, connections: 8, seconds }.run(port)?;
        let cpu = (program.cpu_seconds()? - before).max(0.01);
        let spans = ((load.requests - load.refused.min(load.requests)) * SPANS as u64) as f64;
        let errors = load.refused + load.broken;
        Ok(Run { spans_per_cpu_second: spans / cpu, spans_per_second: spans / seconds as f64, errors })
    }

    fn beside_rotel(&self, row: &str, config: &str, bodies: &str, bar: f64) -> Result<()> {
        let script = self.folder.join(bodies).join("post.lua");
        let (ours, theirs) = (self.collector(config)?, self.peer()?);
        let mut rounds = Vec::new();
        for _ in 0..self.options.rounds {
            let peer = self.run(&theirs, ROTEL_OTLP, &script)?;
            let own = self.run(&ours, OTLP, &script)?;
            rounds.push((own.spans_per_cpu_second / peer.spans_per_cpu_second, own, peer));
        }
        rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, own, peer) = rounds.get(rounds.len() / 2).context("no rounds")?;
        println!(
            "{}",
            json!({"bench": "collector", "row": row, "ratio": rounded(*ratio), "bar": bar, "met": ratio.is_finite() && *ratio >= bar,
                "spans_per_cpu_second": own.spans_per_cpu_second.round(), "rotel_spans_per_cpu_second": peer.spans_per_cpu_second.round(),
                "spans_per_second": own.spans_per_second.round(), "errors": rounds.iter().map(|round| round.1.errors).sum::<u64>(),
                "peak_mib": rounded(ours.memory_mib("VmHWM")?)})
        );
        theirs.stop()?;
        ours.stop()
    }

    /// As many senders as there can be, each sending as fast as it is answered; then what was acknowledged is counted.
    fn overload(&self) -> Result<()> {
        let collector = self.collector("")?;
        pause(Duration::from_secs(2));
        let idle = collector.memory_mib("VmRSS")?;
        let script = self.folder.join("plain/post.lua");
        let load = Wrk { script: &script, connections: 512, seconds: self.options.long }.run(OTLP)?;
        let peak = collector.memory_mib("VmHWM")?;
        let acknowledged = (load.requests - load.refused) * SPANS as u64;
        collector.kill()?;
        // What history had not written is read back; together it is at least what was acknowledged.
        let collector = self.collector_again("")?;
        let stored = self.stored()?;
        collector.stop()?;
        println!(
            "{}",
            json!({"bench": "collector", "row": "overload", "over_idle_mib": rounded(peak - idle), "bar": 300.0, "met": peak - idle <= 300.0 && stored >= acknowledged,
                "idle_mib": rounded(idle), "acknowledged_spans": acknowledged, "stored_spans": stored,
                "lost_spans": acknowledged.saturating_sub(stored), "refused_requests": load.refused, "broken": load.broken,
                "spans_per_second": acknowledged / self.options.long})
        );
        Ok(())
    }

    /// Spans in files after everything in the journal was written.
    fn stored(&self) -> Result<u64> {
        let manifest = self.folder.join("data/manifest.json");
        let (mut last, mut same) = (0, 0);
        // Files are written every ten seconds; nothing new three times over means that there is no more.
        while same < 3 {
            pause(Duration::from_secs(11));
            let text: serde_json::Value = serde_json::from_slice(&fs::read(&manifest)?)?;
            let files = text["files"].as_array().context("the manifest lists no files")?;
            let rows =
                files.iter().filter(|file| file["kind"] == "spans").filter_map(|file| file["rows"].as_u64()).sum();
            same = if rows == last { same + 1 } else { 0 };
            last = rows;
        }
        Ok(last)
    }

    /// 10,000 services with 100,000 edges, all of them seen again and again.
    fn large(&self) -> Result<()> {
        let (folder, mut chance) = (self.folder.join("large"), Chance(11));
        fs::create_dir_all(&folder)?;
        let mesh = large_mesh();
        let requests: Vec<&[Call]> = mesh.chunks(SPANS / 2).collect();
        for (number, calls) in requests.iter().enumerate() {
            fs::write(folder.join(number.to_string()), request(calls, &mut chance))?;
        }
        let path = folder.join("post.lua");
        fs::write(&path, script(&folder, requests.len(), None))?;
        let collector = self.collector("durability: memory\nretention:\n  spans_hours: 0\n")?;
        pause(Duration::from_secs(2));
        let idle = collector.memory_mib("VmRSS")?;
        Wrk { script: &path, connections: 4, seconds: 10 }.run(OTLP)?;
        let mut scraped = exposition()?;
        let before = Ticks::read(&scraped)?;
        // Within the minute that the view covers, so that every edge has traffic in it; scraped as often as a Prometheus usually does.
        let (scrapes, apart) = (self.options.long.min(45) / SCRAPED_EVERY, Duration::from_secs(SCRAPED_EVERY));
        for _ in 0..scrapes.max(1) {
            pause(apart);
            scraped = exposition()?;
        }
        let ticks = Ticks::read(&scraped)?.since(&before);
        let edges = metric(&scraped, "tripline_graph_edges")?;
        let memory = collector.memory_mib("VmRSS")? - idle;
        collector.stop()?;
        ensure!(edges > 0.0 && ticks.all() > 0.0, "no edges, or no ticks");
        let p99 = ticks.quantile(0.99);
        println!(
            "{}",
            json!({"bench": "collector", "row": "large", "edges": edges, "bytes_over_idle_an_edge": (memory * 1_048_576.0 / edges).round(), "tick_p99_ms": rounded(p99), "bar": 60.0, "met": p99 <= 60.0 && edges >= 99_000.0,
                "tick_p50_ms": rounded(ticks.quantile(0.5)), "ticks": ticks.all(), "mib_over_idle": rounded(memory)})
        );
        Ok(())
    }
}

/// Seconds between two scrapes.
const SCRAPED_EVERY: u64 = 15;

/// Everything that the collector counts.
fn exposition() -> Result<String> {
    command::capture(Command::new("curl").args(["-sS", "--noproxy", "*", &format!("http://127.0.0.1:{HTTP}/metrics")]))
}

/// The first sample of a metric.
fn metric(text: &str, name: &str) -> Result<f64> {
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no metric {name}"))?;
    value(line)
}

fn value(line: &str) -> Result<f64> {
    line.rsplit(' ').next().unwrap_or_default().parse().with_context(|| format!("no number: {line}"))
}

/// Ticks of the live graph by their time: upper bounds in milliseconds with how many took at most that long.
struct Ticks(Vec<(f64, f64)>);

impl Ticks {
    fn read(text: &str) -> Result<Self> {
        let buckets = text.lines().filter_map(|line| line.strip_prefix("tripline_collector_tick_seconds_bucket{le=\""));
        let read = |line: &str| {
            let (bound, _) = line.split_once('"').context("a bucket without a bound")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse::<f64>()? * 1e3 };
            Ok((bound, value(line)?))
        };
        buckets.map(read).collect::<Result<_>>().map(Self)
    }

    fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|((bound, now), (_, before))| (*bound, now - before)).collect())
    }

    fn all(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// Within a bucket as if ticks were spread over it evenly, as Prometheus does; above the last bound infinite.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.all();
        let mut below = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= wanted {
                return below.0 + (bound - below.0) * (wanted - below.1) / (count - below.1).max(1.0);
            }
            below = (*bound, *count);
        }
        f64::INFINITY
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
