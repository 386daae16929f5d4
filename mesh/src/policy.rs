//! Our own policies: what clients and proxies do beyond what App Mesh's documents can say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tripline_model::ServiceName;

use crate::{RequestHead, RouteMatch};

/// All policies of a mesh.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policies {
    /// By the node that is called.
    pub traffic: BTreeMap<ServiceName, Arc<TrafficPolicy>>,
    /// Who may call what.
    pub authorization: Vec<AuthorizationPolicy>,
    /// How often.
    pub rate_limits: Vec<RateLimit>,
    /// What is to go wrong on purpose.
    pub faults: Vec<FaultInjection>,
}

/// What one proxy carries out of them itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodePolicies {
    /// Who may call this node.
    pub authorization: Vec<AuthorizationPolicy>,
    /// How often this node may be called.
    pub rate_limits: Vec<RateLimit>,
    /// What is to go wrong with this node's own calls.
    pub faults: Vec<FaultInjection>,
}

/// How clients call one node. What is `None` or empty stays as it is without the policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Time in which a new endpoint's share grows to its full size; zero for none.
    pub slow_start: Option<Duration>,
    /// The breaker of each endpoint.
    pub endpoint_breaker: Option<BreakerRules>,
    /// A breaker for each route to the node; without it there is none.
    pub route_breaker: Option<BreakerRules>,
    /// A breaker for the node as a whole; without it there is none.
    pub service_breaker: Option<BreakerRules>,
    /// Limits in number.
    pub limits: Limits,
    /// Retries as a share of the requests, in percent.
    pub retry_percent: Option<u8>,
    /// Retries that are allowed in any case, a second.
    pub retries_per_second: Option<u32>,
    /// Endpoints instead of the node's own discovery.
    pub endpoints: Vec<SocketAddr>,
    /// A file with endpoints, one a line, read again when it changes.
    pub endpoints_file: Option<String>,
}

/// How an endpoint is chosen among several.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// Of two drawn at random the one with the smaller product of latency and load.
    #[default]
    PeakEwma,
    /// Each in turn.
    RoundRobin,
    /// Of two drawn at random the one with fewer requests on their way.
    LeastRequests,
    /// Always the same for the same key, as long as the endpoints stay.
    RingHash(HashKey),
}

/// What a ring hash looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A header, lower case.
    Header(String),
    /// A cookie.
    Cookie(String),
}

/// Rules of a breaker; what is `None` has the default of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BreakerRules {
    /// Failures in a row; 0 switches the rule off.
    pub consecutive_failures: Option<u32>,
    /// Share of failures in the window; 0 switches the rule off.
    pub failure_percent: Option<u8>,
    /// Share of slow answers in the window; 0 switches the rule off.
    pub slow_percent: Option<u8>,
    /// What is slow.
    pub slower_than: Option<Duration>,
    /// Requests in the window below which shares say nothing.
    pub minimum_requests: Option<u32>,
    /// The window.
    pub window: Option<Duration>,
    /// First open time.
    pub open_time: Option<Duration>,
    /// Longest open time.
    pub longest_open_time: Option<Duration>,
    /// Probes at once.
    pub probes: Option<u32>,
    /// Longest time of a probe.
    pub probe_deadline: Option<Duration>,
    /// Successful probes that close it.
    pub successes_to_close: Option<u32>,
    /// Share of the endpoints that may be ejected at once; of the endpoints' breakers only.
    pub max_ejection_percent: Option<u8>,
}

/// Limits of a client towards one node. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests on connections at once.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection.
    pub max_pending_requests: Option<u32>,
    /// Requests in all.
    pub max_requests: Option<u32>,
}

/// Who calls, as a policy names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Everybody.
    Any,
    /// Callers from outside the mesh.
    User,
    /// All of a namespace.
    Namespace(String),
    /// One service.
    Service(ServiceName),
}

impl Identity {
    /// Whether a client is meant.
    #[must_use]
    pub fn covers(&self, client: &ServiceName) -> bool {
        match self {
            Self::Any => true,
            Self::User => *client == ServiceName::user(),
            Self::Namespace(namespace) => client.namespace() == namespace,
            Self::Service(service) => client == service,
        }
    }
}

/// Whether a list of identities covers a client; an empty one covers all.
fn any_covers(identities: &[Identity], client: &ServiceName) -> bool {
    identities.is_empty() || identities.iter().any(|identity| identity.covers(client))
}

/// What a rule says about the requests it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// They may pass; with one such policy nothing else may.
    Allow,
    /// They may not, whatever else is said.
    Deny,
}

/// Who may call what of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationPolicy {
    /// `metadata.namespace/metadata.name`.
    pub id: ServiceName,
    /// The node that is guarded.
    pub node: ServiceName,
    /// What its rules say.
    pub action: Action,
    /// Any of them suffices; none covers nothing.
    pub rules: Vec<AuthorizationRule>,
}

/// One rule: whose and which requests.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizationRule {
    /// Whose; all when empty.
    pub clients: Vec<Identity>,
    /// Which; all without it.
    pub matches: Option<RouteMatch>,
}

impl AuthorizationPolicy {
    /// Decides with all policies of a node: denied ones first, then, if any policy allows at all, what none allows. The
    /// answer is the policy that denies; `None` within when no policy allows.
    ///
    /// # Errors
    /// The denying policy.
    pub fn decide<'p>(
        policies: &'p [Self],
        client: &ServiceName,
        head: &impl RequestHead,
    ) -> Result<(), Option<&'p ServiceName>> {
        let of = |action| policies.iter().filter(move |policy| policy.action == action);
        if let Some(policy) = of(Action::Deny).find(|policy| policy.covers(client, head)) {
            return Err(Some(&policy.id));
        }
        let mut allowing = of(Action::Allow).peekable();
        if allowing.peek().is_none() || allowing.any(|policy| policy.covers(client, head)) {
            return Ok(());
        }
        Err(None)
    }

    fn covers(&self, client: &ServiceName, head: &impl RequestHead) -> bool {
        let holds = |matches: &RouteMatch| matches.matches(head);
        self.rules.iter().any(|rule| any_covers(&rule.clients, client) && rule.matches.as_ref().is_none_or(holds))
    }
}

/// How often requests may come.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    /// `metadata.namespace/metadata.name`.
    pub id: ServiceName,
    /// The node that is guarded.
    pub node: ServiceName,
    /// Which requests count; all without it.
    pub matches: Option<RouteMatch>,
    /// Whether each client has its own allowance; otherwise all share one.
    pub per_client: bool,
    /// So many requests...
    pub requests: u32,
    /// ...in this time.
    pub period: Duration,
    /// So many at once; at least 1.
    pub burst: u32,
}

/// What is to go wrong on purpose with calls to one node.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultInjection {
    /// `metadata.namespace/metadata.name`.
    pub id: ServiceName,
    /// The node that is called.
    pub node: ServiceName,
    /// Whose calls; all when empty.
    pub clients: Vec<Identity>,
    /// Which calls; all without it.
    pub matches: Option<RouteMatch>,
    /// Share in percent, and how long they wait.
    pub delay: Option<(u8, Duration)>,
    /// Share in percent, and the status they get.
    pub abort: Option<(u8, u16)>,
}

impl FaultInjection {
    /// Whether it is about a client's calls at all.
    #[must_use]
    pub fn concerns(&self, client: &ServiceName) -> bool {
        any_covers(&self.clients, client)
    }
}

impl Policies {
    /// What the proxy of one node carries out itself.
    pub(crate) fn of_node(&self, node: &ServiceName) -> NodePolicies {
        NodePolicies {
            authorization: self.authorization.iter().filter(|policy| policy.node == *node).cloned().collect(),
            rate_limits: self.rate_limits.iter().filter(|policy| policy.node == *node).cloned().collect(),
            faults: self.faults.iter().filter(|policy| policy.concerns(node)).cloned().collect(),
        }
    }
}
