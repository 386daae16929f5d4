//! One collector to a data folder: two would write over each other's journal.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The hold on a data folder; the system lets go of it when the process ends, however that happens.
#[derive(Debug)]
pub(super) struct Hold {
    _file: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another process has it.
    #[error("data folder {} is in use by another collector; stop it, or set `data_dir` to another folder", .0.display())]
    Taken(PathBuf),
    /// Anything else.
    #[error("cannot use data folder {}; check that it may be written, or set `data_dir`", .folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Takes hold of `folder`, which is made when it is not there.
pub(super) fn take(folder: &Path) -> Result<Hold, HoldError> {
    let unusable = |source| HoldError::Unusable { folder: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let file = File::create(folder.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Hold { _file: file }),
        Err(TryLockError::WouldBlock) => Err(HoldError::Taken(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("new");
        let held = take(&path).expect("free");
        assert!(matches!(take(&path), Err(HoldError::Taken(_))));
        drop(held);
        take(&path).expect("free again");
        std::fs::write(folder.path().join("file"), "").expect("written");
        assert!(matches!(take(&folder.path().join("file")), Err(HoldError::Unusable { .. })));
    }
}
