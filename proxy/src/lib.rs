//! The sidecar: carries the traffic of one service and tells the collector what it sees.
//!
//! **Outbound** : the application calls another service through it; host, route, target and endpoint are
//! looked up, the endpoint's breaker, the retry budget and the timeouts decide, the answer is passed through. **Inbound**: other
//! services call the application through it. Each half records every exchange exactly once, folds it into counts per
//! edge, and once a second the counts leave as one report; breaker transitions leave at once, sampled spans in batches.
//!
//! The way of a request: `listen` accepts, `connection` finds out what is spoken, `tls` secures it, `guarded_io` and `framing`, of HTTP/2
//! `watched_io` and `frames` watch it, `outbound`, `inbound` or `gateway` serves, `directory` and `target` find the endpoint, `send` makes the
//! attempt over a connection of `pool` (`http1`) or of `multiplex` (HTTP/2, whose writes `gather` puts together), `answer` passes the body
//! on, `exchange` records. The way of its telemetry: `tally`, `report`, `export`, `collector_link`.
//!
//! No traffic ever waits for telemetry: queues are bounded, what does not fit is dropped and counted.

pub mod app;
pub mod cli;
pub mod limit_args;
pub mod settings;

mod arrival;
mod carrier;
mod connection;
mod listen;
mod redirect;
mod worker;

mod aside;
mod frames;
mod framing;
mod gather;
mod guarded_io;
mod hits;
mod tls;
mod watched_io;
mod wire;

mod gateway;
mod inbound;
mod outbound;

mod app_side;
mod balance;
mod crowd;
mod directory;
mod discover;
mod endpoint;
mod external;
mod guard;
mod hash_key;
mod inbound_rules;
mod plan;
mod reload;
mod roster;
mod target;
mod target_rules;

mod failure;
mod faults;
mod http1;
mod message;
mod multiplex;
mod pool;
mod reply;
mod request_body;
mod send;
mod transport;

mod answer;
mod grpc;
mod headers;
mod late;
mod mark;
mod silence;
mod trace_context;
mod trace_forms;

mod priority;
mod pump;
mod tcp;
mod upgrade;

mod correlate;
mod exchange;
mod span;
mod span_queue;
mod tally;

mod access_log;
mod collector_link;
mod collector_tls;
mod events;
mod export;
mod report;
mod resource_attributes;

mod admin;
mod config_view;
mod metrics;

mod clock;
mod drain;

pub use app::{Proxy, StartError};
pub use limit_args::LimitArgs;
pub use plan::PlanError;
pub use settings::{Args, Configuration, LoadError, Settings};
pub use tls::TlsError;
pub use worker::Addresses;
