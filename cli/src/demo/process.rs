//! One child process of the demo: started with its output in a file and a pipe to its standard input.
//!
//! No child outlives the demo, however that ends: each has the demo's pipe as standard input and ends when the pipe
//! does, which the kernel sees to even after `kill -9`. Each is in a process group of its own, so that Ctrl-C reaches the
//! demo alone and the children end in order.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

/// Of a child's log, so much is shown when it ends unexpectedly.
const TAIL_BYTES: u64 = 2000;
/// A child that does not take a line of its input within this time is stuck.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

/// How to start a process.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// What people call it: `payments-db`, `sidecar of payments-db`.
    pub(super) label: String,
    /// The binary.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<OsString>,
    /// Variables added to the demo's own.
    pub(super) environment: Vec<(&'static str, String)>,
    /// Where its output goes, appended.
    pub(super) log: PathBuf,
}

/// A process that was started.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
}

impl Recipe {
    /// Starts the process.
    pub(super) fn start(&self) -> io::Result<Process> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().ok_or_else(|| io::Error::other("the process has no standard input"))?;
        Ok(Process { child, input })
    }

    /// The end of what the process wrote, for people who have to find out why it ended.
    pub(super) fn tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("cannot read {}: {error}", self.log.display()))
    }
}

impl Process {
    /// Its process id; none when it has ended and that was seen.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Writes a line to its standard input.
    pub(super) async fn tell(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        let written = tokio::time::timeout(TELL_TIMEOUT, self.input.write_all(line.as_bytes())).await;
        written.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read its input")))
    }

    /// Ends it like a crash would, and waits for that.
    pub(super) async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Asks it to end, waits, and ends it by force when it takes longer than `patience`. True when it came to that.
    pub(super) async fn end(mut self, patience: Duration) -> io::Result<bool> {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // It may have ended in this moment, which is what is asked for.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if let Ok(ended) = tokio::time::timeout(patience, self.child.wait()).await {
            return ended.map(|_| false);
        }
        self.child.kill().await.map(|()| true)
    }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().map(|line| format!("  | {}\n", crate::style::printable(line))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Recipe, PathBuf) {
        let log = std::env::temp_dir().join(format!("tripline-process-{}-{}", std::process::id(), script.len()));
        let recipe = Recipe {
            label: "shell".to_owned(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("GREETING", "hello".to_owned())],
            log: log.clone(),
        };
        (recipe, log)
    }

    #[tokio::test]
    async fn a_process_obeys_its_input_and_ends_with_it() {
        let (recipe, log) = shell("while read line; do echo $GREETING $line; done; echo end");
        let mut process = recipe.start().expect("a shell");
        assert!(process.id().is_some());
        process.tell("there").await.expect("written");
        let Process { mut child, input } = process;
        drop(input);
        child.wait().await.expect("it ends");
        assert_eq!(recipe.tail(), "  | hello there\n  | end\n");
        std::fs::remove_file(log).expect("a log");
    }

    #[tokio::test]
    async fn one_that_ignores_the_signal_is_ended_by_force() {
        let (recipe, log) = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
        let process = recipe.start().expect("a shell");
        while !recipe.tail().contains("ready") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(process.end(Duration::from_millis(100)).await.expect("it ends"));
        std::fs::remove_file(log).expect("a log");
    }
}
