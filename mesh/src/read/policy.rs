//! Our own policies.

use std::sync::Arc;

use super::{Reader, cursor};
use crate::cursor::Cursor;
use crate::index::Kind;
use crate::select::Document;
use crate::yaml::shown;
use crate::{
    Action, AuthorizationPolicy, AuthorizationRule, Balance, BreakerRules, FaultInjection, HashKey, Identity, Limits,
    ListenerProtocol, Policies, RateLimit, RouteMatch, TrafficPolicy,
};

/// What a value of `virtualNodeRef` is about, with the document it is in.
struct Subject<'d> {
    id: tripline_model::ServiceName,
    node: tripline_model::ServiceName,
    spec: Cursor<'d>,
}

impl Reader<'_, '_> {
    /// The policies among the documents.
    pub(super) fn policies(&mut self, documents: &[Document<'_>]) -> Policies {
        let mut policies = Policies::default();
        for document in documents {
            match document.kind.name {
                "TrafficPolicy" => self.traffic(document, &mut policies),
                "AuthorizationPolicy" => policies.authorization.extend(self.authorization(document)),
                "RateLimit" => policies.rate_limits.extend(self.rate_limit(document)),
                "FaultInjection" => policies.faults.extend(self.fault(document)),
                _ => {}
            }
        }
        policies
    }

    fn subject<'d>(&mut self, document: &'d Document<'_>) -> Option<Subject<'d>> {
        let spec = cursor(document);
        let kind = if spec.get("virtualGatewayRef").is_some() { Kind::Gateway } else { Kind::Node };
        let node = self.index.resolve(kind, &spec, document.id.namespace(), self.findings)?;
        Some(Subject { id: document.id.clone(), node, spec })
    }

    fn traffic(&mut self, document: &Document<'_>, policies: &mut Policies) {
        let Some(Subject { node, spec, .. }) = self.subject(document) else { return };
        if policies.traffic.contains_key(&node) {
            let message = format!("expected one TrafficPolicy for each virtual node, {node} has one already");
            self.findings.problem(spec.place(), message);
            return;
        }
        let breakers = spec.get("breakers");
        let rules = |which: &str| breakers.as_ref().and_then(|all| all.get(which)).as_ref().map(breaker_rules);
        let limits = spec.get("limits");
        let limit = |which: &str| limits.as_ref().and_then(|limits| limits.number(which));
        let budget = spec.get("retryBudget");
        if spec.get("endpoints").is_some() && spec.get("endpointsFile").is_some() {
            self.findings.problem(spec.place(), "expected endpoints or endpointsFile, got both");
        }
        let policy = TrafficPolicy {
            balance: self.balance(&spec),
            slow_start: spec.get("loadBalancing").and_then(|balance| balance.duration("slowStart")),
            endpoint_breaker: rules("endpoint"),
            route_breaker: rules("route"),
            service_breaker: rules("service"),
            limits: Limits {
                max_connections: limit("maxConnections"),
                max_pending_requests: limit("maxPendingRequests"),
                max_requests: limit("maxRequests"),
            },
            retry_percent: budget.as_ref().and_then(|budget| budget.number("percent")),
            retries_per_second: budget.as_ref().and_then(|budget| budget.number("perSecond")),
            endpoints: self.endpoints(&spec),
            endpoints_file: spec.text("endpointsFile").map(str::to_owned),
        };
        policies.traffic.insert(node, Arc::new(policy));
    }

    fn balance(&mut self, spec: &Cursor<'_>) -> Balance {
        let Some(written) = spec.get("loadBalancing") else { return Balance::default() };
        let header = written.text("hashHeader").map(|name| HashKey::Header(name.to_ascii_lowercase()));
        let cookie = written.text("hashCookie").map(|name| HashKey::Cookie(name.to_owned()));
        let algorithm = written.text("algorithm").unwrap_or("PEAK_EWMA");
        match (algorithm, header, cookie) {
            ("RING_HASH", Some(key), None) | ("RING_HASH", None, Some(key)) => return Balance::RingHash(key),
            ("RING_HASH", ..) => {
                let message = "expected one of hashHeader and hashCookie beside algorithm RING_HASH";
                self.findings.problem(written.place(), message);
            }
            (_, None, None) => {}
            _ => self.findings.problem(written.place(), "expected hashHeader and hashCookie with RING_HASH only"),
        }
        match algorithm {
            "ROUND_ROBIN" => Balance::RoundRobin,
            "LEAST_REQUESTS" => Balance::LeastRequests,
            _ => Balance::PeakEwma,
        }
    }

    fn endpoints(&mut self, spec: &Cursor<'_>) -> Vec<std::net::SocketAddr> {
        let mut endpoints = Vec::new();
        for written in spec.list("endpoints") {
            let Some(text) = written.as_text() else { continue };
            match text.parse() {
                Ok(address) => endpoints.push(address),
                Err(_) => {
                    let message = format!("expected IP:PORT, got \"{}\"", shown(text));
                    self.findings.problem(written.place(), message);
                }
            }
        }
        endpoints
    }

    fn authorization(&mut self, document: &Document<'_>) -> Option<AuthorizationPolicy> {
        let Subject { id, node, spec } = self.subject(document)?;
        let action = if spec.text("action") == Some("DENY") { Action::Deny } else { Action::Allow };
        let written = spec.list("rules");
        if written.is_empty() && !document.broken {
            let what = if action == Action::Allow { "denies every request" } else { "denies nothing" };
            self.findings.warn(spec.place(), format!("a policy without rules {what}"));
        }
        let mut rules = Vec::new();
        for rule in &written {
            let clients = self.identities(rule);
            rules.push(AuthorizationRule { clients, matches: self.optional_match(rule) });
        }
        Some(AuthorizationPolicy { id, node, action, rules })
    }

    fn rate_limit(&mut self, document: &Document<'_>) -> Option<RateLimit> {
        let Subject { id, node, spec } = self.subject(document)?;
        let requests = spec.number("requests")?;
        Some(RateLimit {
            id,
            node,
            matches: self.optional_match(&spec),
            per_client: spec.text("per") != Some("ALL"),
            requests,
            period: spec.duration("period")?,
            burst: spec.number("burst").unwrap_or(requests),
        })
    }

    fn fault(&mut self, document: &Document<'_>) -> Option<FaultInjection> {
        let Subject { id, node, spec } = self.subject(document)?;
        let delay = spec.get("delay").and_then(|delay| Some((delay.number("percent")?, delay.duration("duration")?)));
        let abort = spec.get("abort").and_then(|abort| Some((abort.number("percent")?, abort.number("status")?)));
        if delay.is_none() && abort.is_none() && !document.broken {
            self.findings.warn(spec.place(), "a policy with neither delay nor abort does nothing");
        }
        let clients = self.identities(&spec);
        Some(FaultInjection { id, node, clients, matches: self.optional_match(&spec), delay, abort })
    }

    fn optional_match(&mut self, holder: &Cursor<'_>) -> Option<RouteMatch> {
        let written = holder.get("match")?;
        if written.get("prefix").is_some() && written.get("path").is_some() {
            self.findings.problem(written.place(), "expected prefix or path, got both");
        }
        Some(self.matching(holder, ListenerProtocol::Http))
    }

    fn identities(&mut self, holder: &Cursor<'_>) -> Vec<Identity> {
        let mut identities = Vec::new();
        for written in holder.list("clients") {
            let Some(text) = written.as_text() else { continue };
            identities.push(match (text, text.split_once('/')) {
                ("*", _) => Identity::Any,
                ("user", _) => Identity::User,
                (_, Some((namespace, "*"))) if !namespace.is_empty() => Identity::Namespace(namespace.to_owned()),
                (_, Some((namespace, name))) if !namespace.is_empty() && !name.is_empty() => {
                    Identity::Service(tripline_model::ServiceName::new(namespace, name))
                }
                _ => {
                    let message = format!("expected NAMESPACE/NAME, NAMESPACE/*, * or user, got \"{}\"", shown(text));
                    self.findings.problem(written.place(), message);
                    continue;
                }
            });
        }
        identities
    }
}

fn breaker_rules(written: &Cursor<'_>) -> BreakerRules {
    BreakerRules {
        consecutive_failures: written.number("consecutiveFailures"),
        failure_percent: written.number("failurePercent"),
        slow_percent: written.number("slowPercent"),
        slower_than: written.duration("slowerThan"),
        minimum_requests: written.number("minimumRequests"),
        window: written.duration("window"),
        open_time: written.duration("openTime"),
        longest_open_time: written.duration("longestOpenTime"),
        probes: written.number("probes"),
        probe_deadline: written.duration("probeDeadline"),
        successes_to_close: written.number("successesToClose"),
        max_ejection_percent: written.number("maxEjectionPercent"),
    }
}
