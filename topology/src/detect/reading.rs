//! What edges carried: in the last windows, and since an incident began.
//!
//! The latter is added up as the incident goes on. What is older than the last windows changes only when something comes late, and the graph says
//! on which edge it did: there, and where an edge is new, all is read again from its tallies.

use std::sync::Arc;
use std::time::Duration;

use rayon::prelude::*;
use tripline_model::{Reporter, Timestamp};

use super::near::{Near, NearEdge};
use crate::ServiceGraph;
use crate::graph::{Brief, KEPT};

/// Edges of an incident that are worth a core of their own: of each more is read than of one that is only judged.
pub(super) const EDGES_A_CORE: usize = 2_048;

/// What was counted on one edge.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// By the client's sidecar.
    client: Brief,
    /// By the server's.
    served: Brief,
    /// By spans, while neither sidecar has counted anything.
    spans: Option<Box<Brief>>,
}

impl Counts {
    /// Of the best reporter that counted a request.
    pub(super) fn best(&self) -> Brief {
        let briefs = [Some(&self.client), Some(&self.served), self.spans.as_deref()];
        briefs.into_iter().flatten().find(|brief| brief.requests > 0).copied().unwrap_or_default()
    }

    /// Of the server's sidecar.
    pub(super) const fn served(&self) -> &Brief {
        &self.served
    }

    /// Adds what `read` says that each reporter counted.
    fn add(&mut self, read: impl Fn(Reporter) -> Brief) {
        self.client.add(&read(Reporter::Client));
        self.served.add(&read(Reporter::Server));
        if self.client.requests == 0 && self.served.requests == 0 {
            let spans = read(Reporter::Spans);
            if spans.requests > 0 {
                self.spans.get_or_insert_default().add(&spans);
            }
        }
    }

    /// In `[from, to)` of an edge, from its tallies.
    fn tallied(graph: &ServiceGraph, place: usize, (from, to): (Timestamp, Timestamp)) -> Self {
        let mut counts = Self::default();
        if let Some((_, state)) = graph.at(place).filter(|_| from < to) {
            counts.add(|reporter| state.brief_by(reporter, from, to));
        }
        counts
    }

    /// Adds the windows of an edge that start in `[from, to)`.
    fn add_windows(&mut self, graph: &ServiceGraph, place: usize, (from, to): (Timestamp, Timestamp)) {
        let length = Duration::from_secs(graph.window_secs().into());
        let mut start = from;
        while start < to {
            self.add(|reporter| graph.window(place, reporter, start));
            start = start + length;
        }
    }
}

/// What each edge carried in the windows from `from` on, the one that goes on included.
pub(super) fn latest(
    graph: &ServiceGraph,
    near: &Near,
    (from, now): (Timestamp, Timestamp),
) -> impl IndexedParallelIterator<Item = Counts> {
    near.edges.par_iter().map(move |edge| {
        let mut counts = Counts::default();
        counts.add_windows(graph, edge.place, (from, now + SECOND));
        counts
    })
}

const SECOND: Duration = Duration::from_secs(1);

/// The sums of one incident.
#[derive(Debug, Default)]
pub(super) struct Readings {
    near: Arc<Near>,
    /// What was added up: from here to there.
    span: (Timestamp, Timestamp),
    /// In the order of the edges of `near`.
    past: Vec<Past>,
}

#[derive(Debug, Clone)]
struct Past {
    /// [`ServiceGraph::old_at`] when it was read.
    old: u32,
    counts: Counts,
}

impl Readings {
    /// What each edge of `near` carried from `since`, where a window starts, to now, in whole windows.
    pub(super) fn read<'a>(
        &'a mut self,
        graph: &'a ServiceGraph,
        near: &'a Arc<Near>,
        (since, now): (Timestamp, Timestamp),
    ) -> impl IndexedParallelIterator<Item = Counts> + 'a {
        let until = graph.settled_at(now).max(since);
        if Arc::ptr_eq(&self.near, near) && self.goes_on((since, until)) {
            self.go_on(graph, (since, until), now);
        } else {
            self.past = self.settled(graph, near, (since, until), now);
        }
        (self.near, self.span) = (Arc::clone(near), (since, until));
        near.edges.par_iter().zip(&self.past).map(move |(edge, past)| {
            let mut counts = past.counts.clone();
            counts.add_windows(graph, edge.place, (until, now + SECOND));
            counts
        })
    }

    /// Whether what is added up is the beginning of a span.
    fn goes_on(&self, (since, until): (Timestamp, Timestamp)) -> bool {
        self.span.0 == since && self.span.1 <= until
    }

    /// Adds what came on the same edges up to a later time.
    fn go_on(&mut self, graph: &ServiceGraph, (since, until): (Timestamp, Timestamp), now: Timestamp) {
        let is_out_of_reach = now.since(since) > KEPT;
        let from = self.span.1;
        let edges = self.near.edges.par_iter().zip(&mut self.past).with_min_len(EDGES_A_CORE);
        edges.for_each(|(edge, past)| {
            let old = graph.old_at(edge.place);
            if past.old == old || is_out_of_reach {
                past.counts.add_windows(graph, edge.place, (from, until));
            } else {
                past.counts = Counts::tallied(graph, edge.place, (since, until));
            }
            past.old = old;
        });
    }

    /// What each edge carried from the one time to the other, by what is known already.
    fn settled(
        &self,
        graph: &ServiceGraph,
        near: &Near,
        (since, until): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Vec<Past> {
        let goes_on = self.goes_on((since, until));
        // What the tallies do not reach any more is kept as it was read.
        let is_out_of_reach = now.since(since) > KEPT;
        let known = |edge: &NearEdge, old: u32| {
            let at = self.near.edges.binary_search_by(|before| before.key.cmp(&edge.key)).ok().filter(|_| goes_on)?;
            let (before, past) = (self.near.edges.get(at)?, self.past.get(at)?);
            (before.place == edge.place && (past.old == old || is_out_of_reach)).then_some(past)
        };
        let past = |edge: &NearEdge| {
            let old = graph.old_at(edge.place);
            let counts = match known(edge, old) {
                Some(before) => {
                    let mut counts = before.counts.clone();
                    counts.add_windows(graph, edge.place, (self.span.1, until));
                    counts
                }
                None => Counts::tallied(graph, edge.place, (since, until)),
            };
            Past { old, counts }
        };
        near.edges.par_iter().with_min_len(EDGES_A_CORE).map(past).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use tripline_model::{EdgeCounts, EdgeKey, EdgeWindow, NodeKind};

    use super::*;
    use crate::Limits;
    use crate::detect::near::Nears;

    const START: u64 = 1_000_000;
    const REPORTERS: [Reporter; 3] = [Reporter::Client, Reporter::Server, Reporter::Spans];

    /// One second of an edge, from one reporter.
    fn second(key: &EdgeKey, reporter: Reporter, at: u64, requests: u64) -> EdgeWindow {
        EdgeWindow {
            key: key.clone(),
            reporter,
            client_kind: NodeKind::Service,
            server_kind: NodeKind::Service,
            start: Timestamp::from_secs(at),
            length: SECOND,
            counts: EdgeCounts { requests, attempts: requests, ..EdgeCounts::default() },
            latency: Default::default(),
            self_time: Default::default(),
            secured: false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever comes when, also half a minute late, and on edges that join later: what was added up is what the tallies hold.
        #[test]
        fn what_was_added_up_is_what_was_counted(
            since in 0_u64..4,
            reports in prop::collection::vec((0_u64..70, 0_u64..30, 0_usize..3, 0_usize..3, 1_u64..9), 1..120),
        ) {
            let keys: Vec<EdgeKey> = ["a>b:http", "b>c:http", "c>d:http"].iter().map(|key| key.parse().unwrap()).collect();
            let mut graph = ServiceGraph::new(Limits::default());
            let (nears, mut readings) = (Nears::new(), Readings::default());
            let since = Timestamp::from_secs(START + 5 * since);
            for at in 0..75 {
                let now = Timestamp::from_secs(START + at);
                for (when, late, key, reporter, requests) in reports.iter().filter(|report| report.0 == at) {
                    let window = second(&keys[*key], REPORTERS[*reporter], START + when.saturating_sub(*late), *requests);
                    graph.observe(&window, now);
                }
                if now < since {
                    continue;
                }
                // An incident of one edge at first, later of all.
                let touched: BTreeSet<EdgeKey> = keys.iter().take(if at < 40 { 1 } else { 3 }).cloned().collect();
                let near = nears.of(&graph, &Arc::new(touched));
                let read: Vec<Counts> = readings.read(&graph, &near, (since, now)).collect();
                prop_assert_eq!(read.len(), near.edges.len());
                for (edge, counts) in near.edges.iter().zip(read) {
                    let counted = Counts::tallied(&graph, edge.place, (since, now + SECOND));
                    prop_assert_eq!(counts.best().requests, counted.best().requests, "{} at {}", &edge.key, at);
                    prop_assert_eq!(counts.served().requests, counted.served().requests, "{} at {}", &edge.key, at);
                }
            }
        }
    }
}
