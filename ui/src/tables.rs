//! The graph as tables: for screen readers, for meshes too large to look at, and for whoever likes rows.

mod breakers;
mod edges;
mod services;
mod sorting;

pub(crate) use breakers::BreakersPage;
pub(crate) use edges::EdgesPage;
pub(crate) use services::ServicesPage;
