//! Order within ranks: medians of neighbours, swept to and fro, the best of all sweeps kept.

use super::{Layered, MAX_ORDERED};

/// Sweeps over all ranks; more bring nothing on graphs of the size that people look at.
const SWEEPS: usize = 16;

/// Nodes of each rank from top to bottom. `start` is the wished height of the graph's own nodes.
pub(super) fn order(layered: &Layered, start: &[f64]) -> Vec<Vec<usize>> {
    let count = layered.rank.len();
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (left, right) in &layered.edges {
        after[*left].push(*right);
        before[*right].push(*left);
    }
    let mut height: Vec<f64> = start.to_vec();
    for left_of in before.iter().skip(layered.real) {
        // A stand-in starts level with the node on its left, which always has a lower index or is a node of the graph.
        height.push(left_of.first().map_or(0.0, |left| height[*left]));
    }
    let mut ranks = vec![Vec::new(); layered.rank.iter().max().map_or(0, |max| max + 1)];
    for node in 0..count {
        ranks[layered.rank[node]].push(node);
    }
    for rank in &mut ranks {
        rank.sort_by(|a, b| height[*a].total_cmp(&height[*b]));
    }
    if count > MAX_ORDERED {
        return ranks;
    }
    let mut best = (crossings(&ranks, &after), ranks.clone());
    for sweep in 0..SWEEPS {
        let rightwards = sweep % 2 == 0;
        for step in 1..ranks.len() {
            let at = if rightwards { step } else { ranks.len() - 1 - step };
            let neighbours = if rightwards { &before } else { &after };
            let positions = positions(&ranks, count);
            let current = &mut ranks[at];
            let key = |node: &usize| median(&neighbours[*node], &positions).unwrap_or(positions[*node]);
            current.sort_by(|a, b| key(a).total_cmp(&key(b)));
        }
        let now = crossings(&ranks, &after);
        if now < best.0 {
            best = (now, ranks.clone());
        }
        if best.0 == 0 {
            break;
        }
    }
    best.1
}

fn positions(ranks: &[Vec<usize>], count: usize) -> Vec<f64> {
    let mut positions = vec![0.0; count];
    for rank in ranks {
        for (at, node) in rank.iter().enumerate() {
            positions[*node] = at as f64;
        }
    }
    positions
}

/// The mean of the two middle positions; none without neighbours.
fn median(neighbours: &[usize], positions: &[f64]) -> Option<f64> {
    let mut at: Vec<f64> = neighbours.iter().map(|node| positions[*node]).collect();
    at.sort_by(f64::total_cmp);
    let middle = at.len() / 2;
    Some(f64::midpoint(*at.get(middle)?, *at.get((at.len() - 1) / 2)?))
}

/// Pairs of edges that cross between neighbouring ranks.
fn crossings(ranks: &[Vec<usize>], after: &[Vec<usize>]) -> usize {
    let positions = positions(ranks, after.len());
    ranks
        .iter()
        .map(|rank| {
            let mut ends: Vec<f64> = Vec::new();
            for node in rank {
                let mut own: Vec<f64> = after[*node].iter().map(|next| positions[*next]).collect();
                own.sort_by(f64::total_cmp);
                ends.extend(own);
            }
            inversions(&ends)
        })
        .sum()
}

/// Pairs out of order, counted by insertion into a sorted list.
fn inversions(values: &[f64]) -> usize {
    let mut sorted: Vec<f64> = Vec::with_capacity(values.len());
    let mut count = 0;
    for value in values {
        let at = sorted.partition_point(|known| known <= value);
        count += sorted.len() - at;
        sorted.insert(at, *value);
    }
    count
}
