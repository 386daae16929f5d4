//! Faults in the demo shop; these routes exist only while `tripline demo` runs.

use crate::{wire, words};

words! {
    /// What to break.
    DemoFaultKind {
        /// Answers most requests with 500.
        Errors = "errors",
        /// Answers late.
        Latency = "latency",
        /// The process ends and is started again at the end of the fault.
        Crash = "crash",
        /// Accepts requests and never answers.
        Hang = "hang",
    }
}

wire! {
    /// Body of `POST /api/v1/demo/faults`.
    pub struct DemoFaultRequest {
        /// Name of the demo service, with or without `shop/`.
        pub service: String,
        /// What to break.
        pub kind: DemoFaultKind,
        /// For how long, in seconds; 40 when left out, at most 3600.
        #[serde(default = "default_seconds")]
        pub seconds: f64,
    }

    /// A fault that is active or over.
    pub struct DemoFault {
        /// Node id.
        pub service: String,
        /// What is broken.
        pub kind: DemoFaultKind,
        /// Since when.
        pub started_at: String,
        /// Until when.
        pub ends_at: String,
        /// Whether it is active now.
        pub active: bool,
    }

    /// Answer of `GET /api/v1/demo/faults`.
    pub struct DemoFaultList {
        /// Newest first.
        pub faults: Vec<DemoFault>,
        /// Services that a fault can be started on.
        pub services: Vec<String>,
    }
}

fn default_seconds() -> f64 {
    40.0
}
