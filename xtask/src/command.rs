//! Starting other programs, with errors that show the command line one can run oneself.

use std::env;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How many of the last lines of a failed program are shown.
const TAIL_LINES: usize = 15;

/// Runs a program that writes to the terminal itself.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| format!("could not start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a program silently and returns what it wrote to stdout; its last lines are in the error when it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("could not start `{shown}`"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
        bail!("`{shown}` failed ({}):\n{}", output.status, tail(&said));
    }
    Ok(stdout)
}

/// Runs a program silently for at most `limit`, for those that may wait for a network that is not there.
pub(crate) fn capture_within(command: &mut Command, limit: Duration) -> Result<()> {
    let shown = show(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{shown}`"))?;
    let mut stderr = child.stderr.take().context("stderr was not piped")?;
    let (sender, said) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = stderr.read_to_end(&mut text);
        // The receiver is gone after the limit; nobody wants the text then.
        let _ = sender.send(read.map(|_| String::from_utf8_lossy(&text).into_owned()));
    });
    let Ok(said) = said.recv_timeout(limit) else {
        child.kill().with_context(|| format!("could not stop `{shown}`"))?;
        child.wait()?;
        bail!("`{shown}` did not end within {} s", limit.as_secs());
    };
    let status = child.wait()?;
    if !status.success() {
        bail!("`{shown}` failed ({status}):\n{}", tail(&said?));
    }
    Ok(())
}

/// The executable `name` on the search path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    // Debian keeps nginx and other servers where only root's search path looks.
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0))
}

/// The command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or(&program).to_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_is_shown_as_typed_with_its_last_words() {
        let error = capture(Command::new("/bin/sh").args(["-c", "echo sorry >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.starts_with("`sh -c echo sorry") && error.ends_with("sorry"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_at_the_limit() {
        let error = capture_within(Command::new("sleep").arg("600"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }

    #[test]
    fn only_executables_are_found() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-anywhere"), None);
    }

    #[test]
    fn the_tail_keeps_the_last_lines() {
        let text = (0..40).map(|line| format!("{line}\n")).collect::<String>();
        assert_eq!(tail(&text).lines().next(), Some("25"));
        assert_eq!(tail("one"), "one");
    }
}
