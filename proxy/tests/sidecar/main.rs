//! The sidecar in-process over real sockets: applications, clients and a collector around it, all on ephemeral ports.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

mod breakers;
mod counts;
mod forwarding;
mod life;
mod strictness;
mod tracing_headers;
