//! The kinds of `appmesh.k8s.aws/v1beta2`, field by field, after the Go types of AWS's controller (Apache-2.0,
//! `apis/appmesh/v1beta2`); and the list of all kinds, ours of `tripline.dev/v1` included.

use super::gateway::{GATEWAY, GATEWAY_ROUTE, GATEWAY_ROUTE_KINDS};
use super::policy;
use super::route::ROUTE;
use super::tls::{CLIENT_POLICY, LISTENER_TLS};
use super::{
    ARN, COUNT, DURATION, Field, NAME, PORT_MAPPING, POSITIVE_DURATION, REFERENCE, Rule, Shape, ignored, noise,
    optional, required,
};

/// A kind that is read.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Group and version it is written under.
    pub(crate) api_version: &'static str,
    /// Shape of its `spec`.
    pub(crate) spec: Shape,
}

/// The groups of the kinds: App Mesh's and ours.
pub(crate) const GROUPS: &[&str] = &["appmesh.k8s.aws", "tripline.dev"];
/// The version of the group that is read.
pub(crate) const API_VERSION: &str = "appmesh.k8s.aws/v1beta2";

/// The version of our own kinds.
pub(crate) const OWN_API_VERSION: &str = "tripline.dev/v1";

/// The kinds that are read.
pub(crate) const ALL: &[Kind] = &[
    Kind { name: "Mesh", api_version: API_VERSION, spec: Shape::Object(MESH, Rule::Free) },
    Kind { name: "VirtualNode", api_version: API_VERSION, spec: Shape::Object(NODE, Rule::Free) },
    Kind { name: "VirtualRouter", api_version: API_VERSION, spec: Shape::Object(ROUTER, Rule::Free) },
    Kind { name: "VirtualService", api_version: API_VERSION, spec: Shape::Object(SERVICE, Rule::Free) },
    Kind { name: "VirtualGateway", api_version: API_VERSION, spec: Shape::Object(GATEWAY, Rule::Free) },
    Kind {
        name: "GatewayRoute",
        api_version: API_VERSION,
        spec: Shape::Object(GATEWAY_ROUTE, Rule::OneOf(GATEWAY_ROUTE_KINDS)),
    },
    Kind { name: "TrafficPolicy", api_version: OWN_API_VERSION, spec: Shape::Object(policy::TRAFFIC, Rule::Free) },
    Kind {
        name: "AuthorizationPolicy",
        api_version: OWN_API_VERSION,
        spec: Shape::Object(policy::AUTHORIZATION, policy::GUARDED),
    },
    Kind { name: "RateLimit", api_version: OWN_API_VERSION, spec: Shape::Object(policy::RATE_LIMIT, policy::GUARDED) },
    Kind { name: "FaultInjection", api_version: OWN_API_VERSION, spec: Shape::Object(policy::FAULT, Rule::Free) },
];

/// Kinds of the group that are passed over, and why.
pub(crate) const PASSED_OVER: &[(&str, &str)] =
    &[("BackendGroup", "backend groups are not supported; list the services under spec.backends of each node")];

/// Names, and whatever else Kubernetes keeps there.
pub(crate) const METADATA: Shape =
    Shape::Object(&[required("name", Shape::Text { min: 1, max: 253 }), optional("namespace", NAME)], Rule::Open);

/// Fields of a document beside its `spec`.
pub(crate) const ENVELOPE: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

pub(super) const AWS_NAME: Field = optional("awsName", NAME).noted("by default as App Mesh makes it");
pub(super) const MESH_REF: Field = noise("meshRef", "every document given belongs to the one mesh");

const MESH: &[Field] = &[
    AWS_NAME,
    optional("egressFilter", Shape::Object(&[required("type", Shape::Word(&["ALLOW_ALL", "DROP_ALL"]))], Rule::Free)),
    noise("namespaceSelector", "every document given belongs to the one mesh"),
    noise("meshOwner", "accounts have no meaning here"),
    ignored("meshServiceDiscovery", "addresses of both families are taken as DNS gives them"),
];

const NODE: &[Field] = &[
    AWS_NAME,
    MESH_REF,
    noise("podSelector", "a proxy is told its node by --node"),
    optional("listeners", Shape::List { of: &Shape::Object(LISTENER, Rule::Free), min: 0, max: 100 }),
    optional("serviceDiscovery", Shape::Object(DISCOVERY, Rule::OneOf(&["dns", "awsCloudMap"]))),
    optional(
        "backends",
        Shape::List {
            of: &Shape::Object(&[required("virtualService", BACKEND_SERVICE)], Rule::Free),
            min: 0,
            max: 10_000,
        },
    ),
    ignored("backendGroups", "backend groups are not supported; list the services under spec.backends"),
    optional("backendDefaults", Shape::Object(&[optional("clientPolicy", CLIENT_POLICY)], Rule::Free)),
    LOGGING,
];

pub(super) const LOGGING: Field = optional(
    "logging",
    Shape::Object(
        &[optional(
            "accessLog",
            Shape::Object(
                &[optional(
                    "file",
                    Shape::Object(
                        &[
                            required("path", Shape::Text { min: 1, max: 255 }),
                            optional("format", Shape::Object(LOG_FORMAT, Rule::OneOf(&["text", "json"]))),
                        ],
                        Rule::Free,
                    ),
                )],
                Rule::Free,
            ),
        )],
        Rule::Free,
    ),
);

const LOG_FORMAT: &[Field] = &[
    optional("text", Shape::Text { min: 1, max: 1_000 }),
    optional(
        "json",
        Shape::List {
            of: &Shape::Object(
                &[
                    required("key", Shape::Text { min: 1, max: 100 }),
                    required("value", Shape::Text { min: 1, max: 100 }),
                ],
                Rule::Free,
            ),
            min: 1,
            max: 100,
        },
    ),
];

const BACKEND_SERVICE: Shape = Shape::Object(
    &[
        optional("virtualServiceRef", REFERENCE),
        optional("virtualServiceARN", ARN),
        optional("clientPolicy", CLIENT_POLICY).noted("instead of the one under backendDefaults"),
    ],
    Rule::OneOf(&["virtualServiceRef", "virtualServiceARN"]),
);

const IP_PREFERENCE: Field = ignored("ipPreference", "addresses of both families are taken as DNS gives them");

const DISCOVERY: &[Field] = &[
    optional(
        "dns",
        Shape::Object(
            &[
                required("hostname", NAME),
                optional("responseType", Shape::Word(&["LOADBALANCER", "ENDPOINTS"])),
                IP_PREFERENCE,
            ],
            Rule::Free,
        ),
    ),
    optional(
        "awsCloudMap",
        Shape::Object(
            &[
                required("namespaceName", Shape::Text { min: 1, max: 1_024 }),
                required("serviceName", Shape::Text { min: 1, max: 1_024 }),
                ignored("attributes", "every address of the name is taken"),
                IP_PREFERENCE,
            ],
            Rule::Free,
        ),
    )
    .limited("looked up in DNS as serviceName.namespaceName, each address one endpoint"),
];

const LISTENER: &[Field] = &[
    required("portMapping", PORT_MAPPING),
    optional("timeout", Shape::Object(TIMEOUT, Rule::OneOf(&["http", "http2", "grpc", "tcp"]))),
    optional("connectionPool", Shape::Object(POOL, Rule::OneOf(&["http", "http2", "grpc", "tcp"])))
        .noted("holds at the server's proxy"),
    optional("outlierDetection", Shape::Object(OUTLIER, Rule::Free)),
    HEALTH_CHECK,
    optional("tls", LISTENER_TLS),
];

pub(super) const HEALTH_CHECK: Field =
    ignored("healthCheck", "no active checks are made; outlier detection and breakers find broken endpoints");

const REQUEST_TIMEOUT: Shape =
    Shape::Object(&[optional("perRequest", DURATION), optional("idle", DURATION)], Rule::Free);

const TIMEOUT: &[Field] = &[
    optional("http", REQUEST_TIMEOUT),
    optional("http2", REQUEST_TIMEOUT),
    optional("grpc", REQUEST_TIMEOUT),
    optional("tcp", Shape::Object(&[optional("idle", DURATION)], Rule::Free)),
];

pub(super) const REQUEST_POOL: Shape = Shape::Object(&[required("maxRequests", COUNT)], Rule::Free);

const POOL: &[Field] = &[
    optional(
        "http",
        Shape::Object(&[required("maxConnections", COUNT), optional("maxPendingRequests", COUNT)], Rule::Free),
    ),
    optional("http2", REQUEST_POOL),
    optional("grpc", REQUEST_POOL),
    optional("tcp", Shape::Object(&[required("maxConnections", COUNT)], Rule::Free)),
];

const OUTLIER: &[Field] = &[
    required("maxServerErrors", COUNT).noted("failures in a row, carried out by the clients"),
    required("interval", POSITIVE_DURATION),
    required("baseEjectionDuration", POSITIVE_DURATION),
    required("maxEjectionPercent", Shape::Number { min: 0, max: 100 }),
];

const SERVICE: &[Field] = &[
    AWS_NAME,
    MESH_REF,
    optional("provider", Shape::Object(PROVIDER, Rule::OneOf(&["virtualNode", "virtualRouter"]))),
];

const PROVIDER: &[Field] = &[
    optional(
        "virtualNode",
        Shape::Object(
            &[optional("virtualNodeRef", REFERENCE), optional("virtualNodeARN", ARN)],
            Rule::OneOf(&["virtualNodeRef", "virtualNodeARN"]),
        ),
    ),
    optional(
        "virtualRouter",
        Shape::Object(
            &[optional("virtualRouterRef", REFERENCE), optional("virtualRouterARN", ARN)],
            Rule::OneOf(&["virtualRouterRef", "virtualRouterARN"]),
        ),
    ),
];

const ROUTER: &[Field] = &[
    AWS_NAME,
    MESH_REF,
    optional(
        "listeners",
        Shape::List { of: &Shape::Object(&[required("portMapping", PORT_MAPPING)], Rule::Free), min: 0, max: 100 },
    ),
    optional("routes", Shape::List { of: &ROUTE, min: 0, max: 1_000 }),
];
