//! What the questions answer, from memory and from disk alike.

use super::*;
use crate::history::QueryError;

enum Rows {
    Batch(Box<Batch>),
    Windows(Vec<EdgeWindow>),
}

/// Runs `check` over the same rows twice: in memory, and in files after a restart.
async fn in_memory_and_on_disk<F: Future<Output = ()>>(rows: Rows, check: impl Fn(History) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(lazy(dir.path()));
    match rows {
        Rows::Batch(batch) => running.keep(*batch).await,
        Rows::Windows(windows) => assert!(running.history.keep(Input::Windows(Arc::new(windows))).await),
    }
    running.until(|c| c.rows_waiting > 0).await;
    check(running.history.clone()).await;
    running.stop().await;
    let running = Running::start(lazy(dir.path()));
    assert!(running.history.counters().files > 0);
    check(running.history.clone()).await;
    running.stop().await;
}

fn batch_of(spans: &[SpanRecord], logs: Vec<LogRecord>, transitions: Vec<BreakerTransition>) -> Rows {
    let spans = Spans::of_records(spans);
    let batch = Batch { position: 1, received_at: at(0), reports: Vec::new(), transitions, spans, logs };
    Rows::Batch(Box::new(batch))
}

fn some_traces() -> Rows {
    let mut child = span(1, "shop/cart", 9, 50);
    // A skewed clock: the child seems to start before its root.
    (child.parent, child.status) = (SpanId::from_bytes([9; 8]), SpanStatus::Error);
    batch_of(
        &[child, span(1, "shop/web", 10, 100), span(2, "shop/web", 20, 5), span(3, "shop/api", 30, 7)],
        vec![],
        vec![],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_reads_back_whole() {
    in_memory_and_on_disk(some_traces(), |history| async move {
        let found = history.trace(trace(1)).await.unwrap().unwrap();
        assert_eq!(found.spans.len(), 2);
        let (child, root) = (&found.spans[0], &found.spans[1]);
        assert_eq!((child.service.as_str(), child.status.as_str()), ("shop/cart", "error"));
        assert_eq!((root.name.as_str(), root.kind.as_str(), root.duration_ms), ("GET shop/web", "server", 100.0));
        assert_eq!((root.parent_span_id.as_str(), root.started_at.as_str()), ("", "2026-11-21T09:00:10Z"));
        assert_eq!(root.attributes["http.response.status_code"], "200");
        assert_eq!(root.events[0].name, "accepted");
        assert_eq!(history.trace(trace(77)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_filtered_and_paged() {
    in_memory_and_on_disk(some_traces(), |history| async move {
        let ids = async |query: TraceQuery| -> Vec<u8> {
            let list = history.traces(query).await.unwrap();
            list.traces.iter().map(|t| t.trace_id.parse::<TraceId>().unwrap().as_bytes()[0]).collect()
        };
        let any = || TraceQuery { page: all(), ..TraceQuery::default() };
        assert_eq!(ids(any()).await, [3, 2, 1]);
        assert_eq!(ids(TraceQuery { service: Some("shop/cart".into()), ..any() }).await, [1]);
        assert_eq!(ids(TraceQuery { at_least: Duration::from_millis(7), ..any() }).await, [3, 1]);
        assert_eq!(ids(TraceQuery { error: Some(true), ..any() }).await, [1]);
        assert_eq!(ids(TraceQuery { error: Some(false), ..any() }).await, [3, 2]);
        assert_eq!(ids(TraceQuery { page: Page { from: at(15), ..all() }, ..any() }).await, [3, 2]);
        assert_eq!(ids(TraceQuery { operation: Some("GET shop/cart".into()), ..any() }).await, [1]);
        let of_web = TraceQuery { service: Some("shop/web".into()), operation: Some("GET shop/cart".into()), ..any() };
        assert_eq!(ids(of_web).await, [0; 0], "one span must be both");
        let with = |key: &str, value: &str| TraceQuery { attribute: Some((key.into(), value.into())), ..any() };
        assert_eq!(ids(with("http.response.status_code", "200")).await, [3, 2, 1]);
        assert_eq!(ids(with("http.response.status_code", "20")).await, [0; 0]);
        assert_eq!(ids(with("ok", "true")).await, [3, 2, 1]);
        assert_eq!(ids(with("true", "ok")).await, [0; 0]);

        let first = history.traces(TraceQuery { page: Page { limit: 2, ..all() }, ..any() }).await.unwrap();
        assert_eq!(ids(TraceQuery { page: Page { cursor: first.next, ..all() }, ..any() }).await, [1]);
        let whole = history.traces(TraceQuery { service: Some("shop/cart".into()), ..any() }).await.unwrap();
        let summary = &whole.traces[0];
        assert_eq!((summary.root_service.as_str(), summary.spans, summary.errors), ("shop/web", 2, 1));
        assert_eq!(summary.services, ["shop/cart", "shop/web"]);
        assert_eq!(summary.duration_ms, 1_100.0);
        let bad = TraceQuery { page: Page { cursor: Some("nonsense".into()), ..all() }, ..any() };
        assert!(matches!(history.traces(bad).await, Err(QueryError::Cursor)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_filtered_and_no_page_loses_or_repeats_one() {
    let logs: Vec<_> = (0..25).map(|n| log(n / 10, &format!("Line {n:02}"))).collect();
    in_memory_and_on_disk(batch_of(&[], logs, vec![]), |history| async move {
        let any = || LogQuery { page: all(), ..LogQuery::default() };
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let query = LogQuery { page: Page { limit: 4, cursor, ..all() }, ..any() };
            let list = history.logs(query).await.unwrap();
            seen.extend(list.logs.into_iter().map(|log| log.body));
            cursor = list.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut distinct = seen.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!((seen.len(), distinct.len()), (25, 25));
        let found = history.logs(LogQuery { text: Some("LINE 07".into()), ..any() }).await.unwrap();
        assert_eq!((found.logs.len(), found.logs[0].body.as_str()), (1, "Line 07"));
        assert_eq!(found.logs[0].attributes["user"], "ä \"quoted\"");
        assert_eq!(history.logs(LogQuery { service: Some("no/one".into()), ..any() }).await.unwrap().logs, []);
        assert_eq!(history.logs(LogQuery { trace: Some(trace(1)), ..any() }).await.unwrap().logs.len(), 25);
        assert_eq!(history.logs(LogQuery { trace: Some(trace(5)), ..any() }).await.unwrap().logs, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_windows_come_back_as_they_were() {
    let windows = vec![window(0, 40), window(10, 3), window(20, 0)];
    let kept = windows.clone();
    in_memory_and_on_disk(Rows::Windows(windows), move |history| {
        let mut expected = kept.clone();
        // Counts have 63 bits in Parquet.
        expected.iter_mut().for_each(|w| w.counts.response_bytes = i64::MAX as u64);
        async move {
            let (_, mut found) = history.windows_at(at(60), Duration::from_secs(60)).await.unwrap();
            found.sort_by_key(|w| w.start);
            assert_eq!(found, expected);
            let (range, found) = history.windows_at(at(25), Duration::from_secs(10)).await.unwrap();
            assert_eq!((range, found), ((at(10), at(20)), vec![expected[1].clone()]));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transitions_come_newest_first() {
    let rows = batch_of(&[], vec![], vec![transition(5), transition(9)]);
    in_memory_and_on_disk(rows, |history| async move {
        let found = history.transitions((at(0), at(60)), 10).await.unwrap();
        assert_eq!(
            found.iter().map(|t| t.at.as_str()).collect::<Vec<_>>(),
            ["2026-11-21T09:00:09Z", "2026-11-21T09:00:05Z"]
        );
        assert_eq!(
            (found[0].reason.as_str(), found[0].threshold, found[0].traces.len()),
            ("consecutive_failures", 5.0, 1)
        );
        assert_eq!(found[0].to, tripline_api::BreakerState::Open);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_state_of_an_incident_is_answered() {
    let first = crate::http::sample::incident("A", tripline_api::Phase::Starting);
    let mut later = crate::http::sample::incident("A", tripline_api::Phase::Resolved);
    (later.updated_at, later.resolved_at) = ("2026-11-21T09:05:00Z".into(), Some("2026-11-21T09:05:00Z".into()));
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(lazy(dir.path()));
    running.history.keep(Input::Incident(Arc::new(first.clone()))).await;
    running.stop().await;
    let running = Running::start(lazy(dir.path()));
    assert_eq!(running.history.incident("A").await.unwrap(), Some(first));
    running.history.keep(Input::Incident(Arc::new(later.clone()))).await;
    running.until(|c| c.rows_waiting == 1).await;
    assert_eq!(running.history.incident("A").await.unwrap(), Some(later.clone()));
    assert_eq!(running.history.incidents(at(60), at(120)).await.unwrap(), vec![later]);
    assert_eq!(running.history.incident("B").await.unwrap(), None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_takes_too_long_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(Settings { query_timeout: Duration::from_millis(50), ..lazy(dir.path()) });
    let _busy = Arc::clone(&running.history.queries).acquire_many_owned(2).await.unwrap();
    assert!(matches!(running.history.trace(trace(1)).await, Err(QueryError::Timeout(_))));
    assert_eq!(running.history.counters().query_timeouts, 1);
    running.stop().await;
}
