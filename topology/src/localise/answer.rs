//! The answer: suspects in one order, each with the numbers that speak for it, and what was degraded.

mod evidence;

use std::collections::BTreeMap;

use tripline_model::Timestamp;

use super::facts::Facts;
use super::failures::failures;
use super::latency::{Charged, latency};
use super::missing::{Missing, missing};
use super::{Question, Signal};
use crate::recording::Name;
use crate::share_out::{Mix, NEGLIGIBLE, Parts, mixes};

pub use evidence::{Degraded, DegradedReason, Evidence};

/// Most candidates given.
const MOST: usize = 50;
/// Scores nearer than this are a tie.
const TIE: f64 = 0.01;
/// Within this much of the first, the order in which breakers opened decides.
const BREAKERS_DECIDE: f64 = 0.10;

/// What a candidate is suspected of; of several, what most of its score comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CandidateKind {
    /// Its own failures.
    Errors,
    /// Its own time.
    Latency,
    /// The way to it or from it.
    Network,
    /// Requests ended early, without the calls they used to make.
    MissingCalls,
    /// A breaker that opened while nothing failed behind it.
    Breaker,
}

impl CandidateKind {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Network => "network",
            Self::MissingCalls => "missing_calls",
            Self::Breaker => "breaker",
        }
    }
}

/// A suspected origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The service; of an edge, its server.
    pub service: Name,
    /// Client and server, when the edge between them is suspected and not one of them.
    pub edge: Option<(Name, Name)>,
    /// Of what.
    pub kind: CandidateKind,
    /// Share of the entry points' excess that its own explains, in 0..=1.
    pub score: f64,
    /// Its place from 1; candidates with the same place are a tie.
    pub rank: usize,
    /// What speaks for it, the strongest first.
    pub evidence: Vec<Evidence>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Suspects, best first.
    pub candidates: Vec<Candidate>,
    /// Share of the entry points' excess that nobody explains, in 0..=1.
    pub unexplained: f64,
    /// What was out of the ordinary by the detector's rules.
    pub degraded: Vec<Degraded>,
    /// The entry points that the scores are about.
    pub entries: Vec<Name>,
    /// What was explained.
    pub signal: Signal,
    /// How far the entry points' own excess is beyond chance, in 0..=1; when it is low, the incident hardly shows there.
    pub belief: f64,
}

/// The entry points' side of one kind of excess.
struct Shared {
    shares: Mix<Charged>,
    /// How far the entry points' excess is believed.
    belief: f64,
}

/// Puts everything together.
pub(super) fn answer(facts: &Facts, question: &Question) -> Answer {
    let of = |signal| match signal {
        Signal::Latency => {
            let latency = latency(facts);
            share(facts, &latency.parts, &latency.whole)
        }
        Signal::Failures => {
            let failures = failures(facts);
            share(facts, &failures.parts, &failures.whole)
        }
    };
    let (signal, shared) = match question.signal {
        Some(signal) => (signal, of(signal)),
        None => {
            let (slow, failing) = (of(Signal::Latency), of(Signal::Failures));
            if failing.belief > slow.belief { (Signal::Failures, failing) } else { (Signal::Latency, slow) }
        }
    };
    let missing = missing(facts);
    // Where both are certain, neither is preferred.
    let early = missing.belief * (1.0 - 0.5 * shared.belief);
    let mut scores: BTreeMap<(usize, Option<usize>), BTreeMap<CandidateKind, f64>> = BTreeMap::new();
    for (charged, share) in &shared.shares {
        let kinds = scores.entry((charged.node, charged.edge_from)).or_default();
        *kinds.entry(charged.kind).or_default() += (1.0 - early) * share;
    }
    for (node, share) in missing.shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        *scores.entry((node, None)).or_default().entry(CandidateKind::MissingCalls).or_default() += early * share;
    }
    let candidates = candidates(facts, &missing, signal, scores);
    let explained: f64 = candidates.iter().map(|candidate| candidate.score).sum();
    Answer {
        unexplained: round((1.0 - explained).clamp(0.0, 1.0)),
        candidates,
        degraded: evidence::degraded(facts),
        entries: facts.entries.iter().filter_map(|at| facts.names.get(*at).cloned()).collect(),
        signal,
        belief: round(shared.belief),
    }
}

/// Shares the entry points' excess out, each weighing by its own. Where they left no trace, all services are asked.
fn share(facts: &Facts, parts: &[Parts<Charged>], whole: &[(f64, f64)]) -> Shared {
    let mixes = mixes(parts, |_| Mix::new());
    let all: Vec<usize> = (0..facts.names.len()).collect();
    let of = |entries: &[usize]| share_of(&mixes, whole, entries);
    let shared = of(&facts.entries);
    if shared.shares.is_empty() { Shared { belief: 0.0, ..of(&all) } } else { shared }
}

fn share_of(mixes: &[Mix<Charged>], whole: &[(f64, f64)], entries: &[usize]) -> Shared {
    let excess = |entry: &usize| whole.get(*entry).copied().unwrap_or_default();
    let (raw, believed) = entries.iter().map(excess).fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let mut shares = Mix::new();
    for entry in entries {
        let weight = if raw > NEGLIGIBLE { excess(entry).0 / raw } else { 1.0 / entries.len() as f64 };
        for (charged, share) in mixes.get(*entry).into_iter().flatten().filter(|_| weight > 0.0) {
            *shares.entry(*charged).or_default() += weight * share;
        }
    }
    Shared { shares, belief: if raw > NEGLIGIBLE { believed / raw } else { 0.0 } }
}

fn candidates(
    facts: &Facts,
    missing: &Missing,
    signal: Signal,
    scores: BTreeMap<(usize, Option<usize>), BTreeMap<CandidateKind, f64>>,
) -> Vec<Candidate> {
    struct Scored {
        node: usize,
        edge_from: Option<usize>,
        kind: CandidateKind,
        score: f64,
        opened: Option<Timestamp>,
    }
    let mut scored: Vec<Scored> = scores
        .into_iter()
        .filter_map(|((node, edge_from), kinds)| {
            let score = round(kinds.values().sum::<f64>().min(1.0));
            let kind = kinds.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(kind, _)| *kind)?;
            let opened = facts.callers_of(node).filter_map(|(_, _, edge)| edge.opened).min();
            (score > 0.0).then_some(Scored { node, edge_from, kind, score, opened })
        })
        .collect();
    // Nodes are numbered by name, so that equal scores stand in the order of their names.
    let by_score = |a: &Scored, b: &Scored| {
        b.score.total_cmp(&a.score).then(a.node.cmp(&b.node)).then(a.edge_from.cmp(&b.edge_from))
    };
    scored.sort_by(by_score);
    let best = scored.first().map_or(0.0, |first| first.score);
    let close = scored.partition_point(|other| other.score >= best - BREAKERS_DECIDE);
    if let Some(close) = scored.get_mut(..close) {
        close.sort_by_key(|one| one.opened.map_or((1, Timestamp::default()), |at| (0, at)));
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut before: Option<(f64, Option<Timestamp>)> = None;
    for (place, one) in scored.into_iter().take(MOST).enumerate() {
        let tie = before.is_some_and(|(score, opened)| (score - one.score).abs() < TIE && opened == one.opened);
        let rank = candidates.last().filter(|_| tie).map_or(place + 1, |last| last.rank);
        before = Some((one.score, one.opened));
        let name = |at: usize| facts.names.get(at).cloned();
        let Some(service) = name(one.node) else { continue };
        let edge = one.edge_from.and_then(name).map(|client| (client, service.clone()));
        let evidence = evidence::of(facts, missing, (one.node, one.edge_from), signal);
        candidates.push(Candidate { service, edge, kind: one.kind, score: one.score, rank, evidence });
    }
    candidates
}

/// Six digits: what is beyond them depends on the order of additions.
fn round(share: f64) -> f64 {
    (share * 1e6).round() / 1e6
}
