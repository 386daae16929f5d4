//! A program that runs as long as the test holds it.
//!
//! It leads a process group of its own, and the whole group ends on drop: first asked (SIGTERM), then, after a while,
//! forced. Should the test itself be killed, `setpriv` of util-linux has the kernel end the program. What it wrote is in
//! a file, shown when the test fails.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::NamedTempFile;

use crate::{programs, wait};

/// How long a program may take to end when asked.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// How many of its last lines are shown when the test fails.
const SHOWN_LINES: usize = 60;

/// A program, its children, and what they wrote.
pub struct Running {
    name: String,
    child: Child,
    output: NamedTempFile,
}

impl Running {
    /// Starts `program` with `arguments`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::start_command(&command)
    }

    /// Starts a command, of which the program, the arguments, the environment and the folder are used.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_command(command: &Command) -> Result<Self> {
        let program = command.get_program();
        let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        let output = NamedTempFile::with_prefix("tripline-test-").context("could not create a file for output")?;
        let mut guarded = guarded(command)?;
        let child = guarded
            .stdin(Stdio::null())
            .stdout(output.reopen()?)
            .stderr(output.reopen()?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        Ok(Self { name, child, output })
    }

    /// Its process id, which is also that of its group.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Everything that it and its children have written so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.output.path()).unwrap_or_default()).into_owned()
    }

    /// Sends a signal to the program alone.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        nix::sys::signal::kill(self.pid(), signal).with_context(|| format!("could not signal {}", self.name))
    }

    /// Says that it ended too early, with its last words, or nothing.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&mut self) -> Result<()> {
        let status = self.child.try_wait().with_context(|| format!("could not look at {}", self.name))?;
        ensure!(
            status.is_none(),
            "{} ended ({}):\n{}",
            self.name,
            status.unwrap_or_default(),
            last_lines(&self.output())
        );
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it has not ended after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait::until(&what, limit, async || self.child.try_wait()?.context("it still runs")).await
    }

    /// Waits until a line of its output holds `text`, and returns that line.
    ///
    /// # Errors
    /// When it ends, or `limit` passes, before.
    pub async fn says(&mut self, text: &str, limit: Duration) -> Result<String> {
        let what = format!("{} to say \"{text}\"", self.name);
        wait::until(&what, limit, async || {
            let output = self.output();
            let line = output.lines().find(|line| line.contains(text)).map(str::to_owned);
            line.with_context(|| format!("it said:\n{}", last_lines(&output)))
        })
        .await
    }

    fn end_group(&mut self) {
        // An error means that the group is gone, which is what we want.
        let _ = killpg(self.pid(), Signal::SIGTERM);
        for _ in 0..GRACE.as_millis() / LOOK.as_millis() {
            if !matches!(self.child.try_wait(), Ok(None)) && killpg(self.pid(), None).is_err() {
                return;
            }
            pause();
        }
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    #[expect(clippy::print_stderr, reason = "the runner shows it with the failed test")]
    fn drop(&mut self) {
        self.end_group();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, last_lines(&self.output()));
        }
    }
}

/// The same command under `setpriv`, where there is one: the kernel then ends it with the thread that started it.
fn guarded(command: &Command) -> Result<Command> {
    let mut guarded = match programs::peer("setpriv", "util-linux") {
        Ok(setpriv) => {
            let mut guarded = Command::new(setpriv);
            guarded.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program());
            guarded
        }
        Err(_) => Command::new(command.get_program()),
    };
    guarded.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(name, value),
            None => guarded.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        ensure!(folder.is_dir(), "{} is no folder", folder.display());
        guarded.current_dir(folder);
    }
    Ok(guarded)
}

#[expect(clippy::disallowed_methods, reason = "drop cannot await, and the test has nothing else to do any more")]
fn pause() {
    std::thread::sleep(LOOK);
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Running> {
        Running::start(Path::new("/bin/sh"), ["-c", script])
    }

    #[tokio::test]
    async fn grandchildren_end_with_it_even_when_they_ignore_being_asked() -> Result<()> {
        let mut running = shell("trap '' TERM; (trap '' TERM; sleep 300) & echo child $!; trap - TERM; wait")?;
        let said = running.says("child", Duration::from_secs(5)).await?;
        let grandchild = Pid::from_raw(said.trim_start_matches("child ").parse()?);
        drop(running);
        wait::until("the grandchild to be gone", GRACE, async || {
            let stat = fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
            ensure!(stat.is_empty() || stat.contains(") Z "), "{stat}");
            Ok(())
        })
        .await
    }

    #[tokio::test]
    async fn a_program_that_ended_is_reported_with_its_last_words() -> Result<()> {
        let mut running = shell("echo no port; exit 3")?;
        assert_eq!(running.ended(Duration::from_secs(5)).await?.code(), Some(3));
        let error = running.check().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("no port"), "{error}");
        Ok(())
    }
}
