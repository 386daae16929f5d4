//! Services with their neighbourhood.

use crate::wire;

wire! {
    /// A service, who calls it and whom it calls.
    pub struct Service {
        /// The service as drawn in the graph.
        pub node: crate::Node,
        /// Edges of its callers.
        pub dependents: Vec<crate::Edge>,
        /// Edges to what it calls.
        pub dependencies: Vec<crate::Edge>,
        /// Sidecars beside it.
        pub proxies: Vec<crate::Proxy>,
    }

    /// Answer of `GET /api/v1/services`.
    pub struct ServiceList {
        /// Ordered by id.
        pub services: Vec<crate::Node>,
        /// Cursor of the next page.
        pub next: Option<String>,
    }
}
