//! The sidecar in-process over real sockets: applications, clients and a collector around it, all on ephemeral ports.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

mod access_log;
mod breakers;
mod counts;
mod deadlines;
mod drills;
mod floods;
mod forwarding;
mod gateway;
mod grpc;
mod http2;
mod life;
mod limits;
mod policies;
mod reload;
mod retries;
mod strictness;
mod tcp;
mod telemetry;
mod tls;
mod tracing_headers;
mod upgrade;
