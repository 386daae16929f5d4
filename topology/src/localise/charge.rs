//! To which end of an edge its network gap belongs.
//!
//! The gap is what the client waited beyond what the server took: the network, the server's queue, or a client too busy to read. A server that
//! is slow to be reached is so for all its clients; a client that is slow to read is so towards all its servers. So for an edge with an added
//! delay d per request, each end counts on how many of its edges (in that role) at least d shows, an edge with less counting in proportion: n
//! out of N. Its weight is n^2 * n/N, doubled in the degree to which the end's own time is out of the ordinary as well. The
//! square is for coincidence: n edges bad for one reason are likelier than n reasons at once. Lost requests are charged likewise.

use super::facts::Facts;

/// What part of an edge's gap each end is charged with; if they are as good as equal, the edge itself is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Charge {
    /// Shares of client and server; they sum to one.
    Ends { client: f64, server: f64 },
    /// The edge.
    Way,
}

/// Weights closer than this share of their sum are equal.
const EQUAL: f64 = 0.1;

/// The delays of one end's edges in one role, in order, with their sums.
struct Delays {
    sorted: Vec<f64>,
    /// Sum of the first so many.
    sums: Vec<f64>,
}

impl Delays {
    fn new(mut sorted: Vec<f64>) -> Self {
        sorted.sort_by(f64::total_cmp);
        let sums = sorted
            .iter()
            .scan(0.0, |sum, delay| {
                let before = *sum;
                *sum += delay;
                Some(before)
            })
            .collect();
        Self { sorted, sums }
    }

    /// On how many of the edges at least `delay` shows; one with less counts in proportion.
    fn showing(&self, delay: f64) -> f64 {
        let less = self.sorted.partition_point(|other| *other < delay);
        let partly = self.sums.get(less).copied().unwrap_or_else(|| self.sorted.iter().sum());
        (self.sorted.len() - less) as f64 + partly / delay
    }
}

/// The charge of every edge, from the added delay of each per request (0 for none, none where it is not known) and each node's own belief.
pub(super) fn charges(facts: &Facts, delays: &[Option<f64>], own: &[f64]) -> Vec<Charge> {
    let of_role =
        |edges: &Vec<usize>| Delays::new(edges.iter().filter_map(|at| delays.get(*at).copied().flatten()).collect());
    let outgoing: Vec<Delays> = facts.out.iter().map(of_role).collect();
    let incoming: Vec<Delays> = facts.into.iter().map(of_role).collect();
    let charge = |((client, server), delay): (&(usize, usize), &Option<f64>)| {
        let Some(delay) = delay.filter(|delay| *delay > 0.0) else { return Charge::Way };
        let weight = |delays: &[Delays], end: usize| {
            let Some(delays) = delays.get(end) else { return 0.0 };
            let showing = delays.showing(delay);
            let all = delays.sorted.len().max(1) as f64;
            showing * showing * (showing / all) * (1.0 + own.get(end).copied().unwrap_or(0.0))
        };
        let (client, server) = (weight(&outgoing, *client), weight(&incoming, *server));
        let sum = client + server;
        if sum <= 0.0 || (client - server).abs() < EQUAL * sum {
            return Charge::Way;
        }
        Charge::Ends { client: client / sum, server: server / sum }
    };
    facts.ends.iter().zip(delays).map(charge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_with_less_delay_counts_in_proportion() {
        let delays = Delays::new(vec![80.0, 0.0, 10.0, 100.0]);
        assert_eq!([delays.showing(100.0), delays.showing(10.0), delays.showing(200.0)], [1.9, 3.0, 0.95]);
    }
}
