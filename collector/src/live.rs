//! The live view: one task owns the graph, the pairing of spans and the incidents; others hold a [`Live`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tripline_api as api;
use tripline_model::EdgeWindow;

use crate::batch::Batch;

/// What everyone may see, published once a second and at once when an incident changes. Immutable.
#[derive(Debug, Clone)]
pub struct View {
    /// The graph over the last minute.
    pub graph: api::Graph,
    /// Unresolved incidents and those resolved within the last hour, newest first.
    pub incidents: Vec<api::Incident>,
    /// Every breaker known.
    pub breakers: Vec<api::Breaker>,
    /// The latest transitions, newest first, at most 200.
    pub transitions: Vec<api::Transition>,
    /// Every sidecar that reported within the last ten minutes.
    pub proxies: Vec<api::Proxy>,
    /// What was counted about the live task itself.
    pub counters: Counters,
}

/// Counters of the live task, all since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Edge windows taken into the graph.
    pub windows: u64,
    /// Edge windows refused: impossible numbers.
    pub windows_implausible: u64,
    /// Edge windows refused: older than the graph reaches back, or from the future.
    pub windows_out_of_time: u64,
    /// Edge windows folded into `__overflow__` because a limit was reached.
    pub windows_folded: u64,
    /// Breaker transitions taken in.
    pub transitions: u64,
    /// Span halves that found their other half.
    pub spans_paired: u64,
    /// Span halves that waited in vain.
    pub spans_unpaired: u64,
    /// Span halves put out because too many were waiting.
    pub spans_evicted: u64,
    /// Spans seen before.
    pub spans_repeated: u64,
}

/// A reason to tell someone about an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It was opened.
    Opened,
    /// Its level rose.
    LevelRose,
    /// Another suspected origin is first now.
    OriginChanged,
    /// It is over.
    Resolved,
}

/// Something that is due to be told, with the incident as it is now. `alerts_sent` already counts this one.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Why now.
    pub notice: Notice,
    /// The incident.
    pub incident: api::Incident,
}

/// The other tasks' hold on the live task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    /// Takes what was received; bounded: a full queue means that the receiver must refuse (retryable).
    pub batches: mpsc::Sender<Arc<Batch>>,
    /// The latest view.
    pub views: watch::Receiver<Arc<View>>,
    /// Notifications due; a receiver that lags loses the oldest, which is counted by whoever lags.
    pub notifications: broadcast::Sender<Notification>,
    /// Finished ten-second windows of all edges, for history.
    pub windows: broadcast::Sender<Arc<Vec<EdgeWindow>>>,
    queries: mpsc::Sender<Query>,
}

/// A question that the published view does not answer.
#[derive(Debug)]
enum Query {
    /// The graph over another window than a minute.
    Graph(Duration, oneshot::Sender<api::Graph>),
}

impl Live {
    /// The graph over the last `window`, at most ten minutes; none when the live task has ended.
    pub async fn graph(&self, window: Duration) -> Option<api::Graph> {
        let (answer, asked) = oneshot::channel();
        self.queries.send(Query::Graph(window, answer)).await.ok()?;
        asked.await.ok()
    }
}
