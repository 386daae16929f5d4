//! `/metrics`: what the collector counts about itself, and about the mesh what Prometheus and Grafana read.
//!
//! Three groups, all listed in `docs/metrics.md`:
//! * `tripline_collector_*`: the parts of the collector. Each part hands in a [`Source`] that is read at each scrape.
//! * `traces_service_graph_*` and `tripline_edge_*`: counters and histograms of each edge, added up here from the finished
//!   windows ([`totals`]), because Prometheus wants numbers that only grow while the live graph forgets. Of two reporters
//!   of one edge one counts, as in the graph.
//! * `tripline_breaker_state`, `tripline_incident*`: from the published view.
//!
//! The number of series is bounded; what is beyond is folded or left out, and counted.

mod edges;
mod encode;
mod notices;
mod requests;
mod sample;
mod sources;
mod totals;
mod view;

use std::fmt;
use std::sync::Arc;

use axum::http::StatusCode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::live::Live;

pub use sample::{Kind, Sample};
pub use sources::{alerts, history};

use notices::Notices;
use requests::Requests;
use totals::Totals;

/// A part's numbers, read at each scrape; must not block.
pub type Source = Box<dyn Fn() -> Vec<Sample> + Send + Sync>;

/// What `/metrics` shows. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Arc<Requests>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Everything that is exported, and the task that adds up finished windows and notifications; it ends with the live task.
pub fn prepare(live: &Live, sources: Vec<Source>) -> (Metrics, impl Future<Output = ()> + Send + 'static) {
    let (totals, summed) = watch::channel(Arc::new(Totals::default()));
    let requests = Arc::new(Requests::default());
    let notices = Arc::new(Notices::default());
    let (answered, noticed) = (Arc::clone(&requests), Arc::clone(&notices));
    let mut sources = sources;
    sources.push(Box::new(move || answered.samples()));
    sources.push(Box::new(move || noticed.samples()));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(edges::Edges(summed)));
    registry.register_collector(Box::new(view::Views(live.views.clone())));
    registry.register_collector(Box::new(sources::Sources(sources)));
    let sums = totals::add_up(totals, live.windows.subscribe());
    let counts = notices::count(notices, live.notifications.subscribe());
    let task = async move {
        tokio::join!(sums, counts);
    };
    (Metrics(Arc::new(Inner { registry, requests })), task)
}

impl Metrics {
    /// The exposition, as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.0.registry) {
            Ok(()) => text,
            // Writing to a string cannot fail; half an exposition would be worse than none.
            Err(fmt::Error) => "# EOF\n".into(),
        }
    }

    /// Counts an answer of the HTTP side.
    pub(crate) fn count_request(&self, route: &str, status: StatusCode) {
        self.0.requests.count(route, status);
    }
}

#[cfg(test)]
mod tests;
