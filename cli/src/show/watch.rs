//! `--watch`: the same question every two seconds, the answer always at the same place of the screen.

use std::io::IsTerminal;
use std::time::Duration;

use super::Shown;
use crate::args::ListArguments;
use crate::client::ClientError;
use crate::exit::Outcome;
use crate::signals::EndSignal;
use crate::style;

/// Time between two questions of `--watch`.
const EVERY: Duration = Duration::from_secs(2);
/// Clears the screen and goes to its upper left corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Asks and writes once, or until Ctrl-C with `--watch`.
pub(super) async fn shown(arguments: &ListArguments, ask: impl AsyncFnMut() -> Shown) -> Outcome {
    if arguments.watch { repeated(EVERY, ask).await } else { once(ask).await }
}

/// Asks and writes once.
pub(super) async fn once(mut ask: impl AsyncFnMut() -> Shown) -> Outcome {
    Ok(style::answer(&ask().await?)?)
}

/// Asks and writes until Ctrl-C. A collector that goes away is waited for; one that was never there ends it.
pub(super) async fn repeated(every: Duration, mut ask: impl AsyncFnMut() -> Shown) -> Outcome {
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    let mut end = EndSignal::listen()?;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut answered = false;
    loop {
        tokio::select! {
            () = end.received() => return Ok(()),
            _ = ticks.tick() => match ask().await {
                Ok(text) => {
                    answered = true;
                    style::answer(&format!("{clear}{text}"))?;
                }
                Err(error @ ClientError::Unreachable { .. }) if answered => {
                    style::tell(format_args!("{} {error}", style::yellow("waiting:")));
                }
                Err(error) => return Err(error.into()),
            },
        }
    }
}
