//! A service mesh in virtual time: what its sidecars would report of it, and what truly happened.
//!
//! [`plan`] says what is simulated, [`mesh`] runs it, [`truth`] compares the run with a twin without the fault. [`watch`] runs
//! the live detector over what the sidecars reported, [`record`] makes a recording of it, [`suite`] draws the cases of the scored set, [`score`] compares what
//! the detector said with what was true, beside [`simple`] methods. [`what_if`] replays recorded traffic of one edge under other breaker rules.
//!
//! No clock, no runtime, no IO: a plan and a seed give the same bytes on any day.

pub mod mesh;
pub mod plan;
pub mod record;
pub mod score;
pub mod simple;
pub mod suite;
pub mod truth;
pub mod watch;
pub mod what_if;

pub use mesh::{Reported, START, run};
pub use plan::{Plan, PlanError};
pub use truth::{Told, Truth, run_with_truth};
