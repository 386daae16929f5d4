//! Our own kinds, `tripline.dev/v1`: what App Mesh's language has no words for.
//!
//! Each names one virtual node by `virtualNodeRef`. A `TrafficPolicy` is carried out by its clients, `AuthorizationPolicy`
//! and `RateLimit` (which may name a gateway by `virtualGatewayRef` instead) by its own proxy, `FaultInjection` by the clients.

use super::route::{HEADER, METHOD, QUERY, TEXT};
use super::{COUNT, COUNT_OR_ZERO, DURATION, Field, POSITIVE_DURATION, REFERENCE, Rule, Shape, optional, required};

/// Whose proxy carries out a policy about what comes in.
pub(super) const GUARDED: Rule = Rule::OneOf(&["virtualNodeRef", "virtualGatewayRef"]);

const NODE_REF: Field = required("virtualNodeRef", REFERENCE);
const PERCENT: Shape = Shape::Number { min: 1, max: 100 };
const PERCENT_OR_ZERO: Shape = Shape::Number { min: 0, max: 100 };

pub(super) const TRAFFIC: &[Field] = &[
    NODE_REF,
    optional("loadBalancing", Shape::Object(BALANCE, Rule::Free)),
    optional(
        "breakers",
        Shape::Object(
            &[optional("endpoint", BREAKER), optional("route", BREAKER), optional("service", BREAKER)],
            Rule::Free,
        ),
    ),
    optional(
        "limits",
        Shape::Object(
            &[
                optional("maxConnections", COUNT),
                optional("maxPendingRequests", COUNT_OR_ZERO),
                optional("maxRequests", COUNT),
            ],
            Rule::Free,
        ),
    ),
    optional(
        "retryBudget",
        Shape::Object(&[optional("percent", PERCENT_OR_ZERO), optional("perSecond", COUNT_OR_ZERO)], Rule::Free),
    ),
    optional("endpoints", Shape::List { of: &Shape::Text { min: 3, max: 64 }, min: 1, max: 1_000 }),
    optional("endpointsFile", Shape::Text { min: 1, max: 1_024 }),
];

const BALANCE: &[Field] = &[
    optional("algorithm", Shape::Word(&["PEAK_EWMA", "ROUND_ROBIN", "LEAST_REQUESTS", "RING_HASH"])),
    optional("hashHeader", TEXT),
    optional("hashCookie", TEXT),
    optional("slowStart", DURATION),
];

const BREAKER: Shape = Shape::Object(
    &[
        optional("consecutiveFailures", COUNT_OR_ZERO),
        optional("failurePercent", PERCENT_OR_ZERO),
        optional("slowPercent", PERCENT_OR_ZERO),
        optional("slowerThan", POSITIVE_DURATION),
        optional("minimumRequests", COUNT),
        optional("window", POSITIVE_DURATION),
        optional("openTime", POSITIVE_DURATION),
        optional("longestOpenTime", POSITIVE_DURATION),
        optional("probes", COUNT),
        optional("probeDeadline", POSITIVE_DURATION),
        optional("successesToClose", COUNT),
        optional("maxEjectionPercent", PERCENT_OR_ZERO),
    ],
    Rule::Free,
);

/// Which requests a policy is about; all without it.
const MATCH: Field = optional(
    "match",
    Shape::Object(
        &[
            optional("prefix", TEXT),
            optional(
                "path",
                Shape::Object(&[optional("exact", TEXT), optional("regex", TEXT)], Rule::OneOf(&["exact", "regex"])),
            ),
            optional("method", METHOD),
            optional("headers", Shape::List { of: &HEADER, min: 1, max: 10 }),
            optional("queryParameters", Shape::List { of: &QUERY, min: 1, max: 10 }),
        ],
        Rule::Free,
    ),
);

/// `NAMESPACE/NAME`, `NAMESPACE/*`, `*`, or `user` for callers from outside the mesh.
const IDENTITIES: Shape = Shape::List { of: &Shape::Text { min: 1, max: 255 }, min: 1, max: 100 };

pub(super) const AUTHORIZATION: &[Field] = &[
    optional("virtualNodeRef", REFERENCE),
    optional("virtualGatewayRef", REFERENCE),
    optional("action", Shape::Word(&["ALLOW", "DENY"])),
    required(
        "rules",
        Shape::List { of: &Shape::Object(&[optional("clients", IDENTITIES), MATCH], Rule::Free), min: 0, max: 100 },
    ),
];

pub(super) const RATE_LIMIT: &[Field] = &[
    optional("virtualNodeRef", REFERENCE),
    optional("virtualGatewayRef", REFERENCE),
    MATCH,
    optional("per", Shape::Word(&["CLIENT", "ALL"])),
    required("requests", COUNT),
    required("period", POSITIVE_DURATION),
    optional("burst", COUNT),
];

pub(super) const FAULT: &[Field] = &[
    NODE_REF,
    MATCH,
    optional("clients", IDENTITIES),
    optional(
        "delay",
        Shape::Object(&[required("percent", PERCENT), required("duration", POSITIVE_DURATION)], Rule::Free),
    ),
    optional(
        "abort",
        Shape::Object(
            &[required("percent", PERCENT), required("status", Shape::Number { min: 400, max: 599 })],
            Rule::Free,
        ),
    ),
];
