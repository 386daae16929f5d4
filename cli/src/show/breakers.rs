//! `tripline breakers`.

use tripline_api::BreakerList;

use super::Listed;
use super::figures::{ago, breaker, count};
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

impl Listed for BreakerList {
    const PATH: &'static str = "breakers";

    fn table(&self) -> Table {
        let columns = [
            Left("CLIENT"),
            Left("SERVER"),
            Left("ROUTE"),
            Left("ENDPOINT"),
            Left("STATE"),
            Right("FOR"),
            Right("TRIPS"),
            Left("REASON"),
            Left("INSTANCE"),
        ];
        let mut table = Table::new(columns, "no breakers: no sidecar has reported yet");
        for known in &self.breakers {
            table.row([
                Cell::from(&known.client),
                Cell::from(&known.server),
                or_all(&known.route),
                or_all(&known.endpoint),
                breaker(known.state),
                ago(&known.since),
                count(known.trips),
                known.last_reason.as_deref().unwrap_or("").into(),
                Cell::from(&known.client_instance),
            ]);
        }
        table
    }
}

/// A breaker without route or endpoint guards all of them.
fn or_all(text: &str) -> Cell {
    if text.is_empty() { "*".into() } else { text.into() }
}
