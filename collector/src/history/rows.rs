//! Rows that wait in memory to be written: shared, not copied, and answered from like files.

use std::collections::BTreeMap;
use std::sync::Arc;

use polars::prelude::*;
use tripline_api as api;
use tripline_model::{EdgeWindow, TraceId};
use tripline_otlp::Spans;

use super::kind::Kind;
use super::{edges, events, incidents, logs, spans};
use crate::batch::Batch;

/// Rows of all kinds, gathered since the last flush. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    batches: Vec<Arc<Batch>>,
    windows: Vec<Arc<Vec<EdgeWindow>>>,
    /// By identifier: only the latest state of each is written.
    incidents: BTreeMap<String, Arc<api::Incident>>,
    count: usize,
    bytes: usize,
}

impl Rows {
    /// Adds a batch; reports in it are not kept, their windows come from the live graph.
    pub(super) fn add_batch(&mut self, batch: Arc<Batch>) {
        let rows = batch.spans.len() + batch.logs.len() + batch.transitions.len();
        if rows == 0 && batch.position == 0 {
            return;
        }
        self.count += rows;
        self.bytes += batch.spans.bytes();
        self.batches.push(batch);
    }

    /// Adds finished edge windows.
    pub(super) fn add_windows(&mut self, windows: Arc<Vec<EdgeWindow>>) {
        self.count += windows.len();
        self.windows.push(windows);
    }

    /// Adds the state of an incident, in place of its earlier one.
    pub(super) fn add_incident(&mut self, incident: Arc<api::Incident>) {
        self.count += usize::from(!self.incidents.contains_key(&incident.id));
        self.incidents.insert(incident.id.clone(), incident);
    }

    /// How many rows of all kinds.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Bytes that the spans among them hold in memory.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to write and no position to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.windows.is_empty() && self.incidents.is_empty()
    }

    /// How many batches are held, whatever is in them.
    pub(super) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Journal positions of the batches in it.
    pub(super) fn positions(&self) -> impl Iterator<Item = u64> {
        self.batches.iter().map(|batch| batch.position)
    }

    /// The spans, by request.
    pub(super) fn spans(&self) -> impl Iterator<Item = &Spans> {
        self.batches.iter().map(|batch| &batch.spans).filter(|spans| !spans.is_empty())
    }

    /// The spans of one trace as a frame; spares encoding all others.
    pub(super) fn trace(&self, id: TraceId) -> PolarsResult<DataFrame> {
        spans::encode(self.batches.iter().map(|b| &b.spans), |span| span.trace_id == id)
    }

    /// The rows of one kind as a frame, unsorted and perhaps empty.
    pub(super) fn frame(&self, kind: Kind) -> PolarsResult<DataFrame> {
        match kind {
            Kind::Spans => spans::encode(self.batches.iter().map(|b| &b.spans), |_| true),
            Kind::Logs => logs::encode(&self.batches.iter().flat_map(|b| &b.logs).collect::<Vec<_>>()),
            Kind::BreakerEvents => {
                events::encode(&self.batches.iter().flat_map(|b| &b.transitions).collect::<Vec<_>>())
            }
            // Added up from files only.
            Kind::EdgesMinute | Kind::EdgesHour => edges::encode(&[]),
            Kind::Edges => edges::encode(&self.windows.iter().flat_map(|w| w.iter()).collect::<Vec<_>>()),
            Kind::Incidents => incidents::encode(&self.incidents.values().map(AsRef::as_ref).collect::<Vec<_>>()),
        }
    }
}
