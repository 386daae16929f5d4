//! The routes of a virtual router.

use super::{ARN, COUNT_OR_ZERO, DURATION, Field, NAME, PORT, REFERENCE, Rule, Shape, optional, required};

/// The four kinds of route; a route has one of them.
pub(crate) const ROUTE_KINDS: &[&str] = &["httpRoute", "http2Route", "grpcRoute", "tcpRoute"];

pub(super) const ROUTE: Shape = Shape::Object(
    &[
        required("name", NAME),
        optional("priority", Shape::Number { min: 0, max: 1_000 }).noted("0 first, without one last"),
        optional("httpRoute", HTTP_ROUTE),
        optional("http2Route", HTTP_ROUTE),
        optional("grpcRoute", GRPC_ROUTE),
        optional("tcpRoute", TCP_ROUTE),
    ],
    Rule::OneOf(ROUTE_KINDS),
);

const HTTP_ROUTE: Shape = Shape::Object(
    &[
        required("match", Shape::Object(HTTP_MATCH, Rule::OneOf(&["prefix", "path"]))),
        required("action", ACTION),
        optional("timeout", REQUEST_TIMEOUT),
        optional("retryPolicy", Shape::Object(HTTP_RETRY, Rule::Free)),
    ],
    Rule::Free,
);

const GRPC_ROUTE: Shape = Shape::Object(
    &[
        required("match", Shape::Object(GRPC_MATCH, Rule::Free)),
        required("action", ACTION),
        optional("timeout", REQUEST_TIMEOUT),
        optional("retryPolicy", Shape::Object(GRPC_RETRY, Rule::Free)),
    ],
    Rule::Free,
);

const TCP_ROUTE: Shape = Shape::Object(
    &[
        optional("match", Shape::Object(&[optional("port", PORT)], Rule::Free)),
        required("action", ACTION),
        optional("timeout", Shape::Object(&[optional("idle", DURATION)], Rule::Free)),
    ],
    Rule::Free,
);

const REQUEST_TIMEOUT: Shape =
    Shape::Object(&[optional("perRequest", DURATION), optional("idle", DURATION)], Rule::Free);

pub(super) const METHOD: Shape =
    Shape::Word(&["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"]);

pub(super) const TEXT: Shape = Shape::Text { min: 1, max: 255 };

const WHOLE_PATH: &str = "over the whole path; no look-around, no back-references";

const HTTP_MATCH: &[Field] = &[
    optional("prefix", TEXT),
    optional(
        "path",
        Shape::Object(
            &[optional("exact", TEXT), optional("regex", TEXT).noted(WHOLE_PATH)],
            Rule::OneOf(&["exact", "regex"]),
        ),
    ),
    optional("method", METHOD),
    optional("scheme", Shape::Word(&["http", "https"])),
    optional("headers", Shape::List { of: &HEADER, min: 1, max: 10 }),
    optional("queryParameters", Shape::List { of: &QUERY, min: 1, max: 10 }),
    optional("port", PORT),
];

const GRPC_MATCH: &[Field] = &[
    optional("serviceName", TEXT),
    optional("methodName", TEXT),
    optional("metadata", Shape::List { of: &HEADER, min: 1, max: 10 }),
    optional("port", PORT),
];

pub(super) const HEADER: Shape = Shape::Object(
    &[
        required("name", Shape::Text { min: 1, max: 50 }),
        optional("invert", Shape::Flag),
        optional("match", Shape::Object(VALUE_MATCH, Rule::OneOf(&["exact", "prefix", "suffix", "regex", "range"]))),
    ],
    Rule::Free,
);

const ANY_NUMBER: Shape = Shape::Number { min: i64::MIN, max: i64::MAX };

const VALUE_MATCH: &[Field] = &[
    optional("exact", TEXT),
    optional("prefix", TEXT),
    optional("suffix", TEXT),
    optional("regex", TEXT),
    optional("range", Shape::Object(&[required("start", ANY_NUMBER), required("end", ANY_NUMBER)], Rule::Free)),
];

pub(super) const QUERY: Shape = Shape::Object(
    &[
        required("name", Shape::Text { min: 1, max: 255 }),
        optional("match", Shape::Object(&[optional("exact", Shape::Text { min: 0, max: 255 })], Rule::Free)),
    ],
    Rule::Free,
);

const ACTION: Shape =
    Shape::Object(&[required("weightedTargets", Shape::List { of: &TARGET, min: 1, max: 100 })], Rule::Free);

const TARGET: Shape = Shape::Object(
    &[
        optional("virtualNodeRef", REFERENCE),
        optional("virtualNodeARN", ARN),
        required("weight", Shape::Number { min: 0, max: 100 }),
        optional("port", PORT),
    ],
    Rule::OneOf(&["virtualNodeRef", "virtualNodeARN"]),
);

const HTTP_EVENTS: Field = optional(
    "httpRetryEvents",
    Shape::List {
        of: &Shape::Word(&["server-error", "gateway-error", "client-error", "stream-error"]),
        min: 0,
        max: 25,
    },
);
const TCP_EVENTS: Field =
    optional("tcpRetryEvents", Shape::List { of: &Shape::Word(&["connection-error"]), min: 0, max: 1 });
const GRPC_EVENTS: Field = optional(
    "grpcRetryEvents",
    Shape::List {
        of: &Shape::Word(&["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"]),
        min: 0,
        max: 5,
    },
);
const MAX_RETRIES: Field = required("maxRetries", COUNT_OR_ZERO);
const PER_RETRY_TIMEOUT: Field = required("perRetryTimeout", DURATION).noted("0 leaves only the timeout of the route");

const HTTP_RETRY: &[Field] = &[MAX_RETRIES, PER_RETRY_TIMEOUT, HTTP_EVENTS, TCP_EVENTS];
const GRPC_RETRY: &[Field] = &[MAX_RETRIES, PER_RETRY_TIMEOUT, HTTP_EVENTS, TCP_EVENTS, GRPC_EVENTS];
