//! Opening a data folder: the manifest when it is whole, otherwise a new one made from the files.
//!
//! A rebuilt manifest names every readable Parquet file. The journal position is read from the file names, which carry
//! it. If the manifest broke within the half minute in which merged files wait to be deleted, the rows of those files
//! appear twice; losing rows would be worse.
//!
//! A manifest of version 2 is of no use either: its spans and logs have identifiers as text. Their files are written anew, once, some
//! seconds for each million rows.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use polars::prelude::*;
use tripline_model::Timestamp;

use super::file::{self, filter_path};
use super::kind::Kind;
use super::manifest::{self, Entry, Found, Manifest};
use super::operations;
use super::positions::Positions;
use super::rollup::Rolled;

/// The manifest of `dir`, which is made when it is not there; left-overs of a crash are deleted.
pub(super) fn open(dir: &Path) -> io::Result<Manifest> {
    fs::create_dir_all(dir)?;
    let manifest = match manifest::load(dir)? {
        Found::Whole(manifest) => manifest,
        Found::Nothing => rebuild(dir)?,
        Found::Broken(why) => {
            tracing::error!(dir = %dir.display(), why, "the history manifest is damaged; making a new one from the files");
            fs::rename(dir.join(manifest::FILE), dir.join(format!("{}.broken", manifest::FILE)))?;
            rebuild(dir)?
        }
    };
    delete_left_overs(dir, &manifest)?;
    Ok(manifest)
}

fn rebuild(dir: &Path) -> io::Result<Manifest> {
    let mut manifest = Manifest::default();
    let mut position = 0;
    for kind in Kind::ALL {
        for path in files_of(dir, kind)?.into_iter().filter(|path| path.ends_with(".parquet")) {
            match entry_of(dir, kind, &path) {
                Ok(entry) => manifest.files.push(entry),
                Err(error) => {
                    tracing::error!(path, %error, "a history file cannot be read and is left out");
                    fs::rename(dir.join(&path), dir.join(format!("{path}.broken")))?;
                }
            }
            let [_, number, at] = name_of(&path);
            manifest.next_number = manifest.next_number.max(number + 1);
            position = position.max(at);
        }
    }
    manifest.positions = Positions::up_to(position);
    manifest.rolled = Rolled::of_files(&manifest.files);
    manifest.files.sort_by_key(|entry| entry.written_at);
    if !manifest.files.is_empty() {
        manifest::store(dir, &manifest)?;
    }
    Ok(manifest)
}

fn entry_of(dir: &Path, kind: Kind, path: &str) -> Result<Entry, file::WriteError> {
    let on_disk = fs::metadata(dir.join(path))?;
    let length_of = |path: String| fs::metadata(dir.join(path)).map_or(0, |found| found.len());
    let (filter, counts) = (length_of(filter_path(path)), length_of(operations::path_of(path)));
    let age = on_disk.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let [level, ..] = name_of(path);
    let level = u8::try_from(level).unwrap_or(u8::MAX);
    let frame = file::read(&dir.join(path))?;
    let renewed = text_ids_as_bytes(kind, &frame)?;
    let put = match &renewed {
        None => file::Put { bytes: on_disk.len() + filter + counts, has_operations: counts > 0 },
        Some(renewed) => file::put(dir, path, (kind, level), renewed)?,
    };
    let mut entry = file::describe(kind, renewed.as_ref().unwrap_or(&frame))?;
    entry.path = path.to_owned();
    (entry.bytes, entry.has_operations) = (put.bytes, put.has_operations);
    entry.written_at = (Timestamp::default() + age).as_nanos();
    entry.level = level;
    Ok(entry)
}

/// Rows of version 2, which had identifiers as text, with identifiers as bytes; none when they are so already.
fn text_ids_as_bytes(kind: Kind, frame: &DataFrame) -> PolarsResult<Option<DataFrame>> {
    if !kind.has_traces() || frame.column("trace_id")?.dtype() != &DataType::String {
        return Ok(None);
    }
    let mut renewed = frame.clone();
    for name in ["trace_id", "span_id", "parent_span_id"] {
        let Ok(column) = frame.column(name) else { continue };
        let bytes: BinaryChunked = column.str()?.iter().map(|text| text.and_then(unhex)).collect();
        renewed.with_column(bytes.with_name(name.into()).into_column())?;
    }
    Ok(Some(renewed))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Level, number and journal position in a name like `L0-0000000012-345.parquet`; 0 for what is not there.
fn name_of(path: &str) -> [u64; 3] {
    let name = path.rsplit('/').next().unwrap_or_default().trim_start_matches('L');
    let mut numbers = name.trim_end_matches(".parquet").split('-').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

fn delete_left_overs(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let named: BTreeSet<&str> = manifest.files.iter().map(|entry| entry.path.as_str()).collect();
    for kind in Kind::ALL {
        for path in files_of(dir, kind)? {
            let owner = path.trim_end_matches(".tmp").trim_end_matches(".bloom").trim_end_matches(".operations");
            if path.ends_with(".tmp") || !(path.ends_with(".broken") || named.contains(owner)) {
                tracing::info!(path, "deleting what a crash left over");
                fs::remove_file(dir.join(&path))?;
            }
        }
    }
    Ok(())
}

/// Every file in the partitions of a kind, relative to the data folder, in order.
fn files_of(dir: &Path, kind: Kind) -> io::Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![kind.folder().to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(dir.join(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                files.insert(path);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_level_number_and_position() {
        assert_eq!(name_of("spans/dt=x/hr=00/L2-0000000012-345.parquet"), [2, 12, 345]);
        assert_eq!(name_of("nonsense"), [0, 0, 0]);
    }
}
