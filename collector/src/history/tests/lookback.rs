//! What makes looking back long and cheap: windows that were added up, limits of a question, operations.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::history::{OperationQuery, QueryError};

/// The tests' clock; each test moves it forward only, and none minds if another has.
static NOW: AtomicU64 = AtomicU64::new(0);

fn now() -> Timestamp {
    Timestamp::from_nanos(NOW.load(Relaxed))
}

fn windows_of(seconds: std::ops::Range<u64>) -> Vec<EdgeWindow> {
    let plain =
        |start: u64| EdgeWindow { counts: EdgeCounts { requests: 3, ..EdgeCounts::default() }, ..window(start, 3) };
    seconds.step_by(10).map(plain).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_added_up_and_outlive_those_they_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let minute = Duration::from_secs(60);
    NOW.fetch_max(at(7_200).as_nanos(), Relaxed);
    let retention = Retention { edges: Duration::from_secs(3_600), ..Retention::default() };
    let running = Running::start(Settings { now, retention, ..eager(dir.path()) });
    running.history.keep_windows(Arc::new(windows_of(0..4_200))).await;
    // 420 windows, 70 minutes, 2 hours (the second one of ten minutes waits for its end).
    let everything = 420 + 70 + 1;
    running.until(|c| c.rows_written >= everything).await;
    let requests = async |seconds: u64, window: Duration| {
        let (range, windows) = running.history.windows_at(at(seconds), window).await.unwrap();
        let latency: u64 = windows.iter().map(|w| w.latency.count()).sum();
        (range.0.since(at(0)).as_secs(), windows.len(), windows.iter().map(|w| w.counts.requests).sum::<u64>(), latency)
    };
    assert_eq!(requests(600, minute).await, (540, 1, 18, 18), "one window of a minute");
    assert_eq!(requests(605, minute / 2).await, (570, 3, 9, 9), "three of ten seconds");
    assert_eq!(requests(4_200, 70 * minute).await, (0, 70, 1_260, 1_260), "no full hours");
    assert_eq!(requests(3_600, 60 * minute).await, (0, 1, 1_080, 1_080), "one of an hour");

    NOW.fetch_max(at(100_000).as_nanos(), Relaxed);
    running.history.keep_windows(Arc::new(windows_of(99_000..99_010))).await;
    running.until(|c| c.files_expired > 0).await;
    assert_eq!(requests(605, minute / 2).await, (540, 1, 18, 18), "the minute that holds it");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_nobody_waits_for_stops() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(lazy(dir.path()));
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let history = running.history.clone();
    let asking = tokio::spawn(async move {
        let endless = move |question: &crate::history::scan::Question| -> Result<(), QueryError> {
            let _heard = begun.send(());
            loop {
                question.allowance.check(0)?;
            }
        };
        history.ask(endless).await
    });
    has_begun.await.unwrap();
    assert_eq!(running.history.queries.available_permits(), 1);
    asking.abort();
    let deadline = Instant::now() + Duration::from_secs(5);
    while running.history.queries.available_permits() < 2 {
        assert!(Instant::now() < deadline, "the question went on");
        sleep(Duration::from_millis(5)).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_gathers_too_much_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Settings { query_bytes: 10, ..lazy(dir.path()) });
    running.keep(batch(1)).await;
    running.until(|c| c.rows_waiting > 0).await;
    let query = LogQuery { page: all(), ..LogQuery::default() };
    assert!(matches!(running.history.logs(query).await, Err(QueryError::Memory(10))));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_are_told_the_slowest_first_from_memory_and_files_together() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(lazy(dir.path()));
    let named = |name: &str, millis| SpanRecord { name: name.into(), ..span(1, "shop/web", 10, millis) };
    let failed = SpanRecord { status: SpanStatus::Error, ..named("fast", 2) };
    let spans_batch =
        |position, spans: &[SpanRecord]| Batch { spans: Spans::of_records(spans), logs: Vec::new(), ..batch(position) };
    running
        .keep(spans_batch(1, &[named("fast", 2), failed, named("slow", 100), span(2, "shop/cart", 10, 9_000)]))
        .await;
    running.stop().await;
    let running = Running::start(lazy(dir.path()));
    running.keep(spans_batch(2, &[named("slow", 100), named("slow", 100)])).await;
    running.until(|c| c.rows_waiting > 0).await;
    let query = OperationQuery { service: "shop/web".into(), from: at(0), to: at(60), limit: 20 };
    let told = running.history.operations(query.clone()).await.unwrap();
    let names: Vec<_> = told.iter().map(|o| (o.name.as_str(), o.spans, o.requests, o.error_ratio)).collect();
    assert_eq!(names, [("slow", 3, 3, 0.0), ("fast", 2, 2, 0.5)]);
    assert!((told[0].latency_ms.p99 / 100.0 - 1.0).abs() < 0.05, "{told:?}");
    let first = running.history.operations(OperationQuery { limit: 1, ..query.clone() }).await.unwrap();
    assert_eq!(first.len(), 1);
    let none = running.history.operations(OperationQuery { from: at(20), ..query }).await.unwrap();
    assert_eq!(none, []);
    running.stop().await;
}

/// Once merged, files need not be read for it; where the counts are gone, they are.
#[tokio::test(flavor = "multi_thread")]
async fn operations_of_merged_files_are_told_from_what_lies_counted_beside_them() {
    // A clock of its own: both files are to lie in one hour.
    static CLOCK: AtomicU64 = AtomicU64::new(0);
    let clock = || Timestamp::from_nanos(CLOCK.load(Relaxed));
    CLOCK.store(at(0).as_nanos(), Relaxed);
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Settings { now: clock, ..eager(dir.path()) });
    let slow = |seconds| SpanRecord { weight: 4.0, ..span(1, "shop/web", seconds, 100) };
    let failed = |seconds| SpanRecord { status: SpanStatus::Error, ..span(2, "shop/web", seconds, 3) };
    for position in 1..=2 {
        let spans = [slow(position), failed(position), span(3, "shop/cart", position, 5)];
        let batch = Batch { spans: Spans::of_records(&spans), logs: Vec::new(), ..batch(position) };
        running.keep(batch).await;
        running.until(|c| c.rows_written == 3 * position).await;
    }
    let told = async |from| {
        let query = OperationQuery { service: "shop/web".into(), from: at(from), to: at(60), limit: 20 };
        let told = running.history.operations(query).await.unwrap();
        let rounded = told
            .into_iter()
            .map(|o| (o.name, o.spans, o.requests, o.error_ratio, o.latency_ms.p50.round(), o.mean_ms.round()));
        rounded.collect::<Vec<_>>()
    };
    let before = told(0).await;
    assert_eq!(before, [("GET shop/web".to_owned(), 4, 10, 0.2, 97.0, 81.0)]);
    CLOCK.store(at(7_200).as_nanos(), Relaxed);
    running.until(|c| c.merges > 0 && c.files == 1).await;
    assert_eq!(told(0).await, before);
    let folder = dir.path().join("spans");
    let counts = walk(&folder).into_iter().find(|path| path.extension().is_some_and(|e| e == "operations")).unwrap();
    let (merged, aside) = (counts.with_extension(""), dir.path().join("aside"));
    std::fs::rename(&merged, &aside).unwrap();
    assert_eq!(told(0).await, before, "its spans are not read");
    std::fs::rename(&aside, &merged).unwrap();
    assert_eq!(told(2).await[0].1, 2, "a range that cuts through it");
    std::fs::remove_file(counts).unwrap();
    assert_eq!(told(0).await, before, "its spans are read");
    running.stop().await;
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
