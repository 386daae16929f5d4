//! An object store that speaks S3: where history lies when the local disk is only a cache of it.
//!
//! Objects have the names of the files below the data folder, behind a prefix: any tool reads them as it reads the folder. The
//! manifest is put with a condition, that the one in the store is the one this collector knows: of two collectors that were given
//! one prefix, the one that notices stops writing there. Address and region come from the configuration, credentials from the
//! environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and whatever else the `object_store` crate reads there).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use tokio::runtime::Handle;

use super::manifest::{self, Found, Manifest, write_durably};
use crate::config::HistoryStore;

/// Why the object store did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// It cannot be spoken to at all.
    #[error("cannot use the object store {url}; check `history.store`, `history.endpoint` and the AWS_ variables")]
    Settings {
        /// As configured.
        url: String,
        /// Why.
        #[source]
        source: Error,
    },
    /// An object was not read, written or deleted.
    #[error("the object store did not {verb} {name}")]
    Object {
        /// What was asked.
        verb: &'static str,
        /// Of which object.
        name: String,
        /// Why not.
        #[source]
        source: Error,
    },
    /// Somebody else wrote the manifest.
    #[error("{url} belongs to another collector; give each a prefix of its own")]
    Taken {
        /// As configured.
        url: String,
    },
    /// The local copy was not read or written.
    #[error("cannot read or write {path}; check the disk of the data folder", path = path.display())]
    Local {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A prefix in a bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    url: String,
    runtime: Handle,
}

/// The version of the manifest in the store, as far as it is known.
pub(super) type Known = Option<UpdateVersion>;

impl Bucket {
    /// A hold on the bucket; nothing is asked of it yet.
    ///
    /// # Errors
    /// When the settings or the environment hold nonsense.
    pub fn connect(settings: &HistoryStore) -> Result<Self, BucketError> {
        let url = format!("s3://{}/{}", settings.bucket, settings.prefix);
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(&settings.bucket);
        if let Some(endpoint) = &settings.endpoint {
            let is_plain = endpoint.as_str().starts_with("http://");
            builder = builder.with_endpoint(endpoint.as_str()).with_allow_http(is_plain);
        }
        let store = builder.build().map_err(|source| BucketError::Settings { url: url.clone(), source })?;
        let prefix = Key::from(settings.prefix.as_str());
        Ok(Self { store: Arc::new(store), prefix, url, runtime: Handle::current() })
    }

    /// One in memory, for tests.
    #[cfg(test)]
    pub(super) fn in_memory() -> Self {
        let (store, url) = (Arc::new(object_store::memory::InMemory::new()), "memory".to_owned());
        Self { store, prefix: Key::from("tripline"), url, runtime: Handle::current() }
    }

    /// The stored manifest and its version, if there is one. A data folder without a readable manifest takes it over; one whose
    /// manifest belongs to another collector is refused.
    pub(super) async fn restore(&self, dir: &Path) -> Result<Option<(UpdateVersion, Manifest)>, BucketError> {
        let failed = |source| Self::failed("read", manifest::FILE, source);
        let found = match self.store.get(&self.key(manifest::FILE)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(failed)?;
        let stored: Manifest =
            serde_json::from_slice(&bytes).map_err(|_| BucketError::Taken { url: self.url.clone() })?;
        let local = manifest::load(dir);
        match local.map_err(|source| BucketError::Local { path: dir.join(manifest::FILE), source })? {
            Found::Whole(local) if local.id != stored.id => Err(BucketError::Taken { url: self.url.clone() }),
            Found::Whole(_) => Ok(Some((version, stored))),
            Found::Nothing | Found::Broken(_) => {
                keep(&dir.join(manifest::FILE), &bytes)?;
                Ok(Some((version, stored)))
            }
        }
    }

    /// Puts a file of the data folder.
    pub(super) async fn put(&self, dir: &Path, name: &str) -> Result<(), BucketError> {
        let path = dir.join(name);
        let bytes = tokio::fs::read(&path).await.map_err(|source| BucketError::Local { path, source })?;
        let put = self.store.put(&self.key(name), PutPayload::from(bytes)).await;
        put.map(drop).map_err(|source| Self::failed("write", name, source))
    }

    /// Puts the manifest in place of the one that is `known`.
    pub(super) async fn put_manifest(&self, bytes: Vec<u8>, known: &Known) -> Result<Known, BucketError> {
        let mode = known.clone().map_or(PutMode::Create, PutMode::Update);
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.store.put_opts(&self.key(manifest::FILE), PutPayload::from(bytes), options).await;
        match put {
            Ok(put) => Ok(Some(UpdateVersion { e_tag: put.e_tag, version: put.version })),
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => {
                Err(BucketError::Taken { url: self.url.clone() })
            }
            Err(source) => Err(Self::failed("write", manifest::FILE, source)),
        }
    }

    /// Deletes an object; one that is not there counts as deleted.
    pub(super) async fn delete(&self, name: &str) -> Result<(), BucketError> {
        match self.store.delete(&self.key(name)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Self::failed("delete", name, source)),
        }
    }

    /// Brings an object into the data folder. Blocks: for threads that may.
    pub(super) fn fetch(&self, dir: &Path, name: &str) -> Result<(), BucketError> {
        let failed = |source| Self::failed("read", name, source);
        let bytes = self.runtime.block_on(async { self.store.get(&self.key(name)).await?.bytes().await });
        keep(&dir.join(name), &bytes.map_err(failed)?)
    }

    fn key(&self, name: &str) -> Key {
        name.split('/').fold(self.prefix.clone(), |key, part| key.join(part))
    }

    fn failed(verb: &'static str, name: &str, source: Error) -> BucketError {
        BucketError::Object { verb, name: name.to_owned(), source }
    }
}

/// Writes a local copy, whole or not at all.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), BucketError> {
    let failed = |source| BucketError::Local { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    write_durably(path, |file| std::io::Write::write_all(file, bytes)).map_err(failed)
}
