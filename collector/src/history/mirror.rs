//! Keeps an object store equal to the manifest, and the local disk a bounded cache of it.
//!
//! Files are written to the local disk first, as without a store, and put into the store from there, then the manifest, then files that
//! it no longer names are deleted: at every moment the manifest in the store names only objects that are there. What the
//! collector acknowledged is on its own disk (journal, then files) before it is in the store, so losing that disk loses what was
//! not put yet, some ten seconds while the store answers. While it does not, everything goes on locally and is put later; local copies
//! that are not in the store are never let go for want of room.
//!
//! Deletions that a crash prevents leave objects that no manifest names; they cost room, never an answer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::bucket::{Bucket, BucketError, Known};
use super::file::filter_path;
use super::manifest::{Entry, Manifest};
use super::operations;

/// How often it is tried again, and local copies are counted.
const EVERY: Duration = Duration::from_secs(10);
/// How long the last files may take at the end.
const LAST: Duration = Duration::from_secs(30);

/// An object store that belongs to a data folder.
#[derive(Debug, Clone)]
pub struct Remote {
    pub(super) bucket: Bucket,
    known: Known,
    /// Files that the manifest in the store names.
    stored: BTreeSet<String>,
    cache_bytes: u64,
}

impl Remote {
    /// Finds out what is in the store; a data folder without a manifest takes over the one in the store. Local copies may have
    /// `cache_bytes`.
    ///
    /// # Errors
    /// When the store does not answer, or the folder cannot be written.
    pub async fn open(bucket: Bucket, dir: &Path, cache_bytes: u64) -> Result<Self, BucketError> {
        let found = bucket.restore(dir).await?;
        let (known, files) = found.map_or((None, Vec::new()), |(version, manifest)| (Some(version), manifest.files));
        Ok(Self { bucket, known, stored: files.into_iter().map(|entry| entry.path).collect(), cache_bytes })
    }
}

/// The task that keeps the store equal.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) remote: Remote,
    pub(super) dir: PathBuf,
}

impl Mirror {
    /// Runs until `shutdown`, then puts what is left.
    pub(super) async fn run(mut self, mut manifests: watch::Receiver<Arc<Manifest>>, shutdown: CancellationToken) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                () = shutdown.cancelled() => true,
                _ = tick.tick() => false,
                changed = manifests.changed() => changed.is_err(),
            };
            let manifest = Arc::clone(&manifests.borrow_and_update());
            let pass = timeout(if is_last { LAST } else { Duration::MAX }, self.pass(&manifest)).await;
            match pass {
                Ok(Ok(())) => {}
                Ok(Err(error @ BucketError::Taken { .. })) => {
                    tracing::error!(%error, "history is no longer put into the object store");
                    return;
                }
                Ok(Err(error)) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::warn!(%error, cause, "history was not put into the object store; trying again");
                }
                Err(_) => tracing::warn!("history was not put into the object store in time; the next start does it"),
            }
            if is_last {
                return;
            }
        }
    }

    async fn pass(&mut self, manifest: &Manifest) -> Result<(), BucketError> {
        let mut is_new = self.remote.known.is_none();
        for entry in &manifest.files {
            if self.remote.stored.contains(&entry.path) {
                continue;
            }
            for name in entry.names() {
                self.remote.bucket.put(&self.dir, &name).await?;
            }
            self.remote.stored.insert(entry.path.clone());
            is_new = true;
        }
        let named: BTreeSet<&str> = manifest.files.iter().map(|entry| entry.path.as_str()).collect();
        let gone: Vec<String> =
            self.remote.stored.iter().filter(|path| !named.contains(path.as_str())).cloned().collect();
        if is_new || !gone.is_empty() {
            let bytes = serde_json::to_vec(manifest).unwrap_or_default();
            self.remote.known = self.remote.bucket.put_manifest(bytes, &self.remote.known).await?;
        }
        for path in gone {
            self.remote.bucket.delete(&path).await?;
            self.remote.bucket.delete(&filter_path(&path)).await?;
            self.remote.bucket.delete(&operations::path_of(&path)).await?;
            self.remote.stored.remove(&path);
        }
        self.let_go(manifest);
        Ok(())
    }

    /// Deletes the oldest local copies, by when they were written or fetched, until they fit. What lies beside them stays: it is small.
    fn let_go(&self, manifest: &Manifest) {
        let copy = |entry: &Entry| {
            let path = self.dir.join(&entry.path);
            let there = std::fs::metadata(&path).ok()?;
            Some((there.modified().unwrap_or(SystemTime::UNIX_EPOCH), there.len(), path))
        };
        let mut copies: Vec<_> =
            manifest.files.iter().filter(|entry| self.remote.stored.contains(&entry.path)).filter_map(copy).collect();
        copies.sort_unstable();
        let mut bytes: u64 = copies.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in copies {
            if bytes <= self.remote.cache_bytes {
                break;
            }
            bytes -= length;
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a local copy of a history file was not deleted");
            }
        }
    }
}
