//! Log output: to stderr, as text or JSON lines, filtered by `--log` or `RUST_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::args::{LogArguments, LogFormat};
use crate::style;

/// Starts logging for the whole process; `default` holds when neither flag nor variable says anything.
pub(crate) fn start(arguments: &LogArguments, default: &str) {
    let wanted = arguments.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|error| {
        style::tell(format_args!("{} --log {wanted}: {error}; using {default}", style::yellow("warning:")));
        EnvFilter::new(default)
    });
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Only a second start in one process (tests) finds a logger there; the first one goes on.
    let _ = match arguments.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(style::colours_on(std::io::stderr().is_terminal())).try_init(),
    };
}
