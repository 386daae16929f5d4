//! One trace as a waterfall.

pub(crate) mod page;
mod waterfall;
