//! Incidents as columns, and back.
//!
//! An incident is written again whenever it changed, at most once a flush; readers take the row with the latest
//! `updated_at`. The columns are what one filters by; `document` holds all of it as the API's JSON.

use std::collections::BTreeMap;

use polars::prelude::*;
use tripline_api as api;
use tripline_model::Timestamp;

use super::frame::{Columns, Table};
use crate::clock::parse_rfc3339;

/// Encodes incidents; columns as `docs/history.md` lists them.
pub(super) fn encode(incidents: &[&api::Incident]) -> PolarsResult<DataFrame> {
    let each = || incidents.iter();
    let time = |text: &str| parse_rfc3339(text).unwrap_or_default();
    let mut columns = Columns::of_height(incidents.len());
    columns
        .text("id", each().map(|i| &i.id))
        .time("started_at", each().map(|i| time(&i.started_at)))
        .time("detected_at", each().map(|i| time(&i.detected_at)))
        .time("updated_at", each().map(|i| time(&i.updated_at)))
        .maybe_time("resolved_at", each().map(|i| i.resolved_at.as_deref().and_then(parse_rfc3339)))
        .text("level", each().map(|i| i.level.as_str()))
        .text("phase", each().map(|i| i.phase.as_str()))
        .text("origin", each().map(|i| i.origin().unwrap_or_default()))
        .int("trips", each().map(|i| i.trips))
        .int("raw_alerts", each().map(|i| i.raw_alerts))
        .int("alerts_sent", each().map(|i| i.alerts_sent))
        .text("document", each().map(|i| serde_json::to_string(i).unwrap_or_default()));
    columns.finish()
}

/// Decodes the latest state of each incident in `frame`, newest first.
pub(super) fn decode_latest(frame: &DataFrame) -> PolarsResult<Vec<api::Incident>> {
    let table = Table(frame);
    let (id, updated, started) = (table.text("id")?, table.int("updated_at")?, table.int("started_at")?);
    let document = table.text("document")?;
    let mut latest: BTreeMap<&str, usize> = BTreeMap::new();
    for row in 0..frame.height() {
        let known = latest.entry(id.at(row)).or_insert(row);
        if updated.at(row) >= updated.at(*known) {
            *known = row;
        }
    }
    let mut incidents: Vec<(Timestamp, api::Incident)> = latest
        .into_values()
        .filter_map(|row| Some((started.time(row), serde_json::from_str(document.at(row)).ok()?)))
        .collect();
    incidents.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| y.id.cmp(&x.id)));
    Ok(incidents.into_iter().map(|(_, incident)| incident).collect())
}
