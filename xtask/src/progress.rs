//! What a person sees while they wait: each step with its name and how long it took.
//!
//! On a terminal a silent step turns a spinner with the elapsed time; a step whose program reports its own progress
//! (cargo, the test runner) has the terminal to itself. Without a terminal both are plain lines.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// Runs `work`, which writes nothing itself.
pub(crate) fn quiet<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if !std::io::stderr().is_terminal() {
        return loud(what, work);
    }
    let started = now();
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?;
    let spinner = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
    spinner.enable_steady_tick(TICK);
    let done = work();
    spinner.finish_and_clear();
    let mark = if done.is_ok() { "ok" } else { "failed" };
    eprintln!("==> {what}: {mark} ({:.1} s)", started.elapsed().as_secs_f64());
    done
}

/// Runs `work`, which shows its own progress.
pub(crate) fn loud<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = now();
    eprintln!("==> {what}");
    let done = work()?;
    eprintln!("    done in {:.1} s", started.elapsed().as_secs_f64());
    Ok(done)
}

/// Says something that is not an error and must not be overlooked.
pub(crate) fn warn(what: &str) {
    eprintln!("warning: {what}");
}

#[expect(clippy::disallowed_methods, reason = "xtask times its own steps; nothing in it runs in a paused clock")]
fn now() -> Instant {
    Instant::now()
}
