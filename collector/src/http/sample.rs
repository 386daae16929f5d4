//! Small values for tests.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};
use tripline_api as api;
use tripline_topology::detect::Settings;

use crate::live::{self, Live, View};

/// An incident at the tests' time.
pub(crate) fn incident(id: &str, phase: api::Phase) -> api::Incident {
    api::Incident {
        id: id.into(),
        level: api::Level::Cascade,
        phase,
        started_at: "2026-11-21T09:00:00Z".into(),
        detected_at: "2026-11-21T09:00:03Z".into(),
        updated_at: "2026-11-21T09:00:10Z".into(),
        resolved_at: None,
        suspected_origins: vec![api::Candidate {
            service: "shop/payments-db".into(),
            edge: None,
            kind: "errors".into(),
            score: 0.93,
            evidence: vec![api::Evidence {
                kind: "own_errors".into(),
                text: "61 % of its answers failed".into(),
                value: 0.61,
            }],
            traces: Vec::new(),
            logs: Vec::new(),
        }],
        unexplained: 0.05,
        path: vec![api::PathStep {
            at: "2026-11-21T09:00:02Z".into(),
            client: "shop/payments".into(),
            server: "shop/payments-db".into(),
            event: api::PathEvent::Tripped,
            reason: "consecutive_failures".into(),
            lag_ms: 2_000,
        }],
        blast_radius: api::BlastRadius {
            services: vec!["shop/payments".into(), "shop/web".into()],
            edges: vec!["shop/payments>shop/payments-db:http".into()],
            entry_points: vec!["shop/web".into()],
            entries: Vec::new(),
            affected_request_ratio: 0.42,
            requests_failed: 42,
            requests_total: 100,
        },
        amplification: api::Amplification { attempts_per_request: 1.1, demand: 1.0 },
        trips: 7,
        raw_alerts: 9,
        alerts_sent: 1,
        folded: Vec::new(),
    }
}

/// A hold on a real live task whose view, notifications and windows the test makes itself.
pub(crate) fn live() -> (Live, Feed) {
    let (mut live, task) = live::task(live::Limits::default(), Settings::default());
    tokio::spawn(task);
    let (views, seen) = watch::channel(Arc::new(view()));
    (live.views, live.notifications, live.windows) = (seen, broadcast::channel(256).0, broadcast::channel(16).0);
    (live.clone(), Feed { live, views })
}

/// What a test shows to those who hold a [`Live`].
pub(crate) struct Feed {
    pub(crate) live: Live,
    pub(crate) views: watch::Sender<Arc<View>>,
}

impl Feed {
    /// Publishes a view with these incidents.
    pub(crate) fn show(&self, incidents: Vec<api::Incident>) {
        self.views.send_replace(Arc::new(View { incidents, ..view() }));
    }
}

/// A view of two services and an edge.
pub(crate) fn view() -> View {
    View {
        reading: 1,
        graph: api::Graph {
            at: "2026-11-21T09:01:00Z".into(),
            window_seconds: 60.0,
            generation: 1,
            nodes: vec![node("shop/cart"), node("shop/web")],
            edges: vec![edge("shop/web", "shop/cart")],
        },
        incidents: vec![incident("A", api::Phase::Spreading)],
        breakers: Arc::new(vec![breaker(api::BreakerState::Open)]),
        transitions: vec![transition(1)],
        proxies: vec![proxy("shop/cart")],
        counters: live::Counters { windows: 3, ..live::Counters::default() },
    }
}

/// A node with some traffic.
pub(crate) fn node(id: &str) -> api::Node {
    let (namespace, name) = id.split_once('/').unwrap_or(("", id));
    api::Node {
        id: id.into(),
        namespace: namespace.into(),
        name: name.into(),
        kind: api::NodeKind::Service,
        health: api::Health::Healthy,
        requests: 60,
        requests_per_second: 1.0,
        error_ratio: 0.0,
        latency_ms: api::Latency::default(),
        entry_point: false,
        incident: None,
        position: api::Position::default(),
    }
}

/// An edge with some traffic.
pub(crate) fn edge(client: &str, server: &str) -> api::Edge {
    api::Edge {
        id: format!("{client}>{server}:http"),
        client: client.into(),
        server: server.into(),
        protocol: "http".into(),
        reporter: "client".into(),
        health: api::Health::Healthy,
        requests: 60,
        requests_per_second: 1.0,
        failed: 0,
        shed: 0,
        error_ratio: 0.0,
        latency_ms: api::Latency::default(),
        attempts_per_request: 1.0,
        breaker: api::BreakerState::Closed,
        secured: false,
    }
}

/// A breaker from web to cart.
pub(crate) fn breaker(state: api::BreakerState) -> api::Breaker {
    api::Breaker {
        id: "shop/web>shop/cart/default".into(),
        client: "shop/web".into(),
        client_instance: "one".into(),
        server: "shop/cart".into(),
        route: "default".into(),
        endpoint: String::new(),
        state,
        since: "2026-11-21T09:00:02Z".into(),
        trips: 1,
        last_reason: Some("consecutive_failures".into()),
    }
}

/// The `n`th transition of that breaker.
pub(crate) fn transition(n: u64) -> api::Transition {
    api::Transition {
        at: "2026-11-21T09:00:02Z".into(),
        breaker: "shop/web>shop/cart/default".into(),
        client: "shop/web".into(),
        client_instance: "one".into(),
        server: "shop/cart".into(),
        route: String::new(),
        endpoint: String::new(),
        from: api::BreakerState::Closed,
        to: api::BreakerState::Open,
        reason: "consecutive_failures".into(),
        origin: "remote".into(),
        window_total: n,
        window_failed: 5,
        window_slow: 0,
        threshold: 5.0,
        last_error: "503".into(),
        time_in_from_ms: 0,
        sequence: n,
        traces: Vec::new(),
    }
}

/// A sidecar that lives.
pub(crate) fn proxy(service: &str) -> api::Proxy {
    api::Proxy {
        service: service.into(),
        instance: "one".into(),
        version: "0.1.0".into(),
        last_seen: "2026-11-21T09:01:00Z".into(),
        live: true,
        dropped: 0,
        clock_offset_ms: 0.0,
    }
}
