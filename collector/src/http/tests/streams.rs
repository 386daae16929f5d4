//! The stream of changes, as a browser reads it.

use std::time::Duration;

use tokio::time::timeout;
use tripline_api::{Changes, Phase, Snapshot};

use super::*;
use crate::live::View;

/// A listener: reads events one by one.
struct Listener {
    response: reqwest::Response,
    text: String,
}

impl Listener {
    async fn open(server: &Server) -> Self {
        let response = server.get("/api/v1/stream").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Self { response, text: String::new() }
    }

    /// Name and data of the next event; none when the stream has ended.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
                let (kind, data) = (field("event:"), field("data:"));
                self.text = rest.to_owned();
                return Some((kind, data));
            }
            let chunk = timeout(Duration::from_secs(10), self.response.chunk()).await.unwrap().ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn snapshot(&mut self) -> Snapshot {
        let (kind, data) = self.next().await.unwrap();
        assert_eq!(kind, "snapshot", "{data}");
        serde_json::from_str(&data).unwrap()
    }

    async fn changes(&mut self) -> Changes {
        let (kind, data) = self.next().await.unwrap();
        assert_eq!(kind, "changes", "{data}");
        serde_json::from_str(&data).unwrap()
    }
}

fn view(n: u64) -> View {
    let mut view = sample::view();
    view.graph.at = format!("view {n}");
    view.graph.nodes[0].requests = n;
    view
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_applies_changes_sees_what_is_shown() {
    let server = Server::start().await;
    let mut listener = Listener::open(&server).await;
    let mut seen = listener.snapshot().await;
    assert_eq!(seen.graph, sample::view().graph);
    for n in 1..=5 {
        let mut shown = view(n);
        if n == 3 {
            shown.graph.edges.clear();
            shown.incidents.insert(0, sample::incident("B", Phase::Starting));
        } else if n > 3 {
            shown.incidents.insert(0, sample::incident("B", Phase::Spreading));
        }
        server.feed.views.send_replace(Arc::new(shown.clone()));
        listener.changes().await.apply_to(&mut seen);
        assert_eq!((&seen.graph, &seen.incidents), (&shown.graph, &shown.incidents), "view {n}");
    }
    server.feed.show(Vec::new());
    assert!(listener.snapshot().await.incidents.is_empty(), "an incident that leaves needs a snapshot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_listener_gets_a_fresh_snapshot() {
    let server = Server::start().await;
    let mut listener = Listener::open(&server).await;
    listener.snapshot().await;
    // More than the connection, its queue and the broadcast channel hold together.
    let name = "x".repeat(2_000_000);
    for n in 1..=200 {
        let mut shown = view(n);
        shown.graph.nodes[0].name = format!("{name}{n}");
        server.feed.views.send_replace(Arc::new(shown));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut kinds = Vec::new();
    loop {
        let (kind, data) = listener.next().await.unwrap();
        kinds.push(kind.clone());
        if data.contains("\"view 200\"") {
            break;
        }
    }
    assert!(kinds.iter().any(|kind| kind == "snapshot"), "{kinds:?}");
    assert!(kinds.len() < 200, "some changes were passed over");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_end_with_the_collector() {
    let server = Server::with(|parts| parts.limits = Limits { streams: 1, ..Limits::default() }).await;
    let mut first = Listener::open(&server).await;
    first.snapshot().await;
    assert_eq!(server.get("/api/v1/stream").await.status(), 503);
    server.shutdown.cancel();
    assert_eq!(first.next().await, None);
}
