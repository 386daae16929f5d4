//! Once a second: the counts of all workers and the state of all breakers become one report.
//!
//! What a report takes away from the workers is also added to running totals, from which the admin port's metrics are
//! written, so both always tell the same story.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tripline_model::{
    BreakerStatus, EdgeKey, EdgeWindow, NodeKind, Protocol, Reporter, ServiceName, SidecarReport, Timestamp,
};

use crate::tally::{Refusal, Tally};
use crate::target::Target;
use crate::worker::{Shared, Worker};

/// Everything counted since the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals {
    /// By edge and who counted.
    pub(crate) edges: BTreeMap<(EdgeKey, Reporter), Tally>,
    /// By [`Refusal::ALL`].
    pub(crate) refused: [u64; Refusal::ALL.len()],
    /// Every breaker.
    pub(crate) breakers: Vec<BreakerStatus>,
    /// Reports made.
    pub(crate) reports: u64,
}

/// Makes the reports.
#[derive(Debug)]
pub(crate) struct Counting {
    shared: Arc<Shared>,
    workers: Vec<Arc<Worker>>,
    window_start: Timestamp,
    totals: watch::Sender<Arc<Totals>>,
}

impl Counting {
    /// Begins the first window.
    pub(crate) fn new(shared: Arc<Shared>, workers: Vec<Arc<Worker>>) -> (Self, watch::Receiver<Arc<Totals>>) {
        let (totals, reader) = watch::channel(Arc::default());
        let window_start = shared.clock.now();
        (Self { shared, workers, window_start, totals }, reader)
    }

    /// Ends the window and begins the next.
    pub(crate) fn report(&mut self) -> SidecarReport {
        let now = self.shared.clock.now();
        let (start, length) = (self.window_start, now.since(self.window_start));
        self.window_start = now;
        let targets = self.shared.all_targets();
        let breakers: Vec<BreakerStatus> =
            targets.iter().flat_map(|target| target.statuses(now)).map(|(status, _)| status).collect();
        let mut totals = Totals::clone(&self.totals.borrow());
        let window = self.take(&self.shared.roster.all(), &mut totals);
        totals.reports += 1;
        totals.breakers.clone_from(&breakers);
        let edges = window.into_iter().map(|((key, reporter), tally)| EdgeWindow {
            client_kind: match &key.client {
                client if *client == self.shared.sidecar.service => self.shared.kind,
                client if *client == ServiceName::user() => NodeKind::User,
                _ => NodeKind::Service,
            },
            server_kind: match targets.iter().find(|target| target.server == key.server) {
                Some(target) => target.kind,
                None if key.server == self.shared.sidecar.service => self.shared.kind,
                None => NodeKind::Service,
            },
            key,
            reporter,
            start,
            length,
            secured: tally.is_secured(),
            counts: tally.counts,
            latency: tally.latency,
            self_time: tally.self_time,
        });
        let report = SidecarReport {
            sidecar: self.shared.sidecar.clone(),
            sequence: totals.reports,
            start,
            length,
            edges: edges.collect(),
            breakers,
            dropped: self.shared.dropped.total(),
        };
        self.totals.send_replace(Arc::new(totals));
        report
    }

    fn take(&self, targets: &[Arc<Target>], totals: &mut Totals) -> BTreeMap<(EdgeKey, Reporter), Tally> {
        let own = self.shared.service();
        let mut window: BTreeMap<(EdgeKey, Reporter), Tally> = BTreeMap::new();
        for worker in &self.workers {
            let taken = worker.shard.take();
            for (sum, part) in totals.refused.iter_mut().zip(taken.refused) {
                *sum += part;
            }
            for (number, tally) in taken.outbound {
                if let Some(target) = targets.get(number) {
                    let edge = (edge(own, &target.server, target.protocol), Reporter::Client);
                    window.entry(edge).or_default().merge(&tally);
                }
            }
            for ((client, protocol), tally) in taken.inbound {
                window.entry((edge(&client, own, protocol), Reporter::Server)).or_default().merge(&tally);
            }
        }
        for (edge, tally) in &window {
            totals.edges.entry(edge.clone()).or_default().merge(tally);
        }
        window
    }
}

fn edge(client: &ServiceName, server: &ServiceName, protocol: Protocol) -> EdgeKey {
    EdgeKey { client: client.clone(), server: server.clone(), protocol }
}
