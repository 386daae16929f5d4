//! Recorded windows as JSON lines: reading and writing what [`tripline_topology::recording`] means.
//!
//! One line is one row: `{"graph":[[client,server],...]}`, a service's window, an edge's window, or `{"at","breaker":{...}}`.
//! Times are Unix seconds, whole or with a fraction; durations are milliseconds; what is unknown is left out. Fields that are
//! not known here are ignored, so that others can add theirs. A line that is no row, or one that cannot be true,
//! is counted by reason and skipped; only a file that cannot be read, or that holds nothing at all, is an error.

mod line;

use std::io::{self, BufRead, Read, Write};

use tripline_topology::recording::{Recording, RecordingBuilder, RecordingLimits, Rejection, Row};

/// Longest line read, in bytes: a graph of 200,000 edges fits.
pub const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;

/// Most lines read of one file.
pub const MAX_LINES: u64 = 20_000_000;

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file itself.
    #[error("cannot read line {line}")]
    Io {
        /// Which line, from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A line that does not end.
    #[error("line {line} is longer than {} MiB; write one window a line", MAX_LINE_BYTES / 1024 / 1024)]
    LineTooLong {
        /// Which line, from 1.
        line: u64,
    },
    /// A file that does not end.
    #[error("more than {MAX_LINES} lines; split the recording")]
    TooManyLines,
    /// Not one row in it.
    #[error(
        "no window in it{}; expected JSON lines such as {{\"at\":1700000000,\"seconds\":5,\"service\":\"web\",\"requests\":10}}",
        first.as_ref().map(|first| format!(" (line {}: {})", first.0, first.1)).unwrap_or_default()
    )]
    Empty {
        /// Line and words of the first complaint.
        first: Option<(u64, String)>,
    },
}

/// Reads a recording. Rows that cannot be true are counted in it and left out.
///
/// # Errors
/// When it cannot be read, is too large, or has no row at all.
pub fn read(mut from: impl BufRead, limits: RecordingLimits) -> Result<Recording, ReadError> {
    let mut builder = RecordingBuilder::new(limits);
    let mut first_complaint = None;
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        line += 1;
        if line > MAX_LINES {
            return Err(ReadError::TooManyLines);
        }
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = from.by_ref().take(limit).read_until(b'\n', &mut bytes);
        match read {
            Ok(0) => break,
            Ok(_) if bytes.len() > MAX_LINE_BYTES => return Err(ReadError::LineTooLong { line }),
            Ok(_) => {}
            Err(source) => return Err(ReadError::Io { line, source }),
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let complaint = match line::decode(&bytes) {
            Ok(row) => builder.push(line, row).err().map(|rejection| rejection.to_string()),
            Err(error) => {
                builder.reject(line, Rejection::Malformed);
                Some(error.to_string())
            }
        };
        if first_complaint.is_none() {
            first_complaint = complaint.map(|complaint| (line, complaint));
        }
    }
    let recording = builder.finish();
    if recording.services.is_empty() && recording.calls.is_empty() && recording.breakers.is_empty() {
        return Err(ReadError::Empty { first: first_complaint });
    }
    Ok(recording)
}

/// Writes one row as one line.
///
/// # Errors
/// When it cannot be written.
pub fn write(row: &Row, to: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *to, &line::encode(row))?;
    to.write_all(b"\n")
}

#[cfg(test)]
mod tests;
