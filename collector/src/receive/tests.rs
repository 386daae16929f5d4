//! Over real sockets: every row of the specification's tables, hostile bodies, repeats, overload, restarts.

mod foreign;
pub(crate) mod harness;
mod hostile;
mod overload;
mod restart;
mod statuses;
