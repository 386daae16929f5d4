//! What sidecars count: a window for each edge, side and second of the sidecar's own clock.

use std::time::Duration;

use tripline_model::{EdgeCounts, EdgeWindow, Histogram, NodeKind, Reporter};

use super::layout::Layout;
use super::{SECOND, START};

/// Windows under way and those that are finished.
pub(super) struct Tallies {
    /// By edge: the client's, the server's, and that of spans.
    open: Vec<[Pane; 3]>,
    done: Vec<(usize, Reporter, Pane)>,
}

#[derive(Debug, Clone, Default)]
struct Pane {
    /// By the clock of whoever counts.
    second: u64,
    counts: EdgeCounts,
    latency: Histogram,
    self_time: Histogram,
}

/// One exchange that ended.
pub(super) struct Ended {
    pub(super) edge: usize,
    pub(super) reporter: Reporter,
    /// Since the start of the run, by the clock of whoever counts.
    pub(super) at: u64,
    pub(super) counts: EdgeCounts,
    pub(super) latency: Option<u64>,
    pub(super) self_time: Option<u64>,
}

impl Tallies {
    pub(super) fn new(edges: usize) -> Self {
        Self { open: vec![Default::default(); edges], done: Vec::new() }
    }

    pub(super) fn count(&mut self, ended: &Ended) {
        let pane = &mut self.open[ended.edge][ended.reporter as usize];
        let second = ended.at / SECOND;
        if pane.second != second {
            let full = std::mem::replace(pane, Pane { second, ..Pane::default() });
            if full.counts.requests > 0 {
                self.done.push((ended.edge, ended.reporter, full));
            }
        }
        pane.counts.merge(&ended.counts);
        if let Some(latency) = ended.latency {
            pane.latency.record(Duration::from_nanos(latency));
        }
        if let Some(own) = ended.self_time {
            pane.self_time.record(Duration::from_nanos(own));
        }
    }

    /// All windows in order.
    pub(super) fn finish(&mut self, layout: &Layout) -> Vec<EdgeWindow> {
        for (edge, sides) in self.open.iter_mut().enumerate() {
            for (reporter, pane) in [Reporter::Client, Reporter::Server, Reporter::Spans].into_iter().zip(sides) {
                if pane.counts.requests > 0 {
                    self.done.push((edge, reporter, std::mem::take(pane)));
                }
            }
        }
        let window = |(edge, reporter, pane): (usize, Reporter, Pane)| EdgeWindow {
            key: layout.edges[edge].key.clone(),
            reporter,
            client_kind: layout.edges[edge].client_kind,
            server_kind: NodeKind::Service,
            start: START + Duration::from_secs(pane.second),
            length: Duration::from_secs(1),
            counts: pane.counts,
            latency: pane.latency,
            self_time: pane.self_time,
            secured: false,
        };
        let mut windows: Vec<EdgeWindow> = std::mem::take(&mut self.done).into_iter().map(window).collect();
        windows.sort_by(|a, b| (a.start, &a.key, a.reporter).cmp(&(b.start, &b.key, b.reporter)));
        windows
    }
}
