//! The harness of the end-to-end tests: real processes on loopback, a real browser, real peers.
//!
//! A test starts what it needs ([`Demo`], [`Running`], [`Browser`]), asks over HTTP ([`Api`]) and polls with a deadline
//! ([`wait::until`]). Everything it started ends when the test does, also when it panics, and what a failed test's
//! programs said is printed with it. Ports are free ones, never the default ones, so that a demo running beside the tests
//! disturbs neither.

pub mod browser;
pub mod certificates;
pub mod collector;
pub mod demo;
pub mod fixture;
pub mod http;
pub mod ports;
pub mod programs;
pub mod puppets;
pub mod running;
pub mod sidecar;
pub mod wait;
pub mod webhook;

pub use browser::Browser;
pub use collector::Collector;
pub use demo::Demo;
pub use http::Api;
pub use running::Running;
pub use sidecar::Sidecar;
pub use webhook::Webhook;
