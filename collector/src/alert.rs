//! Tells people about incidents: own webhooks and Alertmanagers.
//!
//! The live task decides when something is worth telling (opened, level rose, origin changed, resolved); this module only
//! carries it, and never makes the live task wait: notifications come over a broadcast channel, each receiver has a bounded
//! queue and a task of its own, and what falls out is counted.
//!
//! A webhook is told every notification, in order, each tried again with growing pauses. An Alertmanager is told a state:
//! every open incident is posted again each minute with what is known by then, so that it resolves by itself
//! five minutes after we have died, and a failed post is mended by the next.

mod alertmanager;
mod post;
mod text;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::live::{Live, Notification, View};

pub use post::{Counters, StartError};

use alertmanager::Alertmanager;
use post::Target;
use webhook::Webhook;

/// Notifications that wait for one receiver.
const QUEUE: usize = 256;
/// How long receivers may still be told after shutdown was asked for.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How alerts behave.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom to tell.
    pub receivers: config::Alert,
    /// Address of our own web UI, without a slash at its end; links lead there.
    pub public_url: String,
    /// How often an Alertmanager is told of open incidents.
    pub resend_every: Duration,
}

impl Settings {
    /// The defaults: open incidents are posted to Alertmanagers again each minute.
    #[must_use]
    pub const fn new(receivers: config::Alert, public_url: String) -> Self {
        Self { receivers, public_url, resend_every: Duration::from_secs(60) }
    }
}

/// A hold on what is counted for each receiver. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Alerts(Arc<Vec<Target>>);

impl Alerts {
    /// What was counted, in the order of the configuration.
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        self.0.iter().map(Target::counters).collect()
    }
}

/// The task that tells; [`Teller::run`] is it.
#[derive(Debug)]
pub struct Teller {
    settings: Settings,
    notifications: broadcast::Receiver<Notification>,
    views: watch::Receiver<Arc<View>>,
    targets: Vec<Target>,
}

/// Prepares one receiver for each that is configured. Nothing is sent before [`Teller::run`].
///
/// # Errors
/// When a header cannot be sent or TLS cannot be set up.
pub fn prepare(settings: Settings, live: &Live) -> Result<(Alerts, Teller), StartError> {
    let client = post::client()?;
    let receivers = &settings.receivers;
    let webhooks = receivers.webhooks.iter().map(|hook| Target::new("webhook", &hook.url, &hook.headers, &client));
    let alertmanagers = receivers.alertmanagers.iter().map(|url| Target::alertmanager(url, &client));
    let targets = webhooks.chain(alertmanagers).collect::<Result<Vec<_>, _>>()?;
    let notifications = live.notifications.subscribe();
    let teller = Teller { settings, notifications, views: live.views.clone(), targets };
    Ok((Alerts(Arc::new(teller.targets.clone())), teller))
}

impl Teller {
    /// Runs until `shutdown` or until the live task ends; then waits a moment for the last words.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut queues = Vec::with_capacity(self.targets.len());
        for target in std::mem::take(&mut self.targets) {
            let (queue, taken) = mpsc::channel(QUEUE);
            queues.push((queue, target.clone()));
            let url = self.settings.public_url.clone();
            if target.is_alertmanager() {
                let task = Alertmanager::new(target, url, self.settings.resend_every);
                tasks.spawn(task.run(taken, self.views.clone()));
            } else {
                tasks.spawn(Webhook { target, public_url: url, shutdown: shutdown.clone() }.run(taken));
            }
        }
        loop {
            let notification = tokio::select! {
                () = shutdown.cancelled() => break,
                notification = self.notifications.recv() => notification,
            };
            match notification {
                Ok(notification) => hand_out(&queues, &notification),
                Err(RecvError::Lagged(lost)) => queues.iter().for_each(|(_, target)| target.count_dropped(lost)),
                Err(RecvError::Closed) => break,
            }
        }
        drop(queues);
        let all_said = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, all_said).await.is_err() {
            tracing::warn!("some receivers of alerts did not take the last ones in time");
        }
    }
}

fn hand_out(queues: &[(mpsc::Sender<Arc<Notification>>, Target)], notification: &Notification) {
    let notification = Arc::new(notification.clone());
    for (queue, target) in queues {
        if queue.try_send(Arc::clone(&notification)).is_err() {
            target.count_dropped(1);
        }
    }
}

#[cfg(test)]
mod tests;
