//! How a node and an edge look, from their figures: widths, shares, words. Pure, and equal when nothing visible changed,
//! so that a second without news touches no element.

use tripline_api::{BreakerState, Edge, Health, Node, NodeKind};

use crate::{format, icons};

/// Thinnest and thickest edge.
const WIDTH_MIN: f64 = 1.5;
const WIDTH_MAX: f64 = 9.0;

/// A node's texts and classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeLook {
    pub(crate) kind: NodeKind,
    pub(crate) health: Health,
    pub(crate) rate: String,
    pub(crate) errors: String,
    pub(crate) p99: String,
    pub(crate) label: String,
}

impl NodeLook {
    /// Of these figures.
    pub(crate) fn of(node: &Node) -> Self {
        let idle = node.requests == 0;
        let figure = |text: String| if idle { "–".to_owned() } else { text };
        let rate = figure(format::rate(node.requests_per_second));
        let errors = figure(format::ratio(node.error_ratio));
        let p99 = figure(format::latency(node.latency_ms.p99));
        let health = icons::health_word(node.health).to_lowercase();
        let label = match idle {
            true => format!("{}, {}, {health}, no traffic", node.id, node.kind),
            false => {
                format!("{}, {}, {health}, {rate} requests per second, {errors} errors, p99 {p99}", node.id, node.kind)
            }
        };
        Self { kind: node.kind, health: node.health, rate, errors, p99, label }
    }
}

/// An edge's widths, shares and texts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EdgeLook {
    pub(crate) health: Health,
    pub(crate) breaker: BreakerState,
    pub(crate) idle: bool,
    /// Of the line, in the drawing's units.
    pub(crate) width: f64,
    /// Share that the server, or the way to it, failed: drawn at the server's end. In hundredths.
    pub(crate) failed: f64,
    /// Share that was never sent: drawn at the client's end. In hundredths.
    pub(crate) shed: f64,
    /// How fast its dots run: 1 to 3.
    pub(crate) pace: u8,
    /// Shown when one points at it.
    pub(crate) rate: String,
    /// Shown under it.
    pub(crate) errors: String,
    /// For screen readers.
    pub(crate) label: String,
}

impl EdgeLook {
    /// Of these figures.
    pub(crate) fn of(edge: &Edge) -> Self {
        let share = |n: u64| if edge.requests == 0 { 0.0 } else { n as f64 / edge.requests as f64 };
        let (rate, errors) = (format::rate(edge.requests_per_second), format::ratio(edge.error_ratio));
        let shed = share(edge.shed);
        let label = format!(
            "{} over {}, {rate} requests per second, {errors} errors, breaker {}",
            format::edge_name(&edge.id),
            edge.protocol,
            icons::breaker_word(edge.breaker).to_lowercase(),
        );
        Self {
            health: edge.health,
            breaker: edge.breaker,
            idle: edge.requests == 0,
            width: width(edge.requests_per_second),
            failed: hundredths(share(edge.failed.saturating_sub(edge.shed))),
            shed: hundredths(shed),
            pace: pace(edge.requests_per_second),
            rate: format!("{rate} rps"),
            errors: format!("{errors} err"),
            label,
        }
    }
}

/// Logarithmic: ten times the rate is about one step of 2.2.
fn width(rate: f64) -> f64 {
    let width = WIDTH_MIN + 2.2 * (1.0 + rate.max(0.0) / 2.0).log10();
    // Quarters of a unit: finer steps cannot be seen and would touch the element each second.
    (width.min(WIDTH_MAX) * 4.0).round() / 4.0
}

fn pace(rate: f64) -> u8 {
    match rate {
        r if r < 5.0 => 1,
        r if r < 50.0 => 2,
        _ => 3,
    }
}

fn hundredths(share: f64) -> f64 {
    let rounded = (share.clamp(0.0, 1.0) * 100.0).round() / 100.0;
    // One failure in a thousand is still drawn.
    if share > 0.0 { rounded.max(0.02) } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_api::Latency;

    fn edge() -> Edge {
        Edge {
            id: "shop/web>shop/cart:http".into(),
            client: "shop/web".into(),
            server: "shop/cart".into(),
            protocol: "http".into(),
            reporter: "client".into(),
            health: Health::Degraded,
            requests: 1_000,
            requests_per_second: 16.7,
            failed: 300,
            shed: 100,
            error_ratio: 0.3,
            latency_ms: Latency::default(),
            attempts_per_request: 1.0,
            breaker: BreakerState::Open,
            secured: true,
        }
    }

    #[test]
    fn shed_calls_are_not_drawn_as_the_servers_failures() {
        let look = EdgeLook::of(&edge());
        assert_eq!((look.failed, look.shed), (0.2, 0.1));
        assert_eq!((look.rate.as_str(), look.errors.as_str()), ("16.7 rps", "30% err"));
        assert_eq!(look.label, "web → cart over http, 16.7 requests per second, 30% errors, breaker open");
    }

    #[test]
    fn one_failure_shows_and_none_does_not() {
        let rare = EdgeLook::of(&Edge { failed: 1, shed: 0, ..edge() });
        assert_eq!(rare.failed, 0.02);
        let none = EdgeLook::of(&Edge { requests: 0, failed: 0, shed: 0, ..edge() });
        assert_eq!((none.failed, none.idle), (0.0, true));
    }

    #[test]
    fn widths_grow_with_the_logarithm_and_end() {
        assert_eq!((width(0.0), width(9.0), width(99.0), width(1e9)), (1.5, 3.25, 5.25, WIDTH_MAX));
    }
}
