//! Small values for tests.

use tripline_api as api;

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
    }
}
