//! Notifications of incidents, counted as they are given.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::broadcast::{self, error::RecvError};

use super::sample::Sample;
use crate::live::{Notice, Notification};

/// Notifications since the start.
#[derive(Debug, Default)]
pub(super) struct Notices {
    opened: AtomicU64,
    level_rose: AtomicU64,
    origin_changed: AtomicU64,
    resolved: AtomicU64,
}

impl Notices {
    pub(super) fn samples(&self) -> Vec<Sample> {
        let of = |notice: &str, count: &AtomicU64| {
            let help = "Notifications of incidents that were due";
            Sample::counter("tripline_incident_notifications", help, count.load(Relaxed)).with("notice", notice)
        };
        vec![
            Sample::counter("tripline_incidents_opened", "Incidents opened or opened again", self.opened.load(Relaxed)),
            of("opened", &self.opened),
            of("level_rose", &self.level_rose),
            of("origin_changed", &self.origin_changed),
            of("resolved", &self.resolved),
        ]
    }

    fn count(&self, notice: Notice) {
        let counter = match notice {
            Notice::Opened => &self.opened,
            Notice::LevelRose => &self.level_rose,
            Notice::OriginChanged => &self.origin_changed,
            Notice::Resolved => &self.resolved,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// Counts until the live task ends. Notifications are few; should it ever fall behind, the oldest are not counted.
pub(super) async fn count(notices: Arc<Notices>, mut notifications: broadcast::Receiver<Notification>) {
    loop {
        match notifications.recv().await {
            Ok(notification) => notices.count(notification.notice),
            Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "some notifications of incidents were not counted"),
            Err(RecvError::Closed) => return,
        }
    }
}
