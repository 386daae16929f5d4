//! `tripline incidents ID --folded`: what was not told, because one incident stands for it.

use tripline_api::Incident;

use super::figures::time_of_day;
use crate::table::Column::Left;
use crate::table::{Cell, Table};

/// The log of what was folded, and how much more was counted.
pub(super) fn report(incident: &Incident, coloured: bool) -> String {
    let mut table = Table::new([Left("AT"), Left("KIND"), Left("EDGE"), Left("WHAT")], "nothing was folded into it");
    for alert in &incident.folded {
        table.row([
            Cell::from(time_of_day(&alert.at)),
            Cell::from(&alert.kind),
            Cell::from(&alert.edge),
            Cell::from(&alert.text),
        ]);
    }
    let (shown, all) = (incident.folded.len() as u64, incident.raw_alerts);
    let more = all.saturating_sub(shown);
    let rest =
        if more > 0 { format!("\nand {more} more that turned bad again, of {all} in all\n") } else { String::new() };
    let sent = format!("\n{} notifications were sent instead\n", incident.alerts_sent);
    table.render(coloured) + &rest + &sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_each_and_counts_the_rest() {
        let incident: Incident = serde_json::from_str(include_str!("incident.json")).expect("an incident");
        let page = report(&incident, false);
        let row = page.lines().nth(1).expect("a row");
        assert!(
            row.contains("09:00:20.140") && row.contains("breaker_opened") && row.contains("5 of 5 failed"),
            "{page}"
        );
        assert!(page.contains("and 8 more that turned bad again, of 9 in all"), "{page}");
        assert!(page.contains("1 notifications were sent instead"), "{page}");
    }
}
