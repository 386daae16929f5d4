//! What was normal before a restart, learned again from history.
//!
//! A detector that has just started knows nobody's normal: for the first windows nothing is slow, and for half an hour two failures in a hundred
//! pass for a usual day. So before anything is received the last hour of stored windows is judged once more by a detector of its
//! own, quickly and without telling anyone, and what it then knows is given to the live one. That it is the same code matters:
//! windows of a fault are left out of the baseline as they were then.
//!
//! Why not a file of baselines beside history: it would be a second truth with a format, a bound and a death of its own, and could
//! never be younger than its last writing. History lacks the last half minute before a crash, which a baseline does not miss.
//!
//! Bounded: [`MAX_ROWS`] rows are read, so that a mesh of a thousand services reaches back some minutes and a small one the whole hour. Stored
//! windows are ten seconds long and are judged as such; means are what they would have been. Baselines of edges whose history is
//! older than an hour are not used at all.

use std::time::Duration;

use tripline_model::{EdgeWindow, Timestamp};
use tripline_topology::detect::{BaselineState, Detector, Settings};
use tripline_topology::{Limits, ServiceGraph};

use crate::history::{History, PANE, QueryError};

/// How far back is read.
const REACH: Duration = Duration::from_secs(3_600);
/// Rows read at most.
const MAX_ROWS: usize = 500_000;
/// Panes in an hour.
const MAX_PANES: usize = 360;
/// Windows that the detector keeps open for late reports before it learns from them.
const OPEN: u32 = 3;

/// Baselines with the time up to which they were learned.
#[derive(Debug, Default)]
pub struct Learned {
    pub(super) baselines: Vec<BaselineState>,
    pub(super) until: Timestamp,
}

impl Learned {
    /// Of how many edges and services.
    #[must_use]
    pub fn len(&self) -> usize {
        self.baselines.len()
    }

    /// Whether nothing was learned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.baselines.is_empty()
    }
}

/// Reads the hour before `now` and learns from it.
///
/// # Errors
/// When history cannot be read in time.
pub async fn from(history: &History, settings: Settings, now: Timestamp) -> Result<Learned, QueryError> {
    let end = now.window_start(PANE) + PANE;
    let mut reach = PANE * 6;
    let latest = loop {
        let windows = history.edge_windows(end - reach, end).await?;
        if !windows.is_empty() || reach >= REACH {
            break windows;
        }
        reach = (reach * 2).min(REACH);
    };
    let Some(newest) = latest.iter().map(|window| window.start).max() else { return Ok(Learned::default()) };
    let in_one = latest.iter().filter(|window| window.start == newest).count();
    let panes = (MAX_ROWS / in_one.max(1)).min(MAX_PANES);
    let back = PANE * u32::try_from(panes).unwrap_or(0);
    let windows = history.edge_windows(newest + PANE - back, newest + PANE).await?;
    let learned = tokio::task::spawn_blocking(move || learn(windows, settings)).await;
    learned.map_err(|_| QueryError::Closed)
}

/// What a detector knows that has seen these windows.
fn learn(mut windows: Vec<EdgeWindow>, settings: Settings) -> Learned {
    windows.sort_by_key(|window| window.start);
    let settings = Settings { window: PANE, ..settings };
    let mut graph = ServiceGraph::new(Limits { window: PANE, ..Limits::default() });
    let mut detector = Detector::new(settings);
    let mut until = Timestamp::default();
    for pane in windows.chunk_by(|a, b| a.start == b.start) {
        let Some(start) = pane.first().map(|window| window.start) else { continue };
        until = start + PANE;
        let now = until + settings.lateness;
        for window in pane {
            // Implausible windows were never stored; whatever else is refused teaches nothing.
            graph.observe(window, now);
        }
        graph.tidy(now);
        // Nobody is told: what was to be told was told then.
        let _told_then = detector.evaluate(&graph, now);
    }
    // Nothing comes late any more: the last windows are learned from, too.
    for after in 1..=OPEN {
        let _silence = detector.evaluate(&graph, until + PANE * after + settings.lateness);
    }
    Learned { baselines: detector.baselines().collect(), until }
}

#[cfg(test)]
mod tests {
    use tripline_model::{EdgeCounts, Histogram, NodeKind, Reporter};
    use tripline_topology::detect::BaselineOf;

    use super::*;

    const START: u64 = 1_000_000;

    fn window(pane: u64, ms: u64, failed: u64) -> EdgeWindow {
        let mut latency = Histogram::default();
        (0..100).for_each(|_| latency.record(Duration::from_millis(ms)));
        EdgeWindow {
            key: "web>db:http".parse().unwrap(),
            reporter: Reporter::Client,
            client_kind: NodeKind::Service,
            server_kind: NodeKind::Service,
            start: Timestamp::from_secs(START + pane * 10),
            length: PANE,
            counts: EdgeCounts {
                requests: 100,
                failed,
                attempts: 100,
                answered_failures: failed,
                ..EdgeCounts::default()
            },
            latency: latency.clone(),
            self_time: latency,
            secured: false,
        }
    }

    #[test]
    fn an_hour_of_windows_is_a_baseline_and_a_fault_in_it_is_not() {
        let fault = 200..230;
        let at = |pane: u64| if fault.contains(&pane) { window(pane, 900, 80) } else { window(pane, 40, 1) };
        let learned = learn((0..360).rev().map(at).collect(), Settings::default());
        assert_eq!(learned.until, Timestamp::from_secs(START + 3_600));
        let edge = learned.baselines.iter().find(|known| matches!(&known.of, BaselineOf::Edge(_))).unwrap();
        assert!(edge.latency.samples.iter().all(|seconds| (0.035..0.045).contains(seconds)), "{edge:?}");
        assert!(edge.failed / edge.requests < 0.02, "{edge:?}");
    }

    #[test]
    fn half_a_minute_is_enough_to_know_what_is_slow() {
        let learned = learn((0..3).map(|pane| window(pane, 40, 0)).collect(), Settings::default());
        let edge = learned.baselines.iter().find(|known| matches!(&known.of, BaselineOf::Edge(_))).unwrap();
        assert_eq!(edge.latency.samples.len(), 3, "{edge:?}");
        assert_eq!(learned.until, Timestamp::from_secs(START + 30));
    }

    #[test]
    fn nothing_teaches_nothing() {
        assert!(learn(Vec::new(), Settings::default()).is_empty());
    }
}
