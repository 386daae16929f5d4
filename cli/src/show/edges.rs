//! `tripline edges`.

use tripline_api::EdgeList;

use super::Listed;
use super::figures::{breaker, count, health, millis, rate, share};
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

impl Listed for EdgeList {
    const PATH: &'static str = "edges";

    fn table(&self) -> Table {
        let columns = [
            Left("CLIENT"),
            Left("SERVER"),
            Left("PROTOCOL"),
            Left("HEALTH"),
            Right("REQ/S"),
            Right("ERRORS"),
            Right("SHED"),
            Right("P50 MS"),
            Right("P99 MS"),
            Right("ATTEMPTS"),
            Left("BREAKER"),
        ];
        let mut table = Table::new(columns, "no edges: nothing has reported yet");
        for edge in &self.edges {
            table.row([
                Cell::from(&edge.client),
                Cell::from(&edge.server),
                Cell::from(&edge.protocol),
                health(edge.health),
                rate(edge.requests_per_second),
                share(edge.error_ratio),
                count(edge.shed),
                millis(edge.latency_ms.p50),
                millis(edge.latency_ms.p99),
                format!("{:.2}", edge.attempts_per_request).into(),
                breaker(edge.breaker),
            ]);
        }
        table
    }
}
