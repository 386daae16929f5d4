//! One Alertmanager, API version 2: told the state of every open incident, as Prometheus tells it of alerts.
//!
//! Alertmanager knows an alert by its labels, so these are few and never change while an incident lives: its name, the
//! incident, the first suspected origin **when it was opened**, a severity. Everything that changes (level, candidates,
//! path, blast radius) is an annotation. An open alert ends five minutes from now and is posted again each minute; a
//! resolved one is posted once more with its real end. A failed post is tried again with growing pauses, with what is known by
//! then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tripline_api::Incident;
use tripline_model::Timestamp;

use super::post::Target;
use super::text;
use super::webhook::pause;
use crate::clock::{self, rfc3339};
use crate::live::{Notification, View};

/// After this long without a word from us, Alertmanager takes an alert for over.
const ENDS_AFTER: Duration = Duration::from_secs(300);
/// Incidents remembered at most, for their labels; the oldest that are over are forgotten first.
const MAX_REMEMBERED: usize = 1_000;

/// The task of one Alertmanager.
pub(super) struct Alertmanager {
    target: Target,
    public_url: String,
    resend_every: Duration,
    book: Book,
}

impl Alertmanager {
    pub(super) fn new(target: Target, public_url: String, resend_every: Duration) -> Self {
        Self { target, public_url, resend_every, book: Book::default() }
    }

    /// Runs until the queue is closed; posts what is still due then, once.
    pub(super) async fn run(
        mut self,
        mut notifications: mpsc::Receiver<Arc<Notification>>,
        views: watch::Receiver<Arc<View>>,
    ) {
        let mut resend = interval(self.resend_every);
        resend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed: u32 = 0;
        let mut retry_at = Instant::now();
        loop {
            tokio::select! {
                notification = notifications.recv() => match notification {
                    Some(notification) => self.book.note(&notification.incident),
                    None => break,
                },
                _ = resend.tick() => self.book.refresh(&views.borrow().incidents),
                () = sleep_until(retry_at), if failed > 0 => {}
            }
            if failed > 0 && Instant::now() < retry_at {
                continue;
            }
            if self.post().await {
                failed = 0;
            } else {
                retry_at = Instant::now() + pause(failed);
                failed = failed.saturating_add(1);
            }
        }
        if failed > 0 {
            self.post().await;
        }
    }

    async fn post(&mut self) -> bool {
        let alerts = self.book.due(&self.public_url, clock::now());
        if alerts.is_empty() {
            return true;
        }
        match self.target.post(&Value::from(alerts)).await {
            Ok(()) => {
                self.book.told();
                true
            }
            // Posting the same again cannot help; the next change or the next minute makes another post.
            Err(error) => !error.is_passing(),
        }
    }
}

/// What one Alertmanager is to know. No clock and no IO.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// By identifier, and thereby oldest first.
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    /// Label: the first suspected origin when it was opened.
    service: String,
    incident: Incident,
    /// Whether its end has been told.
    is_over: bool,
}

impl Book {
    /// Takes in the state of an incident that is worth telling.
    pub(super) fn note(&mut self, incident: &Incident) {
        let known = self.known.entry(incident.id.clone()).or_insert_with(|| Known {
            service: incident.origin().unwrap_or("unknown").to_owned(),
            incident: incident.clone(),
            is_over: false,
        });
        known.incident = incident.clone();
        known.is_over = false;
        while self.known.len() > MAX_REMEMBERED {
            let oldest_over = self.known.iter().find(|(_, known)| known.is_over).map(|(id, _)| id.clone());
            match oldest_over {
                Some(id) => self.known.remove(&id),
                None => self.known.pop_first().map(|(_, known)| known),
            };
        }
    }

    /// Takes in what has changed about open incidents that were told before.
    pub(super) fn refresh(&mut self, incidents: &[Incident]) {
        for incident in incidents {
            if let Some(known) = self.known.get_mut(&incident.id).filter(|known| !known.is_over) {
                known.incident = incident.clone();
            }
        }
    }

    /// The alerts to post: open ones, and those whose end was not told.
    pub(super) fn due(&self, public_url: &str, now: Timestamp) -> Vec<Value> {
        self.known.values().filter(|known| !known.is_over).map(|known| known.alert(public_url, now)).collect()
    }

    /// Everything due was told.
    pub(super) fn told(&mut self) {
        for known in self.known.values_mut() {
            known.is_over = known.incident.is_resolved();
        }
    }
}

impl Known {
    fn alert(&self, public_url: &str, now: Timestamp) -> Value {
        let incident = &self.incident;
        let radius = &incident.blast_radius;
        let open_until = || rfc3339(now + ENDS_AFTER);
        let ends_at = if incident.is_resolved() { incident.resolved_at.clone() } else { None };
        json!({
            "labels": {
                "alertname": "TriplineIncident",
                "incident": incident.id,
                "service": self.service,
                "severity": "critical",
            },
            "annotations": {
                "summary": text::summary(incident),
                "description": text::evidence(incident),
                "level": incident.level.as_str(),
                "phase": incident.phase.as_str(),
                "suspected_origin": incident.origin().unwrap_or("unknown"),
                "path": text::path(incident),
                "blast_radius": text::names(&radius.services),
                "entry_points": text::names(&radius.entry_points),
                "affected_request_ratio": format!("{:.3}", radius.affected_request_ratio),
                "breaker_trips": incident.trips.to_string(),
            },
            "startsAt": incident.started_at,
            "endsAt": ends_at.unwrap_or_else(open_until),
            "generatorURL": text::link(public_url, incident),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;
    use tripline_api::{Level, Phase};

    fn due(book: &Book) -> Vec<Value> {
        book.due("http://tripline", clock::parse_rfc3339("2026-11-21T10:00:00Z").unwrap())
    }

    #[test]
    fn labels_stay_while_everything_else_changes() {
        let mut book = Book::default();
        let opened = sample::incident("A", Phase::Starting);
        book.note(&opened);
        let first = due(&book).remove(0);
        let mut later = opened.clone();
        later.level = Level::Amplifying;
        later.suspected_origins[0].service = "shop/other".into();
        book.refresh(&[later, sample::incident("NEVER-TOLD", Phase::Starting)]);
        let second = due(&book);
        assert_eq!(second.len(), 1);
        assert_eq!(second[0]["labels"], first["labels"]);
        assert_eq!(second[0]["annotations"]["level"], "amplifying");
        assert_eq!(second[0]["annotations"]["suspected_origin"], "shop/other");
        assert_eq!(
            (&first["startsAt"], &first["endsAt"]),
            (&json!("2026-11-21T09:00:00Z"), &json!("2026-11-21T10:05:00Z"))
        );
        assert_eq!(first["generatorURL"], "http://tripline/incidents/A");
    }

    #[test]
    fn the_end_is_told_until_it_was_heard_and_a_reopened_incident_again() {
        let mut book = Book::default();
        book.note(&sample::incident("A", Phase::Starting));
        book.told();
        let mut resolved = sample::incident("A", Phase::Resolved);
        resolved.resolved_at = Some("2026-11-21T09:30:00Z".into());
        resolved.suspected_origins.clear();
        book.note(&resolved);
        assert_eq!(due(&book)[0]["endsAt"], "2026-11-21T09:30:00Z");
        assert_eq!(due(&book).len(), 1, "still due: nobody heard it");
        book.told();
        assert!(due(&book).is_empty());
        book.note(&sample::incident("A", Phase::Spreading));
        assert_eq!(due(&book)[0]["labels"]["service"], "shop/payments-db");
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = Book::default();
        for n in 0..MAX_REMEMBERED + 10 {
            book.note(&sample::incident(&format!("{n:05}"), Phase::Starting));
        }
        assert_eq!(book.known.len(), MAX_REMEMBERED);
    }
}
