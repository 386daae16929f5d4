//! The circuit breaker and the retry budget as pure state machines.
//!
//! The same code runs in the sidecar and in the simulator: no clock, no task, no IO and no shared randomness. Every
//! method takes `now`, the jitter comes from a generator that the caller seeds, and what happened is returned as a value
//! for the caller to publish.
//!
//! Words: a breaker is *closed* when traffic flows, *open* when calls are rejected, *half open* while it probes.

pub mod breaker;
pub mod budget;
pub mod jitter;
pub mod policy;
pub mod window;

pub use breaker::{
    Admission, Breaker, Change, Decision, Fault, LastError, Outcome, Permit, Recorded, Rejection, Sample, TripLeave,
};
pub use budget::{BudgetPolicy, RetryBudget};
pub use policy::{Jitter, Policy, RatioRule, SlowRule};
