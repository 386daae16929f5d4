//! An incident as everyone may see it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tripline_model::{EdgeKey, Ratio, ServiceName, Timestamp};

use crate::detect::{Hop, Suspect, SuspectKind};

/// How far a fault has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One degraded service, nobody who depends on it.
    Local,
    /// A dependent is degraded because of it.
    Propagating,
    /// Two or more hops, breakers open in a chain, or an entry point reached through a service between.
    Cascade,
    /// A cascade that retries make worse.
    Amplifying,
    /// The origin is well again, the degradation stays.
    SelfSustaining,
}

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Just opened.
    Starting,
    /// A service joined within the last minute.
    Spreading,
    /// None joined for a minute.
    Contained,
    /// The origin is well.
    Recovering,
    /// Over.
    Resolved,
}

/// Something worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It was opened.
    Opened,
    /// Its level rose.
    LevelRose,
    /// Another suspected origin is first now.
    OriginChanged,
    /// It is over.
    Resolved,
}

/// What a piece of evidence is about; its number is in [`Evidence::value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceKind {
    /// Share of the entry points' failed requests that started at the suspect, in 0..=1.
    ExplainsFailures,
    /// Share of the entry points' added latency that the suspect added, in 0..=1.
    ExplainsLatency,
    /// Failed requests that started at the suspect.
    OwnErrors,
    /// Requests that got no answer from the suspect.
    NoAnswer,
    /// Seconds of self time above normal, per request.
    OwnLatency,
    /// Seconds from the start of the incident to the opening of the first breaker on a way to the suspect.
    BreakerOpen,
    /// Attempts per request on the worst edge into the suspect.
    Retries,
    /// Requests that reach the slowest service, in multiples of those in the minute before.
    Demand,
    /// Seconds that a client waits beyond the server's own time, above normal, per request.
    NetworkGap,
}

impl EvidenceKind {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExplainsFailures => "explains_failures",
            Self::ExplainsLatency => "explains_latency",
            Self::OwnErrors => "own_errors",
            Self::NoAnswer => "no_answer",
            Self::OwnLatency => "own_latency",
            Self::BreakerOpen => "breaker_open",
            Self::Retries => "retries",
            Self::Demand => "demand",
            Self::NetworkGap => "network_gap",
        }
    }
}

/// One typed piece of evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What it is about.
    pub kind: EvidenceKind,
    /// One sentence for people.
    pub text: String,
    /// Its number, in the unit of its kind.
    pub value: f64,
    /// What was counted for it: windows that start in `[from, to)`, in whole seconds. With these and the baseline it can be computed again.
    pub span: (Timestamp, Timestamp),
}

/// A suspect with what speaks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Who.
    pub suspect: Suspect,
    /// Of what.
    pub kind: SuspectKind,
    /// Share of the targets' excess that goes away without its own.
    pub score: Ratio,
    /// What speaks for it.
    pub evidence: Vec<Evidence>,
}

/// How much one entry point suffers, since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryHurt {
    /// The entry point.
    pub service: ServiceName,
    /// Its requests.
    pub requests: u64,
    /// Failed ones among them.
    pub failed: u64,
    /// Seconds of latency above normal, per request.
    pub slower: f64,
}

/// Whom an incident hurts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Blast {
    /// Services that were degraded at some time, the first candidate not included.
    pub services: BTreeSet<ServiceName>,
    /// Edges that were degraded at some time.
    pub edges: Arc<BTreeSet<EdgeKey>>,
    /// Entry points among them, by name.
    pub entries: Vec<EntryHurt>,
    /// Requests at all entry points, since the start.
    pub requests: u64,
    /// Failed ones among them.
    pub failed: u64,
}

/// One incident as everyone may see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// A ULID made of the time of detection and what was degraded first: the same recording gives the same id.
    pub id: String,
    /// The highest level it has reached.
    pub level: Level,
    /// Where it stands.
    pub phase: Phase,
    /// Onset of the first degradation.
    pub started: Timestamp,
    /// When it was opened.
    pub detected: Timestamp,
    /// When it was last brought up to date with a change.
    pub updated: Timestamp,
    /// When it ended.
    pub resolved: Option<Timestamp>,
    /// Best first.
    pub candidates: Vec<Candidate>,
    /// Share of the targets' excess that no candidate explains.
    pub unexplained: Ratio,
    /// Hops in causal order.
    pub path: Arc<Vec<Hop>>,
    /// Whom it hurts.
    pub blast: Blast,
    /// Attempts per request on the worst edge into the first candidate.
    pub attempts_per_request: f64,
    /// Requests that reach the service that suffers most from growing demand, in multiples of those before; 1 when demand did not grow.
    pub demand: f64,
    /// Breaker openings.
    pub trips: u64,
    /// Breaker openings, and tests of edges in it that turned bad: what rules of their own would have sent.
    pub raw_alerts: u64,
    /// Notices given.
    pub notices: u64,
}

impl Incident {
    /// The best candidate.
    #[must_use]
    pub fn origin(&self) -> Option<&Suspect> {
        self.candidates.first().map(|candidate| &candidate.suspect)
    }
}
