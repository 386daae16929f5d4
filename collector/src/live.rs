//! The live view: one task owns the graph, the pairing of spans and the incidents; others hold a [`Live`].
//!
//! Everything that was accepted comes in as [`Batch`]es; once a second, and at once when a breaker opened, the task judges the
//! graph and publishes an immutable [`View`]. The state machine ([`state::State`]) is pure and is given `now`; the task
//! around it only selects and performs its effects.

mod attribute;
pub(crate) mod convert;
mod explain;
pub(crate) mod folded;
pub mod learned;
mod sidecars;
mod state;
pub(crate) mod ticks;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tripline_api as api;
use tripline_model::{EdgeWindow, ServiceName};

use crate::batch::Batch;
use crate::clock;
use learned::Learned;
use state::{Effects, State};
use ticks::Ticks;

pub use tripline_topology::Limits;
pub use tripline_topology::detect::{Notice, Settings};

/// Batches that may wait for the live task; at 1,000 spans each some 500 MB when all are full, and seconds of work.
const QUEUE: usize = 512;
/// Questions that may wait.
const QUESTIONS: usize = 64;
/// Notifications that a slow receiver may be behind.
const NOTIFICATIONS: usize = 256;
/// Sets of finished windows, one a second, that a slow receiver may be behind.
const WINDOWS: usize = 160;

/// What everyone may see, published once a second and at once when an incident changes. Immutable.
#[derive(Debug, Clone)]
pub struct View {
    /// After how many readings of the live graph it was made.
    pub reading: u64,
    /// The graph over the last minute.
    pub graph: api::Graph,
    /// Unresolved incidents and those resolved within the last hour, newest first.
    pub incidents: Vec<api::Incident>,
    /// Every breaker known: open ones first, then by id.
    pub breakers: Arc<Vec<api::Breaker>>,
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
    /// Peers that were guessed from a client's span and taken back when the real server showed up.
    pub peers_retracted: u64,
    /// Calls dropped because they fell on too many edges and seconds at once.
    pub calls_dropped: u64,
    /// How long the ticks took.
    pub ticks: Ticks,
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
    /// Finished ten-second windows, for history: each second those of a share of the edges.
    pub windows: broadcast::Sender<Arc<Vec<EdgeWindow>>>,
    queries: mpsc::Sender<Query>,
}

/// A question that the published view does not answer.
#[derive(Debug)]
enum Query {
    /// The graph over another window than a minute.
    Graph(Duration, oneshot::Sender<api::Graph>),
    /// Why there is an edge between two services, or none.
    Explain(ServiceName, ServiceName, oneshot::Sender<api::Explanation>),
    /// What was normal before the restart.
    Restore(Learned),
}

impl Live {
    /// The graph over the last `window`, at most ten minutes; none when the live task has ended.
    pub async fn graph(&self, window: Duration) -> Option<api::Graph> {
        let (answer, asked) = oneshot::channel();
        self.queries.send(Query::Graph(window, answer)).await.ok()?;
        asked.await.ok()
    }
}

impl Live {
    /// Gives the detector what was learned before; edges that it has judged already keep what it knows of them.
    pub async fn restore(&self, learned: Learned) {
        // A live task that has ended needs no baselines.
        let _ended = self.queries.send(Query::Restore(learned)).await;
    }

    /// Why there is an edge between two services, or none; no answer when the live task has ended.
    pub async fn explain(&self, client: ServiceName, server: ServiceName) -> Option<api::Explanation> {
        let (answer, asked) = oneshot::channel();
        self.queries.send(Query::Explain(client, server, answer)).await.ok()?;
        asked.await.ok()
    }
}

/// The live task and the hold on it. The task ends when every [`Live`] is gone.
pub fn task(limits: Limits, settings: Settings) -> (Live, impl Future<Output = ()> + Send + 'static) {
    let (batches, received) = mpsc::channel(QUEUE);
    let (queries, asked) = mpsc::channel(QUESTIONS);
    let (notifications, _) = broadcast::channel(NOTIFICATIONS);
    let (windows, _) = broadcast::channel(WINDOWS);
    let mut state = State::new(limits, settings);
    let (view, views) = watch::channel(Arc::new(state.view(clock::now())));
    let live = Live { batches, views, notifications: notifications.clone(), windows: windows.clone(), queries };
    (live, run(state, Inputs { received, asked }, Outputs { view, notifications, windows }))
}

struct Inputs {
    received: mpsc::Receiver<Arc<Batch>>,
    asked: mpsc::Receiver<Query>,
}

struct Outputs {
    view: watch::Sender<Arc<View>>,
    notifications: broadcast::Sender<Notification>,
    windows: broadcast::Sender<Arc<Vec<EdgeWindow>>>,
}

/// Runs the live task on this thread, which it keeps: going through a large graph would hold up whatever else a thread of the runtime has to do.
///
/// # Panics
/// When the thread is not one for blocking work of a runtime.
pub fn on_its_thread<T>(task: impl Future<Output = T>) -> T {
    tripline_topology::with_helpers(|| Handle::current().block_on(task))
}

async fn run(mut state: State, mut inputs: Inputs, outputs: Outputs) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            batch = inputs.received.recv() => {
                let Some(batch) = batch else { break };
                let effects = state.take(&batch, clock::now());
                outputs.perform(&mut state, effects, false);
            }
            query = inputs.asked.recv() => {
                // Whoever asked may have left; then nobody wants the answer.
                match query {
                    Some(Query::Graph(window, answer)) => drop(answer.send(state.graph(window, clock::now()))),
                    Some(Query::Explain(client, server, answer)) => drop(answer.send(state.explain(&client, &server))),
                    Some(Query::Restore(learned)) => state.restore(learned, clock::now()),
                    None => {}
                }
            }
            _ = ticks.tick() => {
                let begun = Instant::now();
                let effects = state.tick(clock::now());
                outputs.perform(&mut state, effects, true);
                state.note_tick(begun.elapsed());
            }
        }
    }
}

impl Outputs {
    /// A send fails only when nobody listens, and then nobody misses it.
    fn perform(&self, state: &mut State, effects: Effects, publish: bool) {
        if publish || effects.incidents_changed {
            let view = Arc::new(state.view(clock::now()));
            state.retire(self.view.send_replace(view));
        }
        for (incident, alert) in effects.folded {
            tracing::info!(
                incident,
                at = alert.at,
                edge = alert.edge,
                kind = alert.kind,
                "folded into the incident: {}",
                alert.text
            );
        }
        for notification in effects.notifications {
            let _ = self.notifications.send(notification);
        }
        if !effects.windows.is_empty() {
            let _ = self.windows.send(Arc::new(effects.windows));
        }
    }
}
