//! What is simulated: services, calls, entry traffic, faults. Written as JSON; `docs/simulation.md` explains each field.
//!
//! A plan is checked as a whole before anything runs, and every problem is reported at once ([`PlanError`]).
//! Times are relative to the start of the run: seconds end in `_s`, milliseconds in `_ms`.

mod check;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A mesh, its traffic and what goes wrong in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it is called in reports.
    #[serde(default)]
    pub name: String,
    /// Length of the run.
    pub seconds: u64,
    /// The services.
    pub services: Vec<ServicePlan>,
    /// Traffic from outside.
    pub entries: Vec<EntryPlan>,
    /// Share of the traces that is kept. Only spans tell of a call between two services without sidecars.
    #[serde(default = "whole")]
    pub sampled: f64,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePlan {
    /// `namespace/name`.
    pub name: String,
    /// Processes, each with a sidecar of its own.
    #[serde(default = "one")]
    pub replicas: u16,
    /// Requests that one replica works on at once; a request holds its place until it is answered.
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// Requests that wait in one replica; more are answered with a failure.
    #[serde(default = "queue")]
    pub queue: u32,
    /// Time of its own that a request takes: log-normal with this median.
    pub median_ms: f64,
    /// Sigma of the log-normal.
    #[serde(default = "spread")]
    pub spread: f64,
    /// Share of requests that fail on a good day.
    #[serde(default)]
    pub failing: f64,
    /// Whether a sidecar stands beside it.
    #[serde(default = "yes")]
    pub sidecar: bool,
    /// Whether it passes trace context on, so that its sidecar knows which call belongs to which request.
    #[serde(default = "yes")]
    pub traced: bool,
    /// How far its host's clock is ahead of the true time.
    #[serde(default)]
    pub clock_ahead_ms: i64,
    /// Which of its calls a request makes.
    #[serde(default)]
    pub makes: Makes,
    /// Calls to others.
    #[serde(default)]
    pub calls: Vec<CallPlan>,
}

/// Which calls a request makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Makes {
    /// Each with its own share.
    #[default]
    All,
    /// One, drawn by the shares.
    One,
}

/// One kind of call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallPlan {
    /// Who is called.
    pub server: String,
    /// Share of the requests that make it.
    #[serde(default = "whole")]
    pub share: f64,
    /// Calls of one stage are made at once, stages one after the other.
    #[serde(default)]
    pub stage: u8,
    /// Whether the request fails when the call does.
    #[serde(default = "yes")]
    pub required: bool,
    /// Time for the call with all its attempts.
    #[serde(default = "timeout")]
    pub timeout_ms: f64,
    /// Time for one attempt; the whole when left out.
    #[serde(default)]
    pub per_try_ms: Option<f64>,
    /// Attempts after the first.
    #[serde(default)]
    pub retries: u32,
    /// Whether the sidecar's retry budget bounds them.
    #[serde(default = "yes")]
    pub budget: bool,
    /// Whether the sidecar's breakers guard it.
    #[serde(default = "yes")]
    pub breaker: bool,
    /// Failures in a row that trip the breaker; the sidecar's default when left out.
    #[serde(default)]
    pub consecutive_failures: Option<u32>,
    /// Time on the network, one way.
    #[serde(default = "network")]
    pub network_ms: f64,
}

/// Traffic from outside: open loop, Poisson arrivals. Whoever sends it has no sidecar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryPlan {
    /// Who is called.
    pub server: String,
    /// Mean rate.
    pub per_second: f64,
    /// Time after which a user leaves.
    #[serde(default = "patience")]
    pub patience_ms: f64,
    /// How often a user asks again after a failure.
    #[serde(default)]
    pub asks_again: u32,
    /// Share by which the rate swings up and down around its mean.
    #[serde(default)]
    pub swing: f64,
    /// Length of one swing.
    #[serde(default = "day")]
    pub swing_s: f64,
    /// Factor that the rate has reached at the end of the run, from 1 at its start.
    #[serde(default = "whole")]
    pub ramp: f64,
}

/// What goes wrong, from when to when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// The service at fault; of an edge, its server.
    pub service: String,
    /// The client, of faults of an edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// When it begins.
    pub from_s: f64,
    /// When it ends.
    pub to_s: f64,
    /// Share of requests, of places, or of lost packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Added time, or the wrong time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    /// Factor of the demand or of the time, number of retries, or number of failures in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<f64>,
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A share of its requests fails (`ratio`).
    Errors,
    /// Each request takes longer (`ms`).
    Latency,
    /// Application and sidecar are gone.
    Crash,
    /// The first replica fails a share of its requests (`ratio`).
    BadReplica,
    /// The network of one edge is slower (`ms`).
    EdgeDelay,
    /// Packets of one edge are lost (`ratio`) and sent again after 200 ms, then 400 ms and so on.
    EdgeLoss,
    /// The application refuses connections; its sidecar lives and says so.
    Refusal,
    /// Only a share of its places is left (`ratio`).
    CapacityLoss,
    /// Users send more (`times`).
    DemandSurge,
    /// One service calls another more often per request (`times`).
    ExtraCalls,
    /// One edge retries without a budget (`times` retries).
    RetriesWithoutBudget,
    /// One edge waits too short a time (`ms`).
    WrongTimeout,
    /// The service fails its requests from the very start (`ratio`).
    Misconfigured,
    /// The breakers of one edge trip at too few failures (`times`).
    LowThreshold,
    /// Clients of a service they share disturb each other: its time grows with the requests in it (`ms` each).
    Contention,
    /// Each request takes longer the longer it lasts, up to `ms`.
    SlowLeak,
    /// A new version is slower (`ms`) and fails a share (`ratio`).
    BadDeploy,
    /// A share of its requests (`ratio`) is answered with 4xx at once: their client asked for nonsense.
    ClientErrors,
    /// Its host stands still for `ms` from the begin on: whatever is at work then ends so much later.
    Pause,
    /// Its host is overloaded: its own time is `times` as long.
    Sluggish,
}

/// Why a plan cannot be run.
#[derive(Debug, Error)]
pub enum PlanError {
    /// It is not JSON, or not of this form.
    #[error("the plan is not valid JSON of this form")]
    Syntax(#[source] serde_json::Error),
    /// It contradicts itself or leaves the range that can be simulated.
    #[error("the plan has {} problem(s):\n  {}", .0.len(), .0.join("\n  "))]
    Invalid(Vec<String>),
}

impl Plan {
    /// Reads a plan and checks it.
    ///
    /// # Errors
    /// When it is not JSON of this form, or contradicts itself; all problems at once.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(text).map_err(PlanError::Syntax)?;
        plan.check()?;
        Ok(plan)
    }

    /// Its JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The same plan with only those faults that `keep` wants, by their place in the list.
    #[must_use]
    pub fn with_faults(&self, keep: impl Fn(usize) -> bool) -> Self {
        let faults = self.faults.iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, fault)| fault.clone());
        Self { faults: faults.collect(), ..self.clone() }
    }
}

impl ServicePlan {
    /// A service with the defaults of the format.
    #[must_use]
    pub fn new(name: &str, median_ms: f64) -> Self {
        Self {
            name: name.to_owned(),
            replicas: one(),
            concurrency: concurrency(),
            queue: queue(),
            median_ms,
            spread: spread(),
            failing: 0.0,
            sidecar: true,
            traced: true,
            clock_ahead_ms: 0,
            makes: Makes::All,
            calls: Vec::new(),
        }
    }
}

impl CallPlan {
    /// A call with the defaults of the format.
    #[must_use]
    pub fn new(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            share: 1.0,
            stage: 0,
            required: true,
            timeout_ms: timeout(),
            per_try_ms: None,
            retries: 0,
            budget: true,
            breaker: true,
            consecutive_failures: None,
            network_ms: network(),
        }
    }
}

impl EntryPlan {
    /// Traffic with the defaults of the format.
    #[must_use]
    pub fn new(server: &str, per_second: f64) -> Self {
        Self {
            server: server.to_owned(),
            per_second,
            patience_ms: patience(),
            asks_again: 0,
            swing: 0.0,
            swing_s: day(),
            ramp: 1.0,
        }
    }
}

const fn one() -> u16 {
    1
}
const fn concurrency() -> u32 {
    64
}
const fn queue() -> u32 {
    256
}
const fn spread() -> f64 {
    0.4
}
const fn yes() -> bool {
    true
}
const fn whole() -> f64 {
    1.0
}
const fn timeout() -> f64 {
    1000.0
}
const fn network() -> f64 {
    0.3
}
const fn patience() -> f64 {
    5000.0
}
const fn day() -> f64 {
    86_400.0
}
