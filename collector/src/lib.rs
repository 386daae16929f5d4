//! The collector: receives telemetry, keeps the live service graph and its history, recognises cascades, tells people.
//!
//! Telemetry flows one way: `receive` decodes and bounds it, `journal` makes it durable before it is acknowledged, then
//! each [`batch::Batch`] goes to `live` (graph, pairing, incidents; one owner task), to `history` (Parquet) and to
//! `export` (second endpoints). `http` answers from the view that `live` publishes and from `history`.

pub mod alert;
pub mod app;
pub mod auth;
pub mod batch;
mod blocks;
pub mod clock;
pub mod config;
pub mod export;
pub mod history;
pub mod http;
pub mod journal;
pub mod live;
pub mod memory;
pub mod metrics;
pub mod pair;
pub mod receive;
pub mod recorded;
pub mod self_telemetry;
pub mod serve;
pub mod tls;
