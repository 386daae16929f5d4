//! The collector: receives telemetry, keeps the live service graph and its history, recognises cascades, tells people.
//!
//! Telemetry flows one way: `receive` decodes and bounds it, `journal` makes it durable before it is acknowledged, then
//! each [`batch::Batch`] goes to `live` (graph, pairing, incidents; one owner task), to `history` (Parquet) and to
//! `export` (second endpoints). `http` answers from the view that `live` publishes and from `history`.

pub mod batch;
pub mod clock;
pub mod config;
pub mod journal;
pub mod history;
pub mod live;
pub mod pair;
