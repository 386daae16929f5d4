//! Carries finished edge windows and changed incidents from the live task to history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::broadcast::error::RecvError;
use tripline_api as api;

use super::{History, Input};
use crate::live::{Live, View};

/// Runs until `live` or `history` ends. Batches do not come this way: the receiver gives them to history itself.
pub async fn follow(history: History, live: Live) {
    let mut windows = live.windows.subscribe();
    let mut views = live.views.clone();
    // The live task ends when nobody holds it any more; this task only listens.
    drop(live);
    let mut known: BTreeMap<String, Arc<api::Incident>> = BTreeMap::new();
    loop {
        let inputs = tokio::select! {
            finished = windows.recv() => match finished {
                Ok(finished) => vec![Input::Windows(finished)],
                Err(RecvError::Lagged(lost)) => {
                    history.tally.inputs_dropped.fetch_add(lost, Relaxed);
                    tracing::warn!(lost, "history was too slow for edge windows; the graph of that time has gaps");
                    continue;
                }
                Err(RecvError::Closed) => return,
            },
            changed = views.changed() => {
                if changed.is_err() {
                    return;
                }
                let view = Arc::clone(&views.borrow_and_update());
                changed_incidents(&mut known, &view).into_iter().map(Input::Incident).collect()
            }
        };
        for input in inputs {
            if !history.keep(input).await {
                return;
            }
        }
    }
}

/// The incidents that are new or different; `known` becomes those of `view`.
fn changed_incidents(known: &mut BTreeMap<String, Arc<api::Incident>>, view: &View) -> Vec<Arc<api::Incident>> {
    let mut now = BTreeMap::new();
    let mut changed = Vec::new();
    for incident in &view.incidents {
        let incident = match known.get(&incident.id) {
            Some(same) if **same == *incident => Arc::clone(same),
            _ => {
                let incident = Arc::new(incident.clone());
                changed.push(Arc::clone(&incident));
                incident
            }
        };
        now.insert(incident.id.clone(), incident);
    }
    *known = now;
    changed
}
