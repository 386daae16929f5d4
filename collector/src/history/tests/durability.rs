//! What survives a stop, a kill, a torn manifest, a damaged file, a full disk budget.

use std::fs;
use std::path::PathBuf;

use super::*;

fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                files.push(path);
            }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_writes_everything_and_a_restart_finds_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(lazy(dir.path()));
    for position in 1..=3 {
        running.keep(batch(position)).await;
    }
    running.stop().await;

    let running = Running::start(lazy(dir.path()));
    assert_eq!(*running.history.durable().borrow(), 3);
    running.keep(batch(3)).await;
    running.keep(batch(4)).await;
    running.until(|c| c.rows_waiting == 1).await;
    assert_eq!(running.log_bodies().await, ["batch 4", "batch 3", "batch 2", "batch 1"]);
    assert_eq!(running.history.counters().batches_repeated, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_position_says_what_must_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(lazy(dir.path()));
    running.keep(batch(1)).await;
    running.stop().await;
    let running = Running::start(lazy(dir.path()));
    running.keep(batch(2)).await;
    running.kill().await;
    // As if the kill had hit between writing a file and naming it.
    let left_over = dir.path().join("logs/dt=2026-11-21/hr=09/L0-0000000099-9.parquet");
    fs::create_dir_all(left_over.parent().unwrap()).unwrap();
    fs::copy(&parquet_files(dir.path())[0], &left_over).unwrap();

    let running = Running::start(lazy(dir.path()));
    assert!(!left_over.exists());
    assert_eq!(*running.history.durable().borrow(), 1);
    running.keep(batch(2)).await;
    running.until(|c| c.rows_waiting == 1).await;
    assert_eq!(running.log_bodies().await, ["batch 2", "batch 1"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_manifest_is_made_again_from_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(lazy(dir.path()));
    running.keep(batch(1)).await;
    running.keep(batch(2)).await;
    running.stop().await;
    let manifest = dir.path().join("manifest.json");
    let text = fs::read(&manifest).unwrap();
    fs::write(&manifest, &text[..text.len() / 2]).unwrap();

    let running = Running::start(lazy(dir.path()));
    assert_eq!(*running.history.durable().borrow(), 2);
    assert_eq!(running.log_bodies().await, ["batch 2", "batch 1"]);
    assert!(dir.path().join("manifest.json.broken").exists());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_missing_files_are_left_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    for position in 1..=3 {
        let running = Running::start(lazy(dir.path()));
        running.keep(batch(position)).await;
        running.stop().await;
    }
    let mut files = parquet_files(dir.path());
    files.sort_by_key(|path| path.file_name().unwrap().to_owned());
    assert_eq!(files.len(), 3);
    fs::remove_file(&files[0]).unwrap();
    let mut bytes = fs::read(&files[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes.truncate(middle);
    fs::write(&files[1], bytes).unwrap();

    let running = Running::start(lazy(dir.path()));
    assert_eq!(running.log_bodies().await, ["batch 3"]);
    assert_eq!(running.history.counters().files_bad, 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_see_every_row_once_while_files_are_written_and_merged() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Settings { flush_rows: 1, ..eager(dir.path()) });
    for position in 1..=40 {
        running.keep(batch(position)).await;
        // The owner takes inputs and questions from two queues; a row counts once it was taken.
        let bodies = loop {
            let bodies = running.log_bodies().await;
            if bodies.len() as u64 >= position {
                break bodies;
            }
        };
        let expected: Vec<String> = (1..=position).rev().map(|n| format!("batch {n}")).collect();
        assert_eq!(bodies, expected);
        if position % 2 == 0 {
            running.until(|c| c.rows_written == position).await;
        }
    }
    running.until(|c| c.merges > 0).await;
    assert_eq!(running.log_bodies().await.len(), 40);
    running.stop().await;
    assert!(parquet_files(dir.path()).len() < 20, "merged files are gone");
    let running = Running::start(lazy(dir.path()));
    assert_eq!(*running.history.durable().borrow(), 40);
    assert_eq!(running.log_bodies().await.len(), 40);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_budget_lets_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let retention = Retention { disk_bytes: 1, ..Retention::default() };
    let running = Running::start(Settings { retention, ..eager(dir.path()) });
    running.keep(batch(1)).await;
    running.until(|c| c.files_expired == 1).await;
    assert!(running.log_bodies().await.is_empty());
    assert_eq!(*running.history.durable().borrow(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_journal_starts_from_its_own_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(lazy(dir.path()));
    running.keep(batch(1)).await;
    running.keep(batch(2)).await;
    running.stop().await;
    let running = Running::start(Settings { journal_end: Some(0), ..lazy(dir.path()) });
    running.keep(batch(1)).await;
    running.until(|c| c.rows_waiting == 1).await;
    assert_eq!(running.log_bodies().await.len(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_version_2_had_identifiers_as_text_and_are_written_anew() {
    use polars::prelude::*;
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(lazy(dir.path()));
    running.keep(batch(1)).await;
    running.stop().await;
    let file = &parquet_files(dir.path())[0];
    let mut rows = crate::history::file::read(file).unwrap();
    rows.with_column(Column::new("trace_id".into(), [trace(1).to_string()])).unwrap();
    rows.with_column(Column::new("span_id".into(), [None::<&str>])).unwrap();
    ParquetWriter::new(fs::File::create(file).unwrap()).finish(&mut rows).unwrap();
    let manifest = dir.path().join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("\"version\":3", "\"version\":2", 1)).unwrap();

    let running = Running::start(lazy(dir.path()));
    let query = LogQuery { trace: Some(trace(1)), page: super::all(), ..LogQuery::default() };
    let found = running.history.logs(query).await.unwrap().logs;
    assert_eq!((found.len(), found[0].trace_id.as_str()), (1, trace(1).to_string().as_str()));
    running.stop().await;
}
