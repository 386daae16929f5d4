//! Why an edge is there, or why a span made none: counters kept per edge and per service.

use std::collections::BTreeMap;
use std::time::Duration;

use tripline_api as api;
use tripline_model::{EdgeKey, EdgeWindow, Reporter, ServiceName, Timestamp};

use crate::clock::rfc3339;
use crate::pair::{CALL_REASONS, CallReason, SILENT_REASONS, SilentReason, TracedWindow};

/// Edges, and services, with counters at most; others are not explained.
const MAX_EXPLAINED: usize = 100_000;
/// Silence after which counters go, as the graph's edges do.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);
/// How often they are looked through.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Windows of the client's and of the server's sidecar, guesses taken back.
const OTHERS: usize = 3;
const OTHER_WORDS: [(&str, &str); OTHERS] = [
    ("client_sidecar", "seconds in which the client's sidecar counted requests"),
    ("server_sidecar", "seconds in which the server's sidecar counted requests"),
    ("retracted", "a guessed peer, taken back because the real server showed up"),
];
const RETRACTED: usize = 2;

#[derive(Debug)]
struct Counts<const N: usize> {
    counts: [u64; N],
    last: [Timestamp; N],
}

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self { counts: [0; N], last: [Timestamp::default(); N] }
    }
}

impl<const N: usize> Counts<N> {
    fn add(&mut self, index: usize, count: u64, now: Timestamp) {
        if let (Some(sum), Some(last)) = (self.counts.get_mut(index), self.last.get_mut(index))
            && count > 0
        {
            *sum += count;
            *last = now;
        }
    }

    fn latest(&self) -> Timestamp {
        self.last.iter().copied().max().unwrap_or_default()
    }

    fn told<'a>(
        &'a self,
        words: impl Iterator<Item = (&'static str, &'static str)> + 'a,
    ) -> impl Iterator<Item = api::ExplainedCount> + 'a {
        let told = words.zip(self.counts.iter().zip(&self.last)).filter(|(_, (count, _))| **count > 0);
        told.map(|((reason, text), (count, last))| api::ExplainedCount {
            reason: reason.into(),
            text: text.into(),
            count: *count,
            last: rfc3339(*last),
        })
    }
}

type OfEdge = (Counts<CALL_REASONS>, Counts<OTHERS>);

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Explain {
    edges: BTreeMap<(ServiceName, ServiceName), OfEdge>,
    silent: BTreeMap<ServiceName, Counts<SILENT_REASONS>>,
    tidied: Timestamp,
}

impl Explain {
    /// Notes calls that spans told of.
    pub(super) fn note_calls(&mut self, calls: &TracedWindow, now: Timestamp) {
        if let Some((by_reason, _)) = self.edge(&calls.window.key) {
            (0..).zip(calls.reasons).for_each(|(index, count)| by_reason.add(index, count, now));
        }
    }

    /// Notes a window that a sidecar counted.
    pub(super) fn note_window(&mut self, window: &EdgeWindow, now: Timestamp) {
        let index = match window.reporter {
            Reporter::Client => 0,
            Reporter::Server => 1,
            Reporter::Spans => return,
        };
        if let Some((_, others)) = self.edge(&window.key) {
            others.add(index, 1, now);
        }
    }

    /// Notes a guess that was taken back, if it had been told.
    pub(super) fn note_retracted(&mut self, key: &EdgeKey, now: Timestamp) {
        if let Some((_, others)) = self.edges.get_mut(&(key.client.clone(), key.server.clone())) {
            others.add(RETRACTED, 1, now);
        }
    }

    /// Notes spans that made no edge.
    pub(super) fn note_silent(&mut self, silent: Vec<(ServiceName, [u64; SILENT_REASONS])>, now: Timestamp) {
        for (service, counts) in silent {
            if self.silent.len() < MAX_EXPLAINED || self.silent.contains_key(&service) {
                let sums = self.silent.entry(service).or_default();
                (0..).zip(counts).for_each(|(index, count)| sums.add(index, count, now));
            }
        }
    }

    /// Forgets what was silent for long.
    pub(super) fn tidy(&mut self, now: Timestamp) {
        if now.since(self.tidied) < TIDY_EVERY {
            return;
        }
        self.tidied = now;
        self.edges.retain(|_, (calls, others)| now.since(calls.latest().max(others.latest())) <= FORGET_AFTER);
        self.silent.retain(|_, counts| now.since(counts.latest()) <= FORGET_AFTER);
    }

    /// What is known of the edge between two services.
    pub(super) fn explain(&self, client: &ServiceName, server: &ServiceName) -> api::Explanation {
        let mut evidence: Vec<_> = match self.edges.get(&(client.clone(), server.clone())) {
            Some((calls, others)) => {
                let words = CallReason::ALL.iter().map(|reason| (reason.word(), reason.text()));
                calls.told(words).chain(others.told(OTHER_WORDS.into_iter())).collect()
            }
            None => Vec::new(),
        };
        evidence.sort_by_key(|reason| std::cmp::Reverse(reason.count));
        let silent = |service| {
            let words = || SilentReason::ALL.iter().map(|reason| (reason.word(), reason.text()));
            self.silent.get(service).map(|counts| counts.told(words()).collect()).unwrap_or_default()
        };
        let (client_without_edge, server_without_edge): (Vec<_>, Vec<_>) = (silent(client), silent(server));
        let verdict = verdict(client, server, &evidence, !client_without_edge.is_empty() || self.is_known(client));
        api::Explanation {
            client: client.to_string(),
            server: server.to_string(),
            verdict,
            evidence,
            client_without_edge,
            server_without_edge,
        }
    }

    fn is_known(&self, service: &ServiceName) -> bool {
        self.edges.keys().any(|(client, server)| client == service || server == service)
    }

    fn edge(&mut self, key: &EdgeKey) -> Option<&mut OfEdge> {
        let pair = (key.client.clone(), key.server.clone());
        let has_room = self.edges.len() < MAX_EXPLAINED || self.edges.contains_key(&pair);
        has_room.then(|| self.edges.entry(pair).or_default())
    }
}

fn verdict(client: &ServiceName, server: &ServiceName, evidence: &[api::ExplainedCount], known: bool) -> String {
    let sidecar = evidence.iter().find(|reason| reason.reason.ends_with("_sidecar"));
    match (sidecar, evidence.first()) {
        (Some(sidecar), _) => format!("{client} calls {server}: {} {}.", sidecar.count, sidecar.text),
        (None, Some(first)) if first.reason == "retracted" => {
            format!("{server} was a guess from {client}'s spans and was taken back: the real server showed up.")
        }
        (None, Some(first)) => format!("{client} calls {server}, told by spans: {}.", first.text),
        (None, None) if known => format!(
            "Nothing of the last 15 minutes led from {client} to {server}; the reasons below say what became of their spans."
        ),
        (None, None) => {
            format!(
                "Nothing was heard of {client} in the last 15 minutes: it sends no spans here and has no sidecar that reports."
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tripline_model::{EdgeCounts, Histogram, NodeKind, Protocol};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn window(reporter: Reporter) -> EdgeWindow {
        EdgeWindow {
            key: EdgeKey { client: "a".into(), server: "b".into(), protocol: Protocol::Http },
            reporter,
            client_kind: NodeKind::Service,
            server_kind: NodeKind::Service,
            start: NOW,
            length: Duration::from_secs(1),
            counts: EdgeCounts::default(),
            latency: Histogram::default(),
            self_time: Histogram::default(),
            secured: false,
        }
    }

    #[test]
    fn an_edge_tells_why_and_silence_too() {
        let mut explain = Explain::default();
        let nothing = explain.explain(&"a".into(), &"b".into());
        assert!(nothing.verdict.starts_with("Nothing was heard of a") && nothing.evidence.is_empty());
        let mut reasons = [0; CALL_REASONS];
        reasons[CallReason::Attempt as usize] = 2;
        reasons[CallReason::Paired as usize] = 7;
        explain.note_calls(&TracedWindow { window: window(Reporter::Spans), reasons }, NOW);
        let mut silent = [0; SILENT_REASONS];
        silent[SilentReason::Repeated as usize] = 3;
        explain.note_silent(vec![("a".into(), silent)], NOW);
        let told = explain.explain(&"a".into(), &"b".into());
        let words: Vec<_> = told.evidence.iter().map(|reason| (reason.reason.as_str(), reason.count)).collect();
        assert_eq!(words, [("paired", 7), ("attempt", 2)]);
        assert_eq!((told.client_without_edge[0].reason.as_str(), told.client_without_edge[0].count), ("repeated", 3));
        assert!(told.verdict.contains("told by spans"), "{}", told.verdict);
        explain.note_window(&window(Reporter::Client), NOW);
        assert!(explain.explain(&"a".into(), &"b".into()).verdict.contains("sidecar counted"));
        explain.tidy(NOW + FORGET_AFTER + Duration::from_secs(1));
        assert!(explain.explain(&"a".into(), &"b".into()).evidence.is_empty());
    }
}
