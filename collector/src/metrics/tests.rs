//! The exposition as Prometheus reads it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tripline_api::BreakerState;
use tripline_model::{EdgeCounts, EdgeWindow, Histogram, NodeKind, Reporter, Timestamp};

use super::*;
use crate::http::sample as values;

fn window() -> EdgeWindow {
    let mut latency = Histogram::default();
    [1, 3, 70, 60_000].into_iter().for_each(|ms| latency.record(Duration::from_millis(ms)));
    EdgeWindow {
        key: "shop/web>shop/cart:http".parse().unwrap(),
        reporter: Reporter::Client,
        client_kind: NodeKind::Service,
        server_kind: NodeKind::Service,
        start: Timestamp::from_secs(100),
        length: Duration::from_secs(10),
        counts: EdgeCounts { requests: 5, failed: 2, attempts: 6, retries: 1, ..EdgeCounts::default() },
        latency,
        self_time: Histogram::default(),
        secured: false,
    }
}

async fn exposition() -> String {
    let (live, feed) = values::live();
    let source: Source =
        Box::new(|| vec![Sample::counter("tripline_collector_test", "A \"test\"", 7).with("a", "b\"c\\\n")]);
    let (metrics, task) = prepare(&live, vec![source]);
    tokio::spawn(task);
    let incident = values::incident("A", tripline_api::Phase::Starting);
    feed.live.notifications.send(crate::live::Notification { notice: crate::live::Notice::Opened, incident }).unwrap();
    metrics.count_request("/api/v1/graph", StatusCode::OK);
    feed.live.windows.send(Arc::new(vec![window()])).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = metrics.encode();
        if text.contains("traces_service_graph_request_total") && text.contains("tripline_incidents_opened_total 1.0") {
            return text;
        }
        assert!(Instant::now() < deadline, "{text}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_dashboards_read_is_there() {
    let text = exposition().await;
    let edge = r#"{client="shop/web",server="shop/cart",connection_type=""}"#;
    let bucket = |le: &str, count: u64| {
        let name = "traces_service_graph_request_client_seconds_bucket";
        format!(r#"{name}{{le="{le}",client="shop/web",server="shop/cart",connection_type=""}} {count}"#)
    };
    for line in [
        format!("traces_service_graph_request_total{edge} 5"),
        format!("traces_service_graph_request_failed_total{edge} 2"),
        format!("traces_service_graph_request_client_seconds_count{edge} 4"),
        bucket("0.001024", 1),
        bucket("0.004096", 2),
        bucket("0.131072", 3),
        bucket("33.554432", 3),
        bucket("+Inf", 4),
        format!("tripline_edge_retries_total{edge} 1"),
        r#"tripline_incidents_open{level="cascade"} 1"#.into(),
        r#"tripline_incidents_open{level="local"} 0"#.into(),
        r#"tripline_proxies{state="live"} 1"#.into(),
        r#"tripline_proxies{state="silent"} 0"#.into(),
        r#"tripline_incident_notifications_total{notice="opened"} 1"#.into(),
        "tripline_collector_windows_total 3.0".into(),
        r#"tripline_collector_http_requests_total{route="/api/v1/graph",status="200"} 1.0"#.into(),
    ] {
        assert!(text.lines().any(|l| l.starts_with(&line)), "no line {line}\nin\n{text}");
    }
    assert!(text.contains("tripline_breaker_state{client=\"shop/web\",client_instance=\"one\",server=\"shop/cart\""));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_closed_breaker_is_exported_as_zero() {
    let (live, feed) = values::live();
    let (metrics, _task) = prepare(&live, Vec::new());
    for (state, number) in [(BreakerState::Closed, "0"), (BreakerState::HalfOpen, "1"), (BreakerState::Open, "2")] {
        feed.views.send_replace(Arc::new(crate::live::View {
            breakers: Arc::new(vec![values::breaker(state)]),
            ..values::view()
        }));
        let text = metrics.encode();
        let line = text.lines().find(|line| line.starts_with("tripline_breaker_state{")).unwrap();
        assert!(line.ends_with(&format!(" {number}.0")), "{line}");
    }
}

#[tokio::test]
async fn ticks_are_a_histogram_in_seconds() {
    let (live, feed) = values::live();
    let (metrics, _task) = prepare(&live, Vec::new());
    let mut view = values::view();
    view.counters.ticks.counts[7] = 3;
    view.counters.ticks.counts[15] = 1;
    view.counters.ticks.took = Duration::from_millis(2_150);
    feed.views.send_replace(Arc::new(view));
    let text = metrics.encode();
    for line in ["sum 2.15", "count 4", "bucket{le=\"0.04\"} 0", "bucket{le=\"0.06\"} 3", "bucket{le=\"+Inf\"} 4"] {
        let line = format!("tripline_collector_tick_seconds_{line}");
        assert!(text.lines().any(|known| known == line), "no line {line}\nin\n{text}");
    }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    if !Path::new("/usr/bin/promtool").exists() {
        eprintln!("SKIPPED: promtool is not there; install it with: apt-get install prometheus");
        return;
    }
    // promtool reads the older text format, which has no "# EOF" and names counters with their `_total`.
    let text = exposition().await.replace("# EOF\n", "");
    let plain: String = text.lines().filter(|line| !line.starts_with("# ")).flat_map(|line| [line, "\n"]).collect();
    let mut promtool = Command::new("/usr/bin/promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), plain.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    let serious: Vec<_> =
        complaints.lines().filter(|line| !line.contains("no help text") && !line.contains("no type")).collect();
    assert!(serious.is_empty(), "{serious:?}");
}
