//! One webhook: every notification in order, each tried again with growing pauses, then given up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::post::Target;
use super::text::link;
use crate::live::{Notice, Notification};

/// Tries of one notification: with the pauses between them about a minute and a half.
const TRIES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The task of one webhook.
pub(super) struct Webhook {
    /// Where to post.
    pub(super) target: Target,
    /// Where links lead.
    pub(super) public_url: String,
    /// Once it is asked for, each notification is tried one time only.
    pub(super) shutdown: CancellationToken,
}

impl Webhook {
    /// Runs until the queue is closed and empty.
    pub(super) async fn run(self, mut notifications: mpsc::Receiver<Arc<Notification>>) {
        while let Some(notification) = notifications.recv().await {
            if !self.tell(&body(&notification, &self.public_url)).await {
                self.target.count_dropped(1);
            }
        }
    }

    async fn tell(&self, body: &Value) -> bool {
        for attempt in 0..TRIES {
            match self.target.post(body).await {
                Ok(()) => return true,
                Err(error) if !error.is_passing() || self.shutdown.is_cancelled() => return false,
                Err(_) => {}
            }
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = sleep(pause(attempt)) => {}
            }
        }
        false
    }
}

/// The pause after a failed try: twice as long each time, and a random half of it off, so that many collectors that lost
/// the same receiver do not come back at once.
pub(super) fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST_PAUSE);
    longest.mul_f64(rand::random_range(0.5..=1.0))
}

/// What is posted.
pub(super) fn body(notification: &Notification, public_url: &str) -> Value {
    json!({
        "notice": notice(notification.notice),
        "incident": notification.incident,
        "url": link(public_url, &notification.incident),
    })
}

const fn notice(notice: Notice) -> &'static str {
    match notice {
        Notice::Opened => "opened",
        Notice::LevelRose => "level_rose",
        Notice::OriginChanged => "origin_changed",
        Notice::Resolved => "resolved",
    }
}
