//! Takes a new configuration while traffic flows.
//!
//! The documents are looked at every few seconds (a hash of each file), and read again on SIGHUP or when an operator
//! asks at the admin port. What is read is held to everything a start holds it to; if there is one problem the old
//! configuration stays, and the log and `/config` say why. Before a new one takes over, the names it adds get [`RESOLVE`] to
//! resolve, so that no request meets a service without endpoints only because it is new.
//!
//! Connections are not touched: the next request on each sees the new plan. Only whether the node listens at all, and the
//! addresses of the sidecar itself, need a restart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::config_view;
use crate::discover;
use crate::plan::Planner;
use crate::settings::{Configuration, Origin, looks_of};
use crate::worker::Shared;

/// Longest wait for the names of new targets.
const RESOLVE: Duration = Duration::from_secs(5);
/// Time between two looks while waiting for them.
const LOOK: Duration = Duration::from_millis(20);
/// Requests to reload that may wait; one more would read the same files.
const WAITING: usize = 4;

/// Asks for a reload; what is sent back is what went wrong.
pub(crate) type Ask = oneshot::Sender<Result<(), String>>;

/// What became of reloads so far.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    /// Configurations taken over.
    pub(crate) loaded: AtomicU64,
    /// Configurations refused.
    pub(crate) refused: AtomicU64,
    /// Why the latest one was refused; none if it was not.
    problem: Mutex<Option<String>>,
}

impl Reloads {
    /// Why the latest configuration was refused.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, result: &Result<(), String>) {
        let (count, problem) = match result {
            Ok(()) => (&self.loaded, None),
            Err(problem) => (&self.refused, Some(problem.clone())),
        };
        count.fetch_add(1, Ordering::Relaxed);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// The task that reloads.
#[derive(Debug)]
pub(crate) struct Reloader {
    shared: Arc<Shared>,
    planner: Planner,
    origin: Origin,
    period: Option<Duration>,
    dns: Option<Arc<TokioResolver>>,
    view: watch::Sender<Arc<Value>>,
    asked: mpsc::Receiver<Ask>,
    finding: JoinSet<()>,
}

/// What a reloader is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The running sidecar.
    pub(crate) shared: Arc<Shared>,
    /// Makes plans.
    pub(crate) planner: Planner,
    /// Where the configuration came from.
    pub(crate) origin: Origin,
    /// Time between two looks at the documents; none to wait for somebody to ask.
    pub(crate) period: Option<Duration>,
    /// Looks up names.
    pub(crate) dns: Option<Arc<TokioResolver>>,
    /// The configuration as the admin port shows it.
    pub(crate) view: watch::Sender<Arc<Value>>,
}

impl Reloader {
    /// A reloader and the way to ask it.
    pub(crate) fn new(parts: Parts) -> (Self, mpsc::Sender<Ask>) {
        let (ask, asked) = mpsc::channel(WAITING);
        let Parts { shared, planner, origin, period, dns, view } = parts;
        (Self { shared, planner, origin, period, dns, view, asked, finding: JoinSet::new() }, ask)
    }

    /// Follows endpoints and documents until the task is ended.
    pub(crate) async fn run(mut self) {
        self.follow_endpoints();
        let mut seen = self.origin.looks.clone();
        loop {
            let asked = match self.period {
                Some(period) => tokio::time::timeout(period, self.asked.recv()).await.ok(),
                None => Some(self.asked.recv().await),
            };
            let now = looks_of(&self.origin.path);
            match asked {
                None if now == seen => {}
                // Everybody who could ask is gone, which happens only at the end.
                Some(None) => return std::future::pending().await,
                asked => {
                    let result = self.reload().await;
                    self.shared.reloads.note(&result);
                    match &result {
                        Ok(()) => tracing::info!("new configuration loaded"),
                        Err(problem) => tracing::error!(problem, "configuration refused; the old one stays"),
                    }
                    if let Some(Some(asked)) = asked {
                        let _ = asked.send(result);
                    }
                }
            }
            seen = now;
        }
    }

    async fn reload(&mut self) -> Result<(), String> {
        let Origin { path, node, .. } = self.origin.clone();
        let load = move || Configuration::load(&path, node.as_deref());
        let loaded = tokio::task::spawn_blocking(load).await.map_err(|error| error.to_string())?;
        let configuration = loaded.map_err(|error| error.to_string())?;
        if configuration.node.service != self.shared.sidecar.service {
            return Err(format!("the node is now called {}; restart the sidecar", configuration.node.service));
        }
        let before = self.shared.plan.get();
        let plan = Arc::new(self.planner.plan(&configuration, Some(&before)).map_err(|error| chain(&error))?);
        discover::take_known(&plan.targets, self.shared.clock);
        let mut finding = JoinSet::new();
        discover::keep_finding(&plan.targets, self.dns.as_ref(), self.shared.clock, &mut finding);
        let resolved = async {
            while plan.targets.iter().any(|target| target.endpoints().is_empty()) {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(RESOLVE, resolved).await.is_err() {
            tracing::warn!("a service of the new configuration does not resolve yet");
        }
        self.finding = finding;
        self.shared.plan.set(Arc::clone(&plan));
        before.retire(&plan);
        let shown = config_view::changed(&configuration, &self.view.borrow());
        self.view.send_replace(Arc::new(shown));
        Ok(())
    }

    fn follow_endpoints(&mut self) {
        let plan = self.shared.plan.get();
        discover::keep_finding(&plan.targets, self.dns.as_ref(), self.shared.clock, &mut self.finding);
    }
}

/// An error with all that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Adds to a shown configuration what became of reloads.
pub(crate) fn with_reloads(config: &Value, reloads: &Reloads) -> Value {
    let mut config = config.clone();
    if let Some(fields) = config.as_object_mut() {
        let (loaded, refused) = (reloads.loaded.load(Ordering::Relaxed), reloads.refused.load(Ordering::Relaxed));
        let shown = json!({ "loaded": loaded, "refused": refused, "problem": reloads.problem() });
        fields.insert("reloads".to_owned(), shown);
    }
    config
}
