//! The circuit breaker and the retry budget as pure state machines.
//!
//! The same code runs in the sidecar and in the simulator: no clock, no task, no IO and no shared randomness. Every
//! method takes `now`, the jitter comes from a generator that the caller seeds, and what happened is returned as a value
//! for the caller to publish.
//!
//! Three machines: [`Breaker`] judges by how calls end, [`Gate`] by how many there are at once, [`RetryBudget`] limits what
//! is tried again.
//!
//! Words: a breaker is *closed* when traffic flows, *open* when calls are rejected, *half open* while it probes.

pub mod breaker;
pub mod budget;
pub mod gate;
pub mod jitter;
pub mod policy;
pub mod window;

pub use breaker::{
    Admission, Breaker, Change, Decision, Fault, Forced, LastError, Outcome, Permit, Recorded, Rejection, Sample,
    TripLeave,
};
pub use budget::{BudgetPolicy, RetryBudget};
pub use gate::{Entry, Gate};
pub use policy::{Jitter, Policy, RatioRule, SlowRule};
