//! The shop: which services there are, how long they take, and whom they call for which path.
//!
//! ```text
//! user > gateway > web > catalogue > search
//!                      |           > recommendations (optional)
//!                      > cart      > pricing
//!                      > checkout  > pricing, inventory
//!                                  > payments > payments-db
//!                                  > notifications (optional)
//! ```
//!
//! The four paths of the load stay as they are from the gateway to the service that deals with them, so that prefix
//! routes have something to match. Each service bounds the time of a request at its own sidecar, and the bound grows
//! towards the users: what hangs is given up first by those next to it, not by everybody at once.

use std::time::Duration;

use tripline_model::ServiceName;

/// Namespace of every service, and name of the mesh.
pub const NAMESPACE: &str = "shop";

/// How long a service waits for another before it gives up; longer than every sidecar's own bound.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

/// One service of the shop.
#[derive(Debug)]
pub struct ServiceSpec {
    /// Its name within [`NAMESPACE`].
    pub name: &'static str,
    /// Median of the time it spends itself on a request, in microseconds.
    pub median_us: u32,
    /// After so many milliseconds its sidecar gives a request up.
    pub timeout_ms: u32,
    /// What it answers; any other path is not found.
    pub routes: &'static [RouteSpec],
}

/// What a service does for the paths under a prefix.
#[derive(Debug)]
pub struct RouteSpec {
    /// First segments of the path.
    pub prefix: &'static str,
    /// Calls out: stages one after the other, the calls of one stage at once.
    pub stages: &'static [&'static [CallSpec]],
}

/// One call to another service.
#[derive(Debug, Clone, Copy)]
pub struct CallSpec {
    /// Its name.
    pub service: &'static str,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Path and nothing else.
    pub path: &'static str,
    /// What a failure means.
    pub need: Need,
}

/// What the failure of a call means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The caller fails, too.
    Required,
    /// The caller answers without it.
    Optional,
}

const fn get(service: &'static str, path: &'static str) -> CallSpec {
    CallSpec { service, method: "GET", path, need: Need::Required }
}

const fn post(service: &'static str, path: &'static str) -> CallSpec {
    CallSpec { service, method: "POST", path, need: Need::Required }
}

const fn optional(call: CallSpec) -> CallSpec {
    CallSpec { need: Need::Optional, ..call }
}

const fn leaf(prefix: &'static str) -> RouteSpec {
    RouteSpec { prefix, stages: &[] }
}

const GATEWAY: &[RouteSpec] = &[
    RouteSpec { prefix: "/browse", stages: &[&[get("web", "/browse")]] },
    RouteSpec { prefix: "/search", stages: &[&[get("web", "/search")]] },
    RouteSpec { prefix: "/cart", stages: &[&[post("web", "/cart")]] },
    RouteSpec { prefix: "/checkout", stages: &[&[post("web", "/checkout")]] },
];

const WEB: &[RouteSpec] = &[
    RouteSpec { prefix: "/browse", stages: &[&[get("catalogue", "/browse")]] },
    RouteSpec { prefix: "/search", stages: &[&[get("catalogue", "/search")]] },
    RouteSpec { prefix: "/cart", stages: &[&[post("cart", "/cart")]] },
    RouteSpec { prefix: "/checkout", stages: &[&[post("checkout", "/checkout")]] },
];

const CATALOGUE: &[RouteSpec] = &[
    RouteSpec {
        prefix: "/browse",
        stages: &[&[get("search", "/listing"), optional(get("recommendations", "/similar"))]],
    },
    RouteSpec { prefix: "/search", stages: &[&[get("search", "/query")]] },
];

const CHECKOUT: &[RouteSpec] = &[RouteSpec {
    prefix: "/checkout",
    stages: &[
        &[get("pricing", "/total"), post("inventory", "/reserve")],
        &[post("payments", "/charge")],
        &[optional(post("notifications", "/send"))],
    ],
}];

/// Every service, callers before called; the place in this list decides its ports.
pub const SERVICES: [ServiceSpec; 12] = [
    ServiceSpec { name: "gateway", median_us: 700, timeout_ms: 1900, routes: GATEWAY },
    ServiceSpec { name: "web", median_us: 1500, timeout_ms: 1700, routes: WEB },
    ServiceSpec { name: "catalogue", median_us: 2500, timeout_ms: 1000, routes: CATALOGUE },
    ServiceSpec { name: "search", median_us: 6000, timeout_ms: 700, routes: &[leaf("/listing"), leaf("/query")] },
    ServiceSpec { name: "recommendations", median_us: 5000, timeout_ms: 700, routes: &[leaf("/similar")] },
    ServiceSpec {
        name: "cart",
        median_us: 2000,
        timeout_ms: 1000,
        routes: &[RouteSpec { prefix: "/cart", stages: &[&[get("pricing", "/total")]] }],
    },
    ServiceSpec { name: "checkout", median_us: 3000, timeout_ms: 1400, routes: CHECKOUT },
    ServiceSpec { name: "pricing", median_us: 1500, timeout_ms: 700, routes: &[leaf("/total")] },
    ServiceSpec { name: "inventory", median_us: 3000, timeout_ms: 700, routes: &[leaf("/reserve")] },
    ServiceSpec {
        name: "payments",
        median_us: 4000,
        timeout_ms: 1000,
        routes: &[RouteSpec { prefix: "/charge", stages: &[&[post("payments-db", "/charges")]] }],
    },
    ServiceSpec { name: "payments-db", median_us: 2500, timeout_ms: 700, routes: &[leaf("/charges")] },
    ServiceSpec { name: "notifications", median_us: 2000, timeout_ms: 700, routes: &[leaf("/send")] },
];

/// One kind of request that users send.
#[derive(Debug)]
pub struct Visit {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Path at the gateway.
    pub path: &'static str,
    /// Share of all visits, in percent.
    pub percent: u32,
}

/// What users do. Close to half of them check out, so that a fault in the payments is felt by the whole shop.
pub const VISITS: [Visit; 4] = [
    Visit { method: "GET", path: "/browse", percent: 30 },
    Visit { method: "GET", path: "/search", percent: 10 },
    Visit { method: "POST", path: "/cart", percent: 15 },
    Visit { method: "POST", path: "/checkout", percent: 45 },
];

impl ServiceSpec {
    /// The service called `name`, with or without its namespace.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        let name = name.strip_prefix(NAMESPACE).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
        SERVICES.iter().find(|service| service.name == name)
    }

    /// Its identity in the mesh.
    #[must_use]
    pub fn identity(&self) -> ServiceName {
        ServiceName::new(NAMESPACE, self.name)
    }

    /// The name its clients call it by.
    #[must_use]
    pub fn host(&self) -> String {
        host_of(self.name)
    }

    /// What it does for `path`.
    #[must_use]
    pub fn route(&self, path: &str) -> Option<&'static RouteSpec> {
        self.routes
            .iter()
            .find(|route| path.strip_prefix(route.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// Names of the services it calls, each once, in the order of [`SERVICES`].
    pub fn dependencies(&self) -> impl Iterator<Item = &'static str> + '_ {
        SERVICES.iter().map(|service| service.name).filter(|name| self.calls().any(|call| call.service == *name))
    }

    fn calls(&self) -> impl Iterator<Item = &'static CallSpec> + '_ {
        self.routes.iter().flat_map(|route| route.stages.iter().flat_map(|stage| stage.iter()))
    }
}

/// The name that clients call `service` by.
#[must_use]
pub fn host_of(service: &str) -> String {
    format!("{service}.{NAMESPACE}.local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_answered_by_a_later_service_in_less_time() {
        for (place, service) in SERVICES.iter().enumerate() {
            for call in service.calls() {
                let called = ServiceSpec::named(call.service).expect("a known service");
                assert!(called.route(call.path).is_some(), "{} does not answer {}", called.name, call.path);
                assert!(called.timeout_ms < service.timeout_ms, "{} outlasts {}", called.name, service.name);
                assert!(SERVICES[place + 1..].iter().any(|later| later.name == called.name), "a cycle");
            }
            assert!(Duration::from_millis(service.timeout_ms.into()) < CLIENT_TIMEOUT);
        }
    }

    #[test]
    fn visits_are_answered_by_the_gateway_and_make_up_the_whole() {
        let gateway = ServiceSpec::named("shop/gateway").expect("the gateway");
        assert!(VISITS.iter().all(|visit| gateway.route(visit.path).is_some()));
        assert_eq!(VISITS.iter().map(|visit| visit.percent).sum::<u32>(), 100);
    }

    #[test]
    fn a_checkout_reaches_the_database_over_four_hops_within_the_mesh() {
        let mut path = vec!["gateway"];
        while let Some(next) = ServiceSpec::named(path.last().expect("a service")).and_then(|service| {
            service.dependencies().find(|d| ["web", "checkout", "payments", "payments-db"].contains(d))
        }) {
            path.push(next);
        }
        assert_eq!(path, ["gateway", "web", "checkout", "payments", "payments-db"]);
    }

    #[test]
    fn routes_match_whole_segments() {
        let web = ServiceSpec::named("web").expect("web");
        assert!(web.route("/cart/7").is_some());
        assert!(web.route("/carton").is_none());
    }
}
