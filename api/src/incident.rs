//! Incidents: one value for everything that belongs to one cascade, from the first sign to its end.

use crate::{wire, words};

words! {
    /// How far a fault has gone.
    Level {
        /// One degraded service, nobody who depends on it.
        Local = "local",
        /// A dependent is degraded because of it.
        Propagating = "propagating",
        /// Two or more hops, breakers open in a chain, or an entry point reached through a service between.
        Cascade = "cascade",
        /// A cascade that retries or demand make worse.
        Amplifying = "amplifying",
        /// The origin is well again, the degradation stays.
        SelfSustaining = "self_sustaining",
    }
}

words! {
    /// Where an incident stands.
    Phase {
        /// Just opened.
        Starting = "starting",
        /// A service joined within the last minute.
        Spreading = "spreading",
        /// None joined for a minute, still degraded.
        Contained = "contained",
        /// The origin is well, fewer services are degraded.
        Recovering = "recovering",
        /// Nothing degraded for two minutes.
        Resolved = "resolved",
    }
}

words! {
    /// What happened on one hop of the path.
    PathEvent {
        /// Failures or latency left their baseline.
        Degraded = "degraded",
        /// A breaker opened.
        Tripped = "tripped",
        /// A breaker closed again.
        Closed = "closed",
    }
}

wire! {
    /// One incident.
    pub struct Incident {
        /// A ULID; stays the same from opening to resolution and through a reopening.
        pub id: String,
        /// How far it has gone at its worst.
        pub level: Level,
        /// Where it stands.
        pub phase: Phase,
        /// Onset of the first degradation.
        pub started_at: String,
        /// When it was opened.
        pub detected_at: String,
        /// When something in it last changed.
        pub updated_at: String,
        /// When it ended.
        pub resolved_at: Option<String>,
        /// Best first; equal scores are a tie.
        pub suspected_origins: Vec<Candidate>,
        /// Share of the entry points' excess that no candidate explains.
        pub unexplained: f64,
        /// Ordered from the suspected origin towards the entry points, by cause.
        pub path: Vec<PathStep>,
        /// Whom it hurts.
        pub blast_radius: BlastRadius,
        /// Whether retries or demand make it worse.
        pub amplification: Amplification,
        /// Breaker openings folded into it.
        pub trips: u64,
        /// Breaker openings and threshold crossings that would each have been an alert.
        pub raw_alerts: u64,
        /// Notifications that were sent for it.
        pub alerts_sent: u64,
        /// What was folded into it instead of being told, oldest first, at most 64; `raw_alerts` counts all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub folded: Vec<FoldedAlert>,
    }

    /// Something that would have been an alert of its own.
    pub struct FoldedAlert {
        /// When.
        pub at: String,
        /// Edge id.
        pub edge: String,
        /// `breaker_opened`, `failing` or `slow`.
        pub kind: String,
        /// One sentence for people.
        pub text: String,
    }

    /// A service, or an edge, that may have been first.
    pub struct Candidate {
        /// Node id.
        pub service: String,
        /// Edge id, when the edge itself is the candidate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub edge: Option<String>,
        /// `errors`, `latency`, `network`, `demand`.
        pub kind: String,
        /// Share in 0..=1 of the excess that goes away without this candidate's own.
        pub score: f64,
        /// What speaks for it.
        pub evidence: Vec<Evidence>,
        /// Up to three traces to look at: of failures that moved a breaker in front of it, and, in `GET /api/v1/incidents/ID`,
        /// stored ones in which it failed or was slow.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub traces: Vec<ExampleTrace>,
        /// In `GET /api/v1/incidents/ID`: up to five of its log lines of severity WARN and above, newest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub logs: Vec<crate::Log>,
    }

    /// A trace worth looking at.
    pub struct ExampleTrace {
        /// 32 hexadecimal digits.
        pub trace_id: String,
        /// `breaker` (a failed attempt that a breaker's transition named; it may not have been sampled), `failed` or `slow` (stored
        /// spans of the candidate).
        pub why: String,
    }

    /// One typed piece of evidence with its number.
    pub struct Evidence {
        /// `own_errors`, `own_latency`, `breaker_open`, `not_explained_by_dependencies`, ...
        pub kind: String,
        /// One sentence for people.
        pub text: String,
        /// The number in it.
        pub value: f64,
    }

    /// One hop of the path, or one event on it.
    pub struct PathStep {
        /// When.
        pub at: String,
        /// Node id of the caller.
        pub client: String,
        /// Node id of the called.
        pub server: String,
        /// What happened.
        pub event: PathEvent,
        /// Breaker reason, or `errors` or `latency`.
        pub reason: String,
        /// Milliseconds after the first step.
        pub lag_ms: u64,
    }

    /// Whom an incident hurts.
    pub struct BlastRadius {
        /// Degraded services, suspected origins not included.
        pub services: Vec<String>,
        /// Degraded edges.
        pub edges: Vec<String>,
        /// Degraded entry points.
        pub entry_points: Vec<String>,
        /// How much each entry point suffers.
        pub entries: Vec<AffectedEntry>,
        /// Share of the entry points' requests that failed since it started, or was last opened again.
        pub affected_request_ratio: f64,
        /// Requests at the entry points that failed since it started, or was last opened again.
        pub requests_failed: u64,
        /// All requests at the entry points since then.
        pub requests_total: u64,
    }

    /// One entry point.
    pub struct AffectedEntry {
        /// Node id.
        pub service: String,
        /// Share of its requests that failed.
        pub failed_ratio: f64,
        /// Latency added to the median, in milliseconds.
        pub added_latency_ms: f64,
    }

    /// What makes an incident worse.
    #[derive(Copy)]
    pub struct Amplification {
        /// Attempts per request on the worst edge into the origin.
        pub attempts_per_request: f64,
        /// First attempts over their baseline on the edges into the origin; 1 is normal.
        pub demand: f64,
    }

    /// Answer of `GET /api/v1/incidents`.
    pub struct IncidentList {
        /// Newest first.
        pub incidents: Vec<Incident>,
        /// Cursor of the next page.
        pub next: Option<String>,
    }
}

impl Incident {
    /// Whether it is over.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.phase == Phase::Resolved
    }

    /// The best candidate's service.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.suspected_origins.first().map(|c| c.service.as_str())
    }
}
