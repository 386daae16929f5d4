//! The `tls` of listeners and of client policies.

use super::{Field, PORT, Rule, Shape, ignored, optional, required};

/// Paths and names of certificates.
const TEXT: Shape = Shape::Text { min: 1, max: 255 };

const NO_ACM: &str = "certificates cannot be fetched from ACM; write them to files";
const NO_SDS: &str = "certificates cannot be fetched over SDS; write them to files";

const FILES: Field =
    optional("file", Shape::Object(&[required("certificateChain", TEXT), required("privateKey", TEXT)], Rule::Free))
        .noted("read by the proxy, and again when they change");

const TRUST_FILE: Field = optional("file", Shape::Object(&[required("certificateChain", TEXT)], Rule::Free))
    .noted("read by the proxy, and again when it changes");

const NAMES: Field = optional(
    "subjectAlternativeNames",
    Shape::Object(
        &[required(
            "match",
            Shape::Object(&[required("exact", Shape::List { of: &TEXT, min: 1, max: 100 })], Rule::Free),
        )],
        Rule::Free,
    ),
);

const CLIENT_CERTIFICATE: Shape = Shape::Object(&[FILES, ignored("sds", NO_SDS)], Rule::OneOf(&["file", "sds"]));

const LISTENER_CERTIFICATE: Shape =
    Shape::Object(&[FILES, ignored("acm", NO_ACM), ignored("sds", NO_SDS)], Rule::OneOf(&["acm", "file", "sds"]));

const LISTENER_TRUST: Shape = Shape::Object(&[TRUST_FILE, ignored("sds", NO_SDS)], Rule::OneOf(&["file", "sds"]));

const CLIENT_TRUST: Shape =
    Shape::Object(&[TRUST_FILE, ignored("acm", NO_ACM), ignored("sds", NO_SDS)], Rule::OneOf(&["acm", "file", "sds"]));

/// `spec.listeners[].tls`.
pub(super) const LISTENER_TLS: Shape = Shape::Object(
    &[
        required("mode", Shape::Word(&["DISABLED", "PERMISSIVE", "STRICT"])),
        required("certificate", LISTENER_CERTIFICATE),
        optional("validation", Shape::Object(&[required("trust", LISTENER_TRUST), NAMES], Rule::Free)),
    ],
    Rule::Free,
);

/// `clientPolicy`.
pub(super) const CLIENT_POLICY: Shape = Shape::Object(
    &[optional(
        "tls",
        Shape::Object(
            &[
                optional("enforce", Shape::Flag).noted("false encrypts only where the server's listener has TLS"),
                optional("ports", Shape::List { of: &PORT, min: 0, max: 100 }),
                optional("certificate", CLIENT_CERTIFICATE),
                required("validation", Shape::Object(&[required("trust", CLIENT_TRUST), NAMES], Rule::Free)),
            ],
            Rule::Free,
        ),
    )],
    Rule::Free,
);
