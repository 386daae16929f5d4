//! Who is `unknown`? Names the callers that a server's sidecar could not.
//!
//! A caller without a sidecar sends no name, but when it is traced its spans pair with those of the server. Windows whose client
//! is `unknown` are held for [`PATIENCE`], longer than exporters batch; then:
//!
//! - exactly one service without a sidecar was paired with that server: the window is its;
//! - several: the window is dropped, for their spans tell them apart and count them;
//! - none: the caller is traced but sends its spans elsewhere, and is one of the users.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tripline_model::{EdgeWindow, NodeKind, ServiceName, Timestamp};

use crate::pair::{CallReason, TracedWindow};

/// How long a window waits for spans that name its client.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a pairing is remembered.
const MEMORY: Duration = Duration::from_secs(300);
/// How often what is not remembered any more is thrown away.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Windows held at most; beyond, the oldest is let go early.
const MAX_HELD: usize = 50_000;
/// Servers remembered at most.
const MAX_SERVERS: usize = 10_000;

/// Windows in waiting, and what spans told of callers.
#[derive(Debug, Default)]
pub(super) struct Attribution {
    held: VecDeque<(Timestamp, EdgeWindow)>,
    /// Callers without a sidecar, by server, with the time they were last paired.
    callers: BTreeMap<ServiceName, BTreeMap<ServiceName, Timestamp>>,
    with_sidecar: BTreeSet<ServiceName>,
    tidied: Timestamp,
}

impl Attribution {
    /// Notes calls that spans told of, when the server's own span showed who called.
    pub(super) fn note(&mut self, calls: &TracedWindow, now: Timestamp) {
        let seen_by_server = [CallReason::Paired, CallReason::Attempt, CallReason::SharedSpan];
        if !seen_by_server.iter().any(|reason| calls.reasons.get(*reason as usize).is_some_and(|count| *count > 0)) {
            return;
        }
        let call = &calls.window;
        if self.callers.len() >= MAX_SERVERS && !self.callers.contains_key(&call.key.server) {
            return;
        }
        self.callers.entry(call.key.server.clone()).or_default().insert(call.key.client.clone(), now);
    }

    /// The window as it can be counted now; none when it is held.
    pub(super) fn resolve(&mut self, window: &EdgeWindow, now: Timestamp) -> Option<EdgeWindow> {
        if self.with_sidecar.len() < MAX_SERVERS {
            self.with_sidecar.insert(window.key.server.clone());
        }
        if window.key.client != ServiceName::unknown() {
            return Some(window.clone());
        }
        self.held.push_back((now, window.clone()));
        None
    }

    /// Windows that waited long enough, under the name that was found.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<EdgeWindow> {
        let mut due = Vec::new();
        while self.held.len() > MAX_HELD
            || self.held.front().is_some_and(|(arrived, _)| now.since(*arrived) >= PATIENCE)
        {
            let Some((_, window)) = self.held.pop_front() else { break };
            due.extend(self.name(window, now));
        }
        if now.since(self.tidied) >= TIDY_EVERY {
            self.tidied = now;
            self.callers.values_mut().for_each(|callers| callers.retain(|_, at| now.since(*at) <= MEMORY));
            self.callers.retain(|_, callers| !callers.is_empty());
        }
        due
    }

    fn name(&self, mut window: EdgeWindow, now: Timestamp) -> Option<EdgeWindow> {
        let mut callers = self
            .callers
            .get(&window.key.server)
            .into_iter()
            .flatten()
            .filter(|(caller, at)| !self.with_sidecar.contains(*caller) && now.since(**at) <= MEMORY)
            .map(|(caller, _)| caller.clone());
        match (callers.next(), callers.next()) {
            (Some(_), Some(_)) => None,
            (Some(only), None) => {
                (window.key.client, window.client_kind) = (only, NodeKind::Service);
                Some(window)
            }
            (None, _) => {
                (window.key.client, window.client_kind) = (ServiceName::user(), NodeKind::User);
                Some(window)
            }
        }
    }
}
