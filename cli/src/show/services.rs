//! `tripline services`.

use tripline_api::{Node, ServiceList};

use super::Listed;
use super::figures::{health, millis, rate, share};
use crate::style::Tone;
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

impl Listed for ServiceList {
    const PATH: &'static str = "services";

    fn table(&self) -> Table {
        table(&self.services)
    }
}

/// A row for each node, in the order given.
pub(super) fn table<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> Table {
    let columns = [
        Left("SERVICE"),
        Left("KIND"),
        Left("HEALTH"),
        Right("REQ/S"),
        Right("ERRORS"),
        Right("P50 MS"),
        Right("P90 MS"),
        Right("P99 MS"),
        Left("INCIDENT"),
    ];
    let mut table = Table::new(columns, "no services: nothing has reported yet");
    for node in nodes {
        table.row([
            Cell::from(&node.id),
            node.kind.as_str().into(),
            health(node.health),
            rate(node.requests_per_second),
            share(node.error_ratio),
            millis(node.latency_ms.p50),
            millis(node.latency_ms.p90),
            millis(node.latency_ms.p99),
            Cell::toned(node.incident.as_deref().unwrap_or(""), Tone::Bad),
        ]);
    }
    table
}
