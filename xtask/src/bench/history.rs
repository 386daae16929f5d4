//! History: bytes on disk, look-ups of traces, operations of a service, graphs of the past.

use anyhow::Result;

use crate::command;
use crate::places::Places;
use crate::selection::MAIN;

/// Runs the collector's own benchmark, compiled with optimisation, and with what the binaries are compiled with: polars is not built
/// once more for it.
pub(crate) fn history(places: &Places, arguments: &[String]) -> Result<()> {
    let cargo = ["bench", "--locked", "--bench", "history"];
    command::run(places.cargo().args(cargo).args(MAIN.arguments).arg("--").args(arguments))
}
