//! History in an object store: what is put there, what comes back, who is refused.

use std::fs;

use super::*;
use crate::history::{Bucket, BucketError, Remote};

async fn start(bucket: &Bucket, dir: &Path, cache_bytes: u64) -> Running {
    let remote = Remote::open(bucket.clone(), dir, cache_bytes).await.unwrap();
    Running::start(Settings { remote: Some(remote), ..lazy(dir) })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_takes_over_what_is_in_the_store_and_fetches_when_asked() {
    let bucket = Bucket::in_memory();
    let lost = tempfile::tempdir().unwrap();
    let running = start(&bucket, lost.path(), u64::MAX).await;
    running.keep(batch(1)).await;
    running.stop().await;
    let running = start(&bucket, lost.path(), u64::MAX).await;
    running.keep(batch(2)).await;
    running.stop().await;
    drop(lost);

    let fresh = tempfile::tempdir().unwrap();
    let running = start(&bucket, fresh.path(), u64::MAX).await;
    assert!(!fresh.path().join("logs").exists(), "nothing is fetched before it is asked for");
    assert_eq!(running.log_bodies().await, ["batch 2", "batch 1"]);
    assert!(fresh.path().join("logs").exists());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_beyond_the_cache_are_let_go_and_files_still_answer() {
    let bucket = Bucket::in_memory();
    let dir = tempfile::tempdir().unwrap();
    for position in 1..=3 {
        let running = start(&bucket, dir.path(), 0).await;
        running.keep(batch(position)).await;
        running.stop().await;
        assert_eq!(copies(dir.path()), 0, "after batch {position}");
    }
    let running = start(&bucket, dir.path(), 0).await;
    assert_eq!(running.log_bodies().await, ["batch 3", "batch 2", "batch 1"]);
    assert_eq!(running.history.counters().files_bad, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_folder_is_refused() {
    let bucket = Bucket::in_memory();
    for expected in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        // A folder that has a manifest of its own.
        let running = Running::start(lazy(dir.path()));
        running.keep(batch(1)).await;
        running.stop().await;
        let opened = Remote::open(bucket.clone(), dir.path(), 0).await;
        assert_eq!(opened.is_ok(), expected);
        let Ok(remote) = opened else {
            assert!(matches!(opened, Err(BucketError::Taken { .. })));
            continue;
        };
        Running::start(Settings { remote: Some(remote), ..lazy(dir.path()) }).stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_store_does_not_give_is_no_silent_gap() {
    let bucket = Bucket::in_memory();
    let dir = tempfile::tempdir().unwrap();
    let running = start(&bucket, dir.path(), 0).await;
    running.keep(batch(1)).await;
    running.stop().await;
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.path().join("manifest.json")).unwrap()).unwrap();
    bucket.delete(manifest["files"][0]["path"].as_str().unwrap()).await.unwrap();
    let running = start(&bucket, dir.path(), 0).await;
    let query = LogQuery { page: all(), ..LogQuery::default() };
    assert!(matches!(running.history.logs(query).await, Err(crate::history::QueryError::Fetch(_))));
    running.stop().await;
}

/// Parquet files in the folder.
fn copies(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(
            |path| {
                if path.is_dir() {
                    copies(&path)
                } else {
                    usize::from(path.extension().is_some_and(|e| e == "parquet"))
                }
            },
        )
        .sum()
}
