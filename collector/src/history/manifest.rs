//! The manifest: which files belong to history and what is in them, so that a query opens only those it needs.
//!
//! A Parquet file counts only once the manifest names it, and the manifest is replaced as a whole: written beside,
//! synced, renamed. After `kill -9` at any moment the old or the new manifest is there, and files that neither names are
//! left-overs whose rows the journal still has. One that cannot be read (a damaged disk) is put aside as
//! `manifest.json.broken` and made again from the files themselves by [`super::rebuild`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tripline_model::Timestamp;

use super::file::filter_path;
use super::kind::Kind;
use super::operations;
use super::positions::Positions;
use super::rollup::Rolled;

/// Name of the manifest in the data folder.
pub(super) const FILE: &str = "manifest.json";
/// 2: columns `time`, `from_state`, `to_state` where 1 had words that SQL reserves. 3: identifiers as bytes where 2 had text, and
/// filters in blocks.
const VERSION: u32 = 3;

/// What history consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) version: u32,
    /// Tells folders that share an object store by mistake apart; 0 where there is none.
    #[serde(default)]
    pub(super) id: u64,
    /// What of the journal is in the files.
    pub(super) positions: Positions,
    /// Up to when windows of edges were added up.
    #[serde(default)]
    pub(super) rolled: Rolled,
    /// Number of the next file.
    pub(super) next_number: u64,
    /// Oldest first.
    pub(super) files: Vec<Entry>,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// What its rows are.
    pub(super) kind: Kind,
    /// Relative to the data folder.
    pub(super) path: String,
    /// When it was written, in nanoseconds; of merged files, the latest.
    pub(super) written_at: u64,
    /// Earliest time a row is about, in nanoseconds.
    pub(super) from: u64,
    /// Latest time a row is about, in nanoseconds.
    pub(super) to: u64,
    /// Rows.
    pub(super) rows: u64,
    /// Bytes on disk, what lies beside it included.
    pub(super) bytes: u64,
    /// 0 as flushed, 1 and 2 merged.
    pub(super) level: u8,
    /// Node ids in it; none when there are too many to list.
    pub(super) services: Option<BTreeSet<String>>,
    /// Whether its spans lie counted by operation beside it.
    #[serde(default)]
    pub(super) has_operations: bool,
}

impl Entry {
    /// Whether a row may be about a time in `[from, to]`.
    pub(super) fn overlaps(&self, from: Timestamp, to: Timestamp) -> bool {
        self.from <= to.as_nanos() && self.to >= from.as_nanos()
    }

    /// Whether a row may be about a service.
    pub(super) fn may_name(&self, service: &str) -> bool {
        self.services.as_ref().is_none_or(|services| services.contains(service))
    }

    /// The files of it: itself, and what lies beside it.
    pub(super) fn names(&self) -> Vec<String> {
        let filter = self.kind.has_traces().then(|| filter_path(&self.path));
        let counts = self.has_operations.then(|| operations::path_of(&self.path));
        [Some(self.path.clone()), filter, counts].into_iter().flatten().collect()
    }

    /// Its partition: the folder it lies in.
    pub(super) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            version: VERSION,
            id: 0,
            positions: Positions::default(),
            rolled: Rolled::default(),
            next_number: 1,
            files: Vec::new(),
        }
    }
}

/// What was found in a data folder.
#[derive(Debug)]
pub(super) enum Found {
    /// A manifest.
    Whole(Manifest),
    /// None: a new folder.
    Nothing,
    /// One that cannot be read.
    Broken(String),
}

/// Reads the manifest of a data folder.
pub(super) fn load(dir: &Path) -> io::Result<Found> {
    let text = match fs::read(dir.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    Ok(match serde_json::from_slice::<Manifest>(&text) {
        Ok(manifest) if manifest.version == VERSION => Found::Whole(manifest),
        Ok(manifest) => Found::Broken(format!("version {} is not {VERSION}", manifest.version)),
        Err(error) => Found::Broken(error.to_string()),
    })
}

/// Replaces the manifest of a data folder; afterwards the new one survives a power failure.
pub(super) fn store(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let text = serde_json::to_vec(manifest)?;
    write_durably(&dir.join(FILE), |file| file.write_all(&text))
}

/// Writes a file so that it is there whole or not at all: beside, synced, renamed, its folder synced.
pub(crate) fn write_durably<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let beside = PathBuf::from(format!("{}.tmp", path.display()));
    let mut file = File::create(&beside)?;
    write(&mut file)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let entry = Entry {
            kind: Kind::Spans,
            path: "spans/dt=2026-11-21/hr=09/a.parquet".into(),
            written_at: 5,
            from: 100,
            to: 200,
            rows: 3,
            bytes: 4,
            level: 0,
            services: Some(["shop/web".to_owned()].into()),
            has_operations: false,
        };
        Manifest { positions: Positions::up_to(7), files: vec![entry], ..Manifest::default() }
    }

    #[test]
    fn reads_back_what_was_stored_and_knows_a_new_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path()).unwrap(), Found::Nothing));
        store(dir.path(), &manifest()).unwrap();
        store(dir.path(), &manifest()).unwrap();
        assert!(matches!(load(dir.path()).unwrap(), Found::Whole(read) if read == manifest()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn every_torn_manifest_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let whole = serde_json::to_vec(&manifest()).unwrap();
        for length in 0..whole.len() {
            fs::write(dir.path().join(FILE), &whole[..length]).unwrap();
            assert!(matches!(load(dir.path()).unwrap(), Found::Broken(_)), "{length} bytes");
        }
    }

    #[test]
    fn files_are_chosen_by_time_and_service() {
        let entry = manifest().files.remove(0);
        let at = Timestamp::from_nanos;
        assert!(entry.overlaps(at(200), at(300)) && entry.overlaps(at(0), at(100)));
        assert!(!entry.overlaps(at(201), at(300)) && !entry.overlaps(at(0), at(99)));
        assert!(entry.may_name("shop/web") && !entry.may_name("shop/cart"));
        assert!(Entry { services: None, ..entry.clone() }.may_name("shop/cart"));
        assert_eq!(entry.folder(), "spans/dt=2026-11-21/hr=09");
    }
}
