//! Reading recorded windows from a file, and saying what was left out of them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Context;
use tripline_topology::recording::{Recording, RecordingLimits};

use crate::style::{tell, yellow};

/// Reads a recording. Rows that cannot be true are left out and counted on stderr.
///
/// # Errors
/// When it cannot be read or holds nothing.
pub(crate) fn read(path: &Path) -> anyhow::Result<Recording> {
    let described = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(described)?;
    let recording =
        tripline_recording::read(BufReader::new(file), RecordingLimits::default()).with_context(described)?;
    for (reason, rejected) in &recording.rejected {
        let (rows, line) = (rejected.rows, rejected.first_line);
        let (warning, file) = (yellow("warning:"), path.display());
        tell(format_args!("{warning} {file}: left out as {reason}: {rows}, first in line {line}"));
    }
    Ok(recording)
}
