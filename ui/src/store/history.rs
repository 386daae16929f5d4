//! What the page has seen of one node or edge: a ring of the last minutes, for sparklines.

use std::collections::VecDeque;

use tripline_api::{Edge, Node};

/// Samples kept, one a second: four minutes.
const KEPT: usize = 240;

/// One second's figures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Sample {
    /// Requests per second.
    pub(crate) rate: f32,
    /// Share that failed.
    pub(crate) error_ratio: f32,
    /// 99th percentile of the latency, in milliseconds.
    pub(crate) p99: f32,
}

impl Sample {
    /// Of a node.
    pub(crate) fn of_node(node: &Node) -> Self {
        Self {
            rate: node.requests_per_second as f32,
            error_ratio: node.error_ratio as f32,
            p99: node.latency_ms.p99 as f32,
        }
    }

    /// Of an edge.
    pub(crate) fn of_edge(edge: &Edge) -> Self {
        Self {
            rate: edge.requests_per_second as f32,
            error_ratio: edge.error_ratio as f32,
            p99: edge.latency_ms.p99 as f32,
        }
    }
}

/// The last samples, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct History(VecDeque<Sample>);

impl History {
    /// Adds the newest sample.
    pub(crate) fn push(&mut self, sample: Sample) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// Forgets all but the newest.
    pub(crate) fn keep_last(&mut self, count: usize) {
        self.0.drain(..self.0.len().saturating_sub(count));
    }

    /// One figure of every sample.
    pub(crate) fn series(&self, figure: impl Fn(&Sample) -> f32) -> Vec<f32> {
        self.0.iter().map(figure).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_sample_makes_room() {
        let mut history = History::default();
        for i in 0..KEPT + 2 {
            history.push(Sample { rate: i as f32, ..Sample::default() });
        }
        let rates = history.series(|sample| sample.rate);
        assert_eq!((rates.len(), rates.first(), rates.last()), (KEPT, Some(&2.0), Some(&(KEPT as f32 + 1.0))));
    }
}
