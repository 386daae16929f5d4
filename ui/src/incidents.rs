//! Incidents: the list, and one in full.

mod blast;
pub(crate) mod detail;
pub(crate) mod headline;
pub(crate) mod list;
mod origins;
mod path;
mod phases;
