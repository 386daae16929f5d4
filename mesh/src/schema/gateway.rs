//! Virtual gateways and their routes.

use super::kinds::{AWS_NAME, HEALTH_CHECK, LOGGING, MESH_REF, REQUEST_POOL};
use super::route::{HEADER, METHOD, QUERY, TEXT};
use super::tls::{CLIENT_POLICY, LISTENER_TLS};
use super::{ARN, COUNT, Field, NAME, PORT, REFERENCE, Rule, Shape, noise, optional, required};

/// The three kinds of gateway route; a route has one of them.
pub(crate) const GATEWAY_ROUTE_KINDS: &[&str] = &["httpRoute", "http2Route", "grpcRoute"];

pub(super) const GATEWAY: &[Field] = &[
    AWS_NAME,
    MESH_REF,
    noise("namespaceSelector", "labels of namespaces are not known; the routes' own namespaces decide instead"),
    optional("gatewayRouteSelector", Shape::Object(&[optional("matchLabels", LABELS)], Rule::Open))
        .limited("matchLabels are used, matchExpressions are not"),
    noise("podSelector", "a proxy is told its gateway by --node"),
    optional("listeners", Shape::List { of: &Shape::Object(LISTENER, Rule::Free), min: 0, max: 100 }),
    optional("backendDefaults", Shape::Object(&[optional("clientPolicy", CLIENT_POLICY)], Rule::Free)),
    LOGGING,
];

/// Whatever labels there are; the values are texts.
const LABELS: Shape = Shape::Object(&[], Rule::Open);

const LISTENER: &[Field] = &[
    required(
        "portMapping",
        Shape::Object(
            &[required("port", PORT), required("protocol", Shape::Word(&["http", "http2", "grpc"]))],
            Rule::Free,
        ),
    ),
    optional("connectionPool", Shape::Object(POOL, Rule::OneOf(&["http", "http2", "grpc"])))
        .noted("requests under way at the gateway"),
    HEALTH_CHECK,
    optional("tls", LISTENER_TLS),
];

const POOL: &[Field] = &[
    optional(
        "http",
        Shape::Object(&[required("maxConnections", COUNT), optional("maxPendingRequests", COUNT)], Rule::Free),
    ),
    optional("http2", REQUEST_POOL),
    optional("grpc", REQUEST_POOL),
];

pub(super) const GATEWAY_ROUTE: &[Field] = &[
    AWS_NAME,
    MESH_REF,
    optional("virtualGatewayRef", REFERENCE).noted("instead of selectors; App Mesh's controller wrote it"),
    optional("priority", Shape::Number { min: 0, max: 1_000 }).noted("0 first, without one 1000"),
    optional("httpRoute", HTTP_ROUTE),
    optional("http2Route", HTTP_ROUTE),
    optional("grpcRoute", GRPC_ROUTE),
];

const HTTP_ROUTE: Shape = Shape::Object(
    &[
        required("match", Shape::Object(HTTP_MATCH, Rule::Free)),
        required("action", Shape::Object(&[TARGET, optional("rewrite", HTTP_REWRITE)], Rule::Free)),
    ],
    Rule::Free,
);

const GRPC_ROUTE: Shape = Shape::Object(
    &[
        required("match", Shape::Object(GRPC_MATCH, Rule::Free)),
        required("action", Shape::Object(&[TARGET, optional("rewrite", GRPC_REWRITE)], Rule::Free)),
    ],
    Rule::Free,
);

/// A host name's length in DNS.
const HOST: Shape = Shape::Text { min: 1, max: 253 };

const HOSTNAME: Field = optional(
    "hostname",
    Shape::Object(&[optional("exact", HOST), optional("suffix", HOST)], Rule::OneOf(&["exact", "suffix"])),
);

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
    HOSTNAME,
    optional("method", METHOD),
    optional("headers", Shape::List { of: &HEADER, min: 1, max: 10 }),
    optional("queryParameters", Shape::List { of: &QUERY, min: 1, max: 10 }),
    optional("port", PORT).noted("the gateway's listener that the request came in by"),
];

const GRPC_MATCH: &[Field] = &[
    optional("serviceName", TEXT),
    HOSTNAME,
    optional("metadata", Shape::List { of: &HEADER, min: 1, max: 10 }),
    optional("port", PORT).noted("the gateway's listener that the request came in by"),
];

const TARGET: Field = required(
    "target",
    Shape::Object(
        &[
            required(
                "virtualService",
                Shape::Object(
                    &[optional("virtualServiceRef", REFERENCE), optional("virtualServiceARN", ARN)],
                    Rule::OneOf(&["virtualServiceRef", "virtualServiceARN"]),
                ),
            ),
            optional("port", PORT),
        ],
        Rule::Free,
    ),
);

const SWITCH: Shape = Shape::Word(&["ENABLED", "DISABLED"]);

const HOSTNAME_REWRITE: Field =
    optional("hostname", Shape::Object(&[optional("defaultTargetHostname", SWITCH)], Rule::Free))
        .noted("without it the Host becomes the virtual service's name");

const HTTP_REWRITE: Shape = Shape::Object(
    &[
        HOSTNAME_REWRITE,
        optional("path", Shape::Object(&[optional("exact", TEXT)], Rule::Free)),
        optional("prefix", Shape::Object(&[optional("defaultPrefix", SWITCH), optional("value", NAME)], Rule::Free))
            .noted("without it the matched prefix becomes /; never two slashes in a row"),
    ],
    Rule::Free,
);

const GRPC_REWRITE: Shape = Shape::Object(&[HOSTNAME_REWRITE], Rule::Free);
