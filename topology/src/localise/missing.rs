//! Requests that ended early: without calls that they used to make.
//!
//! Where nobody reports whether a request failed, a service that throws or returns early is seen by the calls that it no longer makes. If
//! an operation made c calls a request and makes (1 - q) c now, a share q of its requests is taken to have ended early. Why? Because
//! of the client itself (weight 1), or of a dependency d on which it gave up. For d speak all its clients that make other calls,
//! too: n of N of them lost calls, believed as their excess is and only as far as d was still called often enough: a request that
//! ended at d has called it, so d needs at least q calls a request. Its weight is n^2 / 2 * n/N: with one client no more
//! than half of the client's own, with two of two twice as much.

use super::facts::{Facts, Service};

/// Requests that ended early.
pub(super) struct Missing {
    /// Share of all such requests charged to each node; they sum to one, or to zero when there are none.
    pub(super) shares: Vec<f64>,
    /// Strongest belief of any service that requests ended early there.
    pub(super) belief: f64,
    /// By node: such requests, by how far they are believed.
    pub(super) early: Vec<Early>,
}

/// Requests of one service that ended early.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Early {
    /// Believed number.
    pub(super) requests: f64,
    /// Belief, over all its requests.
    pub(super) belief: f64,
}

/// Works the shares out.
pub(super) fn missing(facts: &Facts) -> Missing {
    let early: Vec<Early> = facts.services.iter().map(early).collect();
    let weights: Vec<f64> = (0..facts.names.len()).map(|server| weight(facts, &early, server)).collect();
    let mut shares = vec![0.0; facts.names.len()];
    for (node, lost) in early.iter().enumerate().filter(|(_, lost)| lost.requests > 0.0) {
        let weight_of = |server: usize| weights.get(server).copied().unwrap_or(0.0);
        let called = facts.calls_of(node).map(|(_, server, _)| (server, weight_of(server)));
        let suspects: Vec<(usize, f64)> = std::iter::once((node, 1.0)).chain(called).collect();
        let sum: f64 = suspects.iter().map(|(_, weight)| weight).sum();
        for (suspect, weight) in suspects {
            if let Some(share) = shares.get_mut(suspect) {
                *share += lost.requests * weight / sum;
            }
        }
    }
    let all: f64 = shares.iter().sum();
    if all > 0.0 {
        shares.iter_mut().for_each(|share| *share /= all);
    }
    Missing { shares, belief: early.iter().map(|early| early.belief).fold(0.0, f64::max), early }
}

fn early(service: &Service) -> Early {
    let (mut requests, mut believed, mut weighted) = (0.0, 0.0, 0.0);
    for calls in service.operations.iter().filter_map(|operation| operation.calls_out) {
        requests += calls.requests;
        believed += calls.believed / calls.normal;
        weighted += calls.belief() * calls.requests;
    }
    if requests > 0.0 { Early { requests: believed, belief: weighted / requests } } else { Early::default() }
}

/// How well `server` explains that its clients end early.
fn weight(facts: &Facts, early: &[Early], server: usize) -> f64 {
    let (mut bad, mut all) = (0.0, 0.0);
    for (_, client, edge) in facts.callers_of(server) {
        // Who calls nobody else has nothing to lose.
        if facts.out.get(client).is_none_or(|out| out.len() < 2) {
            continue;
        }
        all += 1.0;
        let (Some(early), Some(service)) = (early.get(client), facts.services.get(client)) else { continue };
        if early.requests > 0.0 {
            let still_called = (edge.requests / early.requests).min(1.0);
            bad += early.belief * still_called.powi(2) * f64::from(service.requests > 0.0);
        }
    }
    if all > 0.0 { bad * bad * bad / (2.0 * all) } else { 0.0 }
}
