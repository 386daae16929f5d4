//! A past range of our own history as a recording: JSON lines that `tripline localise`, `tripline detect` and other tools read.
//!
//! A recording knows less than history: means and three quantiles instead of histograms, services without the kind they are of.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use tripline_simulate::mesh::Reported;
use tripline_simulate::record;

use crate::past::Past;

/// Writes `past` to a new file and answers how many rows it has.
///
/// # Errors
/// When the file exists or cannot be written.
pub(super) fn write(past: &Past, path: &Path) -> anyhow::Result<usize> {
    let edges: BTreeSet<_> = past.windows.iter().map(|window| window.key.clone()).collect();
    let reported = Reported {
        edges: edges.into_iter().collect(),
        windows: past.windows.clone(),
        transitions: past.transitions.clone(),
        events: 0,
    };
    let rows = record::rows(&reported);
    let described = || format!("cannot write {}", path.display());
    let mut to = BufWriter::new(File::create_new(path).with_context(described)?);
    for row in &rows {
        tripline_recording::write(row, &mut to).with_context(described)?;
    }
    to.flush().with_context(described)?;
    Ok(rows.len())
}
