//! The sidecar in-process over real sockets: applications, clients and a collector around it, all on ephemeral ports.

mod harness;

mod breakers;
mod counts;
mod forwarding;
mod life;
mod strictness;
mod tracing_headers;
