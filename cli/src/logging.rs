//! Log output: to stderr, as text or JSON lines, filtered by `--log` or `RUST_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::args::{LogArguments, LogFormat};
use crate::style;

/// Starts logging for the whole process; `default` holds when neither flag nor variable says anything.
pub(crate) fn start(arguments: &LogArguments, default: &str) {
    start_with(arguments, default, None::<tracing_subscriber::layer::Identity>);
}

/// The same with another layer that sees all spans and events, whatever the filter says.
pub(crate) fn start_with(
    arguments: &LogArguments,
    default: &str,
    other: Option<impl Layer<Registry> + Send + Sync + 'static>,
) {
    let wanted = arguments.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|error| {
        style::tell(format_args!("{} --log {wanted}: {error}; using {default}", style::yellow("warning:")));
        EnvFilter::new(default)
    });
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match arguments.log_format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(style::colours_on(std::io::stderr().is_terminal())).boxed(),
    };
    // Only a second start in one process (tests) finds a logger there; the first one goes on.
    let _ = tracing_subscriber::registry().with(other).with(lines.with_filter(filter)).try_init();
}
