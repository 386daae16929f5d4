//! A service mesh in virtual time: what its sidecars would report of it, and what truly happened.
//!
//! [`plan`] says what is simulated, [`mesh`] runs it.
//!
//! No clock, no runtime, no IO: a plan and a seed give the same bytes on any day.

pub mod mesh;
pub mod plan;

pub use mesh::{Reported, START, run};
pub use plan::{Plan, PlanError};
