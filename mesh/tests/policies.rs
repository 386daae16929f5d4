//! Our own kinds through the public interface: what a proxy gets of them, and what is refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail it")]

use std::time::Duration;

use tripline_mesh::{
    Action, AuthorizationPolicy, Balance, HashKey, Identity, LogFormat, Mesh, NodeConfig, Problems, RequestHead, Source,
};
use tripline_model::ServiceName;

const SHOP: &str = "apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata: { name: shop }
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: { name: web, namespace: shop }
spec:
  backends: [ { virtualService: { virtualServiceRef: { name: payments } } } ]
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata: { name: payments, namespace: shop }
spec:
  listeners: [ { portMapping: { port: 80, protocol: http } } ]
  serviceDiscovery: { dns: { hostname: payments } }
  logging: { accessLog: { file: { path: /dev/stdout, format: { json: [ { key: s, value: \"%RESPONSE_CODE%\" } ] } } } }
---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata: { name: payments, namespace: shop }
spec: { provider: { virtualNode: { virtualNodeRef: { name: payments } } } }
";

fn with(policies: &[(&str, &str)]) -> Result<Mesh, Problems> {
    let mut text = SHOP.to_owned();
    for (kind, spec) in policies {
        text += &format!(
            "---\napiVersion: tripline.dev/v1\nkind: {kind}\nmetadata: {{ name: p, namespace: shop }}\nspec:\n  virtualNodeRef: {{ name: payments }}\n{spec}"
        );
    }
    Mesh::parse(&[Source { name: "m", text: &text }]).map(|loaded| loaded.mesh)
}

fn config(node: &str, policies: &[(&str, &str)]) -> NodeConfig {
    with(policies).unwrap_or_else(|problems| panic!("{problems}")).node_config(&ServiceName::from(node)).unwrap()
}

struct Head(&'static str, &'static str);

impl RequestHead for Head {
    fn method(&self) -> &str {
        self.0
    }
    fn path(&self) -> &str {
        self.1
    }
    fn query(&self) -> &str {
        ""
    }
    fn header(&self, _: &str) -> Option<std::borrow::Cow<'_, str>> {
        None
    }
    fn scheme(&self) -> &str {
        "http"
    }
    fn port(&self) -> Option<u16> {
        None
    }
}

#[test]
fn clients_get_the_traffic_policy_of_whom_they_call() {
    let spec = "  loadBalancing: { algorithm: RING_HASH, hashHeader: X-User, slowStart: { unit: s, value: 5 } }
  breakers: { endpoint: { consecutiveFailures: 3 }, route: { failurePercent: 30 } }
  limits: { maxRequests: 10 }
  retryBudget: { percent: 5, perSecond: 0 }
  endpoints: [ \"10.0.0.1:80\", \"[::1]:81\" ]
";
    let web = config("shop/web", &[("TrafficPolicy", spec)]);
    let target = &web.services[0].routes[0].targets[0];
    let policy = target.policy.as_ref().unwrap();
    assert_eq!(policy.balance, Balance::RingHash(HashKey::Header("x-user".into())));
    assert_eq!(policy.slow_start, Some(Duration::from_secs(5)));
    assert_eq!(policy.endpoint_breaker.unwrap().consecutive_failures, Some(3));
    assert_eq!((policy.route_breaker.unwrap().failure_percent, policy.service_breaker), (Some(30), None));
    assert_eq!(
        (policy.limits.max_requests, policy.retry_percent, policy.retries_per_second),
        (Some(10), Some(5), Some(0))
    );
    assert_eq!(policy.endpoints.len(), 2);
    assert_eq!(target.per_request, Some(Duration::from_secs(15)));
    assert!(config("shop/web", &[]).services[0].routes[0].targets[0].policy.is_none());
}

#[test]
fn each_proxy_gets_what_it_carries_out() {
    let policies = [
        ("RateLimit", "  requests: 100\n  period: { unit: s, value: 1 }\n  match: { prefix: /pay, method: POST }\n"),
        ("FaultInjection", "  clients: [ shop/web ]\n  abort: { percent: 50, status: 503 }\n"),
        ("AuthorizationPolicy", "  rules: [ { clients: [ shop/*, user ] } ]\n"),
    ];
    let (web, payments) = (config("shop/web", &policies).policies, config("shop/payments", &policies).policies);
    assert_eq!((web.rate_limits.len(), web.faults.len(), web.authorization.len()), (0, 1, 0));
    assert_eq!((payments.rate_limits.len(), payments.faults.len(), payments.authorization.len()), (1, 0, 1));
    let limit = &payments.rate_limits[0];
    assert_eq!((limit.requests, limit.burst, limit.per_client, limit.period), (100, 100, true, Duration::from_secs(1)));
    assert_eq!(payments.authorization[0].rules[0].clients, [Identity::Namespace("shop".into()), Identity::User]);
    assert_eq!(web.faults[0].abort, Some((50, 503)));
    let log = config("shop/payments", &[]).access_log.unwrap();
    assert_eq!(log.format, LogFormat::Json(vec![("s".into(), "%RESPONSE_CODE%".into())]));
}

#[test]
fn deny_wins_and_what_nobody_allows_is_denied_only_when_somebody_allows() {
    let rules = |action: &str, rule: &str| format!("  action: {action}\n  rules: [ {rule} ]\n");
    let allow = rules("ALLOW", "{ clients: [ shop/web ], match: { prefix: /pay } }");
    let deny = rules("DENY", "{ match: { method: DELETE } }");
    let decide = |policies: &[(&str, &str)], client: &str, head: Head| {
        let policies = config("shop/payments", policies).policies.authorization;
        AuthorizationPolicy::decide(&policies, &ServiceName::from(client), &head).is_ok()
    };
    let (allowing, denying) = (("AuthorizationPolicy", allow.as_str()), ("AuthorizationPolicy", deny.as_str()));
    for (policies, client, head, expected) in [
        (&[][..], "shop/any", Head("DELETE", "/"), true),
        (&[denying][..], "shop/any", Head("GET", "/"), true),
        (&[denying][..], "shop/web", Head("DELETE", "/pay"), false),
        (&[allowing][..], "shop/web", Head("GET", "/pay/1"), true),
        (&[allowing][..], "shop/web", Head("GET", "/refund"), false),
        (&[allowing][..], "shop/search", Head("GET", "/pay"), false),
        (&[allowing, denying][..], "shop/web", Head("DELETE", "/pay"), false),
    ] {
        assert_eq!(decide(policies, client, Head(head.0, head.1)), expected, "{client} {} {}", head.0, head.1);
    }
    let mut nothing = config("shop/payments", &[allowing]).policies.authorization;
    nothing[0].rules.clear();
    assert_eq!(nothing[0].action, Action::Allow);
    assert!(AuthorizationPolicy::decide(&nothing, &ServiceName::from("shop/web"), &Head("GET", "/")).is_err());
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    for (kind, spec, problem) in [
        (
            "TrafficPolicy",
            "  loadBalancing: { algorithm: RING_HASH }\n",
            "spec.loadBalancing: expected one of hashHeader and hashCookie",
        ),
        (
            "TrafficPolicy",
            "  loadBalancing: { hashCookie: a }\n",
            "spec.loadBalancing: expected hashHeader and hashCookie with RING_HASH only",
        ),
        ("TrafficPolicy", "  endpoints: [ localhost ]\n", "spec.endpoints[0]: expected IP:PORT, got \"localhost\""),
        (
            "TrafficPolicy",
            "  endpoints: [ \"1.1.1.1:1\" ]\n  endpointsFile: f\n",
            "spec: expected endpoints or endpointsFile, got both",
        ),
        (
            "AuthorizationPolicy",
            "  rules: [ { clients: [ web ] } ]\n",
            "spec.rules[0].clients[0]: expected NAMESPACE/NAME",
        ),
        ("RateLimit", "  requests: 0\n  period: { unit: s, value: 1 }\n", "spec.requests: expected a number in 1..="),
        (
            "FaultInjection",
            "  abort: { percent: 101, status: 503 }\n",
            "spec.abort.percent: expected a number in 1..=100",
        ),
    ] {
        let problems = with(&[(kind, spec)]).unwrap_err().to_string();
        assert!(problems.contains(problem), "{problems}");
    }
    let twice = with(&[("TrafficPolicy", ""), ("TrafficPolicy", "")]).unwrap_err().to_string();
    assert!(twice.contains("expected one TrafficPolicy for each virtual node"), "{twice}");
}
