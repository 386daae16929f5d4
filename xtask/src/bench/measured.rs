//! Programs under a benchmark: started, waited for, looked at, ended; and the load on them.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;

/// How often is looked whether a program listens.
const LOOK: Duration = Duration::from_millis(50);
/// Looks before it counts as one that never will: half a minute.
const LOOKS: usize = 600;
/// Ticks of a second of processor time, as every Linux has them.
const TICKS: f64 = 100.0;

/// A program that ends with this value.
pub(super) struct Program {
    child: Child,
    name: String,
}

impl Program {
    /// Starts a program and waits until it listens; what it says goes to `log`.
    pub(super) fn start(command: &mut Command, port: u16, log: &Path) -> Result<Self> {
        let name = command::show(command);
        let log_file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file);
        let mut program = Self { child: command.spawn().with_context(|| format!("cannot start `{name}`"))?, name };
        for _ in 0..LOOKS {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(program);
            }
            if let Some(status) = program.child.try_wait()? {
                bail!("`{}` ended ({status}); its last words: {}", program.name, fs::read_to_string(log)?);
            }
            pause(LOOK);
        }
        bail!("`{}` does not listen on port {port}", program.name)
    }

    /// Seconds of processor time so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        Ok((ticks(11) + ticks(12)) / TICKS)
    }

    /// Resident memory in MiB: now (`VmRSS`), or the most there was (`VmHWM`).
    pub(super) fn memory_mib(&self, which: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(which)).context("no such line")?;
        let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }

    /// Asks it to end and waits for that.
    pub(super) fn stop(mut self) -> Result<()> {
        command::run(Command::new("kill").arg(self.child.id().to_string()))?;
        self.child.wait()?;
        Ok(())
    }

    /// Kills it without warning.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

pub(super) fn pause(time: Duration) {
    thread::park_timeout(time);
}

/// What one run of wrk did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) requests: u64,
    /// Answers other than 2xx and 3xx.
    pub(super) refused: u64,
    /// Connections that broke, and answers that did not come.
    pub(super) broken: u64,
}

/// How wrk loads.
#[derive(Clone, Copy)]
pub(super) struct Wrk<'a> {
    pub(super) script: &'a Path,
    pub(super) connections: usize,
    pub(super) seconds: u64,
}

impl Wrk<'_> {
    pub(super) fn run(self, port: u16) -> Result<Load> {
        let wrk = command::find("wrk").context("wrk is needed: run `sudo apt-get install wrk`")?;
        let mut wrk = Command::new(wrk);
        wrk.args([
            "-t1",
            "--timeout",
            "30s",
            "-c",
            &self.connections.to_string(),
            "-d",
            &format!("{}s", self.seconds),
            "-s",
        ]);
        let said = command::capture(wrk.arg(self.script).arg(format!("http://127.0.0.1:{port}/")))?;
        let after = |mark: &str| -> u64 {
            let line = said.lines().find(|line| line.contains(mark)).unwrap_or_default();
            let rest = line.rsplit(mark).next().unwrap_or_default();
            rest.trim().parse().unwrap_or(0)
        };
        let requests = said.lines().find(|line| line.contains("requests in")).context("wrk counted no requests")?;
        let requests = requests.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let errors = said.lines().find(|line| line.contains("Socket errors")).unwrap_or_default();
        let broken = errors.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum();
        Ok(Load { requests, refused: after("Non-2xx or 3xx responses:"), broken })
    }
}

/// A script for wrk that posts the files `0` to `count - 1` of `folder` in turn.
pub(super) fn script(folder: &Path, count: usize, encoding: Option<&str>) -> String {
    let encoding = encoding.map(|name| format!(", [\"Content-Encoding\"] = \"{name}\"")).unwrap_or_default();
    format!(
        "local bodies = {{}}\n\
         for i = 0, {last} do local f = io.open(\"{folder}/\" .. i, \"rb\"); bodies[#bodies + 1] = f:read(\"*a\"); f:close() end\n\
         local k = 0\n\
         request = function() k = k % #bodies + 1; return wrk.format(\"POST\", \"/v1/traces\", \
         {{[\"Content-Type\"] = \"application/x-protobuf\"{encoding}}}, bodies[k]) end\n",
        last = count - 1,
        folder = folder.display(),
    )
}
