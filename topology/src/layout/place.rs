//! Heights: each node level with the mean of its neighbours, as far as its rank leaves room.

use super::{Layered, NODE_DISTANCE};

/// Rounds of pulling; each halves what is left to gain.
const ROUNDS: usize = 24;
/// Stand-ins need less room than cards.
const STAND_IN_DISTANCE: f64 = NODE_DISTANCE * 0.5;

/// The height of each node, given the order within ranks.
pub(super) fn place(layered: &Layered, ranks: &[Vec<usize>]) -> Vec<f64> {
    let count = layered.rank.len();
    let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (left, right) in &layered.edges {
        neighbours[*left].push(*right);
        neighbours[*right].push(*left);
    }
    let mut height = vec![0.0; count];
    for rank in ranks {
        for (at, node) in rank.iter().enumerate() {
            height[*node] = (at as f64 - (rank.len() - 1) as f64 / 2.0) * NODE_DISTANCE;
        }
    }
    for round in 0..ROUNDS {
        let rightwards = round % 2 == 0;
        for step in 0..ranks.len() {
            let rank = &ranks[if rightwards { step } else { ranks.len() - 1 - step }];
            let wished: Vec<f64> = rank
                .iter()
                .map(|node| {
                    let around = &neighbours[*node];
                    let sum: f64 = around.iter().map(|other| height[*other]).sum();
                    if around.is_empty() { height[*node] } else { sum / around.len() as f64 }
                })
                .collect();
            let gaps: Vec<f64> = rank.windows(2).map(|pair| gap(pair[0], pair[1], layered.real)).collect();
            for (node, y) in rank.iter().zip(spread(&wished, &gaps)) {
                height[*node] = y;
            }
        }
    }
    straighten(layered, ranks, &mut height);
    height
}

/// Where two nodes have only each other on the sides that face each other, the left one goes level with the right one, as far as there
/// is room: pulling alone comes near to that, and an edge that is bent by a few pixels looks like a mistake.
fn straighten(layered: &Layered, ranks: &[Vec<usize>], height: &mut [f64]) {
    let mut right_of: Vec<Vec<usize>> = vec![Vec::new(); height.len()];
    let mut left_of = vec![0_usize; height.len()];
    for (left, right) in &layered.edges {
        right_of[*left].push(*right);
        left_of[*right] += 1;
    }
    for rank in ranks.iter().rev() {
        let wished: Vec<f64> = rank
            .iter()
            .map(|node| match right_of[*node][..] {
                [only] if left_of[only] == 1 => height[only],
                _ => height[*node],
            })
            .collect();
        let gaps: Vec<f64> = rank.windows(2).map(|pair| gap(pair[0], pair[1], layered.real)).collect();
        for (node, y) in rank.iter().zip(spread(&wished, &gaps)) {
            height[*node] = y;
        }
    }
}

fn gap(upper: usize, lower: usize, real: usize) -> f64 {
    match (upper < real, lower < real) {
        (true, true) => NODE_DISTANCE,
        (false, false) => STAND_IN_DISTANCE,
        _ => f64::midpoint(NODE_DISTANCE, STAND_IN_DISTANCE),
    }
}

/// The heights nearest to `wished` (least squares) that keep the order and the gaps: pool adjacent violators.
fn spread(wished: &[f64], gaps: &[f64]) -> Vec<f64> {
    // Taking each node's offset within a packed rank away turns "at least a gap apart" into "not descending".
    let offsets: Vec<f64> = std::iter::once(0.0)
        .chain(gaps.iter().scan(0.0, |sum, gap| {
            *sum += gap;
            Some(*sum)
        }))
        .collect();
    let mut blocks: Vec<(f64, usize)> = Vec::with_capacity(wished.len());
    for (wish, offset) in wished.iter().zip(&offsets) {
        let mut block = (wish - offset, 1);
        while let Some(last) = blocks.pop_if(|last| last.0 > block.0) {
            let size = last.1 + block.1;
            block = ((last.0 * last.1 as f64 + block.0 * block.1 as f64) / size as f64, size);
        }
        blocks.push(block);
    }
    let levels = blocks.into_iter().flat_map(|(level, size)| std::iter::repeat_n(level, size));
    levels.zip(&offsets).map(|(level, offset)| level + offset).collect()
}
