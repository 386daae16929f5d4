//! The blocking work on files: a flush, a merge, adding windows up. Each begins with a manifest and ends with the next one stored.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tripline_model::{EdgeWindow, Timestamp};

use super::file::{self, Place, WriteError, filter_path};
use super::kind::Kind;
use super::manifest::{self, Manifest};
use super::parquet::Workshop;
use super::rollup::{self, Due, Sums};
use super::rows::Rows;
use super::upkeep::{self, Merge};
use super::{edges, operations, query, scan};
use crate::config::Retention;

/// What a job changed.
#[derive(Debug)]
pub(super) struct Done {
    /// The manifest that is stored now.
    pub(super) manifest: Manifest,
    /// Files that it no longer names; they may be deleted once no query reads them.
    pub(super) retired: BTreeSet<String>,
    /// Rows written.
    pub(super) rows: u64,
    /// Files among `retired` that retention let go.
    pub(super) expired: u64,
    /// Journal positions that were given up.
    pub(super) skipped: u64,
    /// Whether it merged files.
    pub(super) has_merged: bool,
}

impl Done {
    /// A manifest that names no new rows.
    const fn without_rows(manifest: Manifest) -> Self {
        Self { manifest, retired: BTreeSet::new(), rows: 0, expired: 0, skipped: 0, has_merged: false }
    }
}

/// Writes `rows` and lets expired files go.
pub(super) fn flush(
    dir: &Path,
    before: &Manifest,
    rows: &Rows,
    (retention, now): (&Retention, Timestamp),
    workshop: &mut Workshop,
) -> Result<Done, WriteError> {
    let mut manifest = before.clone();
    let skipped = manifest.positions.flushed(rows.positions());
    let position = manifest.positions.highest();
    let mut written = 0;
    for kind in Kind::ALL {
        let place = Place { dir, kind, written_at: now, number: manifest.next_number, position, level: 0 };
        let entry = if kind == Kind::Spans {
            let is_empty = rows.spans().next().is_none();
            (!is_empty).then(|| file::write_spans(place, rows.spans(), workshop)).transpose()?
        } else {
            let frame = rows.frame(kind)?;
            (frame.height() > 0).then(|| file::write(place, &frame)).transpose()?
        };
        let Some(entry) = entry else { continue };
        written += entry.rows;
        manifest.files.push(entry);
        manifest.next_number += 1;
    }
    let retired = upkeep::expired(&manifest.files, manifest.rolled, retention, now);
    manifest.files.retain(|entry| !retired.contains(&entry.path));
    if manifest != *before {
        manifest::store(dir, &manifest)?;
    }
    Ok(Done { manifest, expired: retired.len() as u64, retired, rows: written, skipped, has_merged: false })
}

/// Makes one file of several.
pub(super) fn merge(dir: &Path, before: &Manifest, merge: &Merge) -> Result<Done, WriteError> {
    let mut manifest = before.clone();
    let inputs: Vec<_> = manifest.files.extract_if(.., |entry| merge.paths.contains(&entry.path)).collect();
    let (Some(first), Some(latest)) = (inputs.first(), inputs.iter().map(|e| e.written_at).max()) else {
        return Ok(Done::without_rows(manifest));
    };
    let kind = first.kind;
    let mut frames = inputs.iter().map(|entry| file::read(&dir.join(&entry.path)));
    let mut whole = frames.next().transpose()?.unwrap_or_default();
    for frame in frames {
        whole.vstack_mut(&frame?)?;
    }
    let place = Place {
        dir,
        kind,
        written_at: Timestamp::from_nanos(latest),
        number: manifest.next_number,
        position: manifest.positions.highest(),
        level: merge.level,
    };
    manifest.files.push(file::write(place, &whole)?);
    manifest.next_number += 1;
    manifest::store(dir, &manifest)?;
    Ok(Done { retired: merge.paths.clone(), has_merged: true, ..Done::without_rows(manifest) })
}

/// Adds windows up and writes the sums; files that cannot be read (`bad`) are left out.
pub(super) fn roll_up(dir: &Path, before: &Manifest, due: &Due, bad: &BTreeSet<String>) -> Result<Done, WriteError> {
    let mut manifest = before.clone();
    let mut sums = Sums::over(due.into.pane().unwrap_or_default());
    let range = (due.from, due.to);
    for entry in rollup::sources(before, due.of, range).filter(|entry| !bad.contains(&entry.path)) {
        let rows = scan::scan(dir, &[&entry.path])?.filter(query::starts_in(range)).collect()?;
        edges::decode(&rows)?.into_iter().for_each(|window| sums.add(window));
    }
    let windows: Vec<&EdgeWindow> = sums.windows().collect();
    let mut done = 0;
    if let Some(last) = windows.last() {
        let frame = edges::encode(&windows)?;
        // Chosen by the time it is about: sums of a backlog should not all fall due on one day.
        let (written_at, position) = (last.start, manifest.positions.highest());
        let place = Place { dir, kind: due.into, written_at, number: manifest.next_number, position, level: 0 };
        manifest.files.push(file::write(place, &frame)?);
        manifest.next_number += 1;
        done = frame.height() as u64;
    }
    manifest.rolled.note(due);
    manifest::store(dir, &manifest)?;
    Ok(Done { rows: done, ..Done::without_rows(manifest) })
}

/// Deletes files that no manifest names any more, and folders that are empty then. What cannot be deleted stays until
/// the next start.
pub(super) fn delete(dir: &Path, paths: &BTreeSet<String>) {
    for path in paths {
        for path in [dir.join(path), dir.join(filter_path(path)), dir.join(operations::path_of(path))] {
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "a retired history file was not deleted");
            }
        }
        let hour = dir.join(path).parent().map(Path::to_path_buf);
        let day = hour.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        for folder in [hour, day].into_iter().flatten() {
            // Fails while something is in it, which is what we want.
            let _still_in_use = fs::remove_dir(folder);
        }
    }
}

/// What a job needs to run on another thread.
#[derive(Clone)]
pub(super) struct Ground {
    /// The data folder.
    pub(super) dir: PathBuf,
    /// The manifest as it is.
    pub(super) manifest: Arc<Manifest>,
    /// What one flush leaves to the next. There is one job at a time, so nobody ever waits for it.
    pub(super) workshop: Arc<Mutex<Workshop>>,
}
