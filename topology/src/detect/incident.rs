//! One incident: its identity, what is known of it now, and its life from opening to resolution.
//!
//! | phase | while |
//! |---|---|
//! | starting | opened less than three windows ago, or one edge only |
//! | spreading | a service joined within the last minute |
//! | contained | none joined for a minute, still degraded |
//! | recovering | nothing is degraded any more, or the origin is well and breakers close |
//! | resolved | nothing was degraded for two minutes |
//!
//! Told are, and nothing else: the opening, a level that rose and held, another first candidate that leads and held, the end.

mod measure;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tripline_model::{EdgeKey, Ratio, ServiceName, Timestamp};

use super::degraded::{EdgeWatch, ServiceWatches};
use super::story::{self, Hop, Reach};
use super::{Settings, Suspect, SuspectKind, Trip};
use crate::ServiceGraph;
use measure::Measured;

/// How far a fault has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One degraded service, nobody who depends on it.
    Local,
    /// A dependent is degraded because of it.
    Propagating,
    /// Two or more hops, breakers open in a chain, or an entry point reached through a service between.
    Cascade,
    /// A cascade that retries make worse.
    Amplifying,
    /// The origin is well again, the degradation stays.
    SelfSustaining,
}

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Just opened.
    Starting,
    /// A service joined within the last minute.
    Spreading,
    /// None joined for a minute.
    Contained,
    /// The origin is well.
    Recovering,
    /// Over.
    Resolved,
}

/// Something worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It was opened.
    Opened,
    /// Its level rose.
    LevelRose,
    /// Another suspected origin is first now.
    OriginChanged,
    /// It is over.
    Resolved,
}

/// What a piece of evidence is about; its number is in [`Evidence::value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceKind {
    /// Share of the entry points' failed requests that started at the suspect, in 0..=1.
    ExplainsFailures,
    /// Share of the entry points' added latency that the suspect added, in 0..=1.
    ExplainsLatency,
    /// Failed requests that started at the suspect.
    OwnErrors,
    /// Requests that got no answer from the suspect.
    NoAnswer,
    /// Seconds of self time above normal, per request.
    OwnLatency,
    /// Seconds from the start of the incident to the opening of the first breaker on a way to the suspect.
    BreakerOpen,
    /// Attempts per request on the worst edge into the suspect.
    Retries,
}

impl EvidenceKind {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExplainsFailures => "explains_failures",
            Self::ExplainsLatency => "explains_latency",
            Self::OwnErrors => "own_errors",
            Self::NoAnswer => "no_answer",
            Self::OwnLatency => "own_latency",
            Self::BreakerOpen => "breaker_open",
            Self::Retries => "retries",
        }
    }
}

/// One typed piece of evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// What it is about.
    pub kind: EvidenceKind,
    /// One sentence for people.
    pub text: String,
    /// Its number, in the unit of its kind.
    pub value: f64,
}

/// A suspect with what speaks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Who.
    pub suspect: Suspect,
    /// Of what.
    pub kind: SuspectKind,
    /// Share of the targets' excess that goes away without its own.
    pub score: Ratio,
    /// What speaks for it.
    pub evidence: Vec<Evidence>,
}

/// How much one entry point suffers, since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryHurt {
    /// The entry point.
    pub service: ServiceName,
    /// Its requests.
    pub requests: u64,
    /// Failed ones among them.
    pub failed: u64,
    /// Seconds of latency above normal, per request.
    pub slower: f64,
}

/// Whom an incident hurts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Blast {
    /// Services that were degraded at some time, the first candidate not included.
    pub services: BTreeSet<ServiceName>,
    /// Edges that were degraded at some time.
    pub edges: BTreeSet<EdgeKey>,
    /// Entry points among them, by name.
    pub entries: Vec<EntryHurt>,
    /// Requests at all entry points, since the start.
    pub requests: u64,
    /// Failed ones among them.
    pub failed: u64,
}

/// One incident as everyone may see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// A ULID made of the time of detection and what was degraded first: the same recording gives the same id.
    pub id: String,
    /// The highest level it has reached.
    pub level: Level,
    /// Where it stands.
    pub phase: Phase,
    /// Onset of the first degradation.
    pub started: Timestamp,
    /// When it was opened.
    pub detected: Timestamp,
    /// When it was last brought up to date with a change.
    pub updated: Timestamp,
    /// When it ended.
    pub resolved: Option<Timestamp>,
    /// Best first.
    pub candidates: Vec<Candidate>,
    /// Share of the targets' excess that no candidate explains.
    pub unexplained: Ratio,
    /// Hops in causal order.
    pub path: Vec<Hop>,
    /// Whom it hurts.
    pub blast: Blast,
    /// Attempts per request on the worst edge into the first candidate.
    pub attempts_per_request: f64,
    /// Requests per second into the first candidate over what is normal is not known yet; 1 until it is.
    pub demand: f64,
    /// Breaker openings.
    pub trips: u64,
    /// Breaker openings and threshold crossings.
    pub raw_alerts: u64,
    /// Notices given.
    pub notices: u64,
}

impl Incident {
    /// The best candidate.
    #[must_use]
    pub fn origin(&self) -> Option<&Suspect> {
        self.candidates.first().map(|candidate| &candidate.suspect)
    }
}

/// What an incident looks at.
pub(super) struct View<'a> {
    pub(super) settings: &'a Settings,
    pub(super) graph: &'a ServiceGraph,
    pub(super) watches: &'a BTreeMap<EdgeKey, EdgeWatch>,
    pub(super) services: &'a ServiceWatches,
}

/// An incident with what its life needs.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) incident: Incident,
    /// Every edge that was ever degraded in it, with its onset and whether it was slow rather than failing.
    onsets: BTreeMap<EdgeKey, (Timestamp, bool)>,
    /// The keys of `onsets`.
    pub(super) touched: BTreeSet<EdgeKey>,
    degraded: BTreeSet<EdgeKey>,
    last_degraded: Timestamp,
    last_joined: Timestamp,
    /// A level above the told one, and since when.
    rising: Option<(Level, Timestamp)>,
    told_level: Option<Level>,
    /// Another first candidate, and since when.
    overtaking: Option<(Suspect, Timestamp)>,
    told_origin: Option<Suspect>,
    /// Since when the origin shows nothing of its own while others are degraded.
    origin_well_since: Option<Timestamp>,
    /// Whether it went into another incident.
    pub(super) merged: bool,
    returned: Option<Incident>,
}

impl Tracked {
    /// A new incident of a component, the `count`-th since the detector started.
    pub(super) fn open(component: BTreeSet<EdgeKey>, now: Timestamp, count: u64) -> Self {
        let incident = Incident {
            id: identity(now, component.first(), count),
            level: Level::Local,
            phase: Phase::Starting,
            started: now,
            detected: now,
            updated: now,
            resolved: None,
            candidates: Vec::new(),
            unexplained: Ratio::ONE,
            path: Vec::new(),
            blast: Blast::default(),
            attempts_per_request: 1.0,
            demand: 1.0,
            trips: 0,
            raw_alerts: 0,
            notices: 0,
        };
        Self {
            incident,
            onsets: BTreeMap::new(),
            touched: BTreeSet::new(),
            degraded: component,
            last_degraded: now,
            last_joined: now,
            rising: None,
            told_level: None,
            overtaking: None,
            told_origin: None,
            origin_well_since: None,
            merged: false,
            returned: None,
        }
    }

    /// Whether a component belongs to this incident: while it goes on, by any service it shares; once quiet for half the time to
    /// its resolution, or resolved, only when it hurts the same origin again, for a new fault elsewhere is a new incident.
    pub(super) fn claims(&self, component: &BTreeSet<EdgeKey>, now: Timestamp, reopen: std::time::Duration) -> bool {
        const QUIET: std::time::Duration = std::time::Duration::from_secs(60);
        if self.merged {
            return false;
        }
        if self.incident.resolved.is_none() && now.since(self.last_degraded) < QUIET {
            let servers: BTreeSet<&ServiceName> = self.touched.iter().map(|key| &key.server).collect();
            return component.iter().any(|key| {
                self.touched.contains(key)
                    || self.degraded.contains(key)
                    || servers.contains(&key.server)
                    || servers.contains(&key.client)
            });
        }
        let recent = self.incident.resolved.is_none_or(|at| now.since(at) <= reopen);
        recent && self.incident.origin().is_some_and(|origin| component.iter().any(|key| key.server == origin.service))
    }

    /// Nothing is known to be degraded until [`Self::set_degraded`] says so.
    pub(super) fn clear_degraded(&mut self) {
        self.degraded.clear();
    }

    pub(super) fn set_degraded(&mut self, component: BTreeSet<EdgeKey>, now: Timestamp) {
        self.degraded.extend(component);
        self.last_degraded = now;
        if self.incident.resolved.take().is_some() {
            self.incident.phase = Phase::Spreading;
            (self.told_level, self.rising) = (Some(self.incident.level), None);
        }
    }

    /// Ends this incident in favour of another and hands over what it was about.
    pub(super) fn merge_away(&mut self) -> BTreeMap<EdgeKey, (Timestamp, bool)> {
        self.merged = true;
        std::mem::take(&mut self.onsets)
    }

    pub(super) fn absorb(&mut self, onsets: BTreeMap<EdgeKey, (Timestamp, bool)>) {
        for (key, onset) in onsets {
            self.touched.insert(key.clone());
            self.onsets.entry(key).or_insert(onset);
        }
    }

    /// The incident when it differs from what was last taken.
    pub(super) fn take_changed(&mut self) -> Option<Incident> {
        if self.returned.as_ref() == Some(&self.incident) {
            return None;
        }
        self.returned = Some(self.incident.clone());
        self.returned.clone()
    }

    /// Brings everything up to date and answers what is worth telling.
    pub(super) fn advance(&mut self, view: &View<'_>, trips: &VecDeque<Trip>, now: Timestamp) -> Vec<Notice> {
        if self.merged {
            // Whoever was told of its opening must hear of its end.
            (self.incident.phase, self.incident.resolved) = (Phase::Resolved, Some(now));
            let told = self.told_level.is_some();
            self.incident.notices += u64::from(told);
            return if told { vec![Notice::Resolved] } else { Vec::new() };
        }
        if self.incident.resolved.is_some() {
            return Vec::new();
        }
        let before = self.incident.clone();
        if self.degraded.is_empty() {
            self.incident.phase = Phase::Recovering;
            if now.since(self.last_degraded) >= view.settings.resolve_after {
                (self.incident.phase, self.incident.resolved) = (Phase::Resolved, Some(now));
            }
        } else {
            self.note_onsets(view, trips, now);
            self.measure(view, trips, now);
            self.judge_phase(view, now);
        }
        let notices = self.notices(view.settings, now);
        self.incident.notices += notices.len() as u64;
        if self.incident != before {
            self.incident.updated = now;
        }
        notices
    }

    fn note_onsets(&mut self, view: &View<'_>, trips: &VecDeque<Trip>, now: Timestamp) {
        for key in &self.degraded {
            let watch = view.watches.get(key);
            let slow = watch.is_some_and(EdgeWatch::is_only_slow);
            if let Some(known) = self.onsets.get_mut(key) {
                known.1 &= slow;
                continue;
            }
            let window = view.settings.window * 3;
            let trip = trips.iter().rev().find(|trip| trip.key == *key && now.since(trip.at) <= window);
            let onset = watch.and_then(EdgeWatch::onset).into_iter().chain(trip.map(|trip| trip.at)).min();
            let onset = onset.unwrap_or(now);
            self.onsets.insert(key.clone(), (onset, slow));
            self.touched.insert(key.clone());
            self.last_joined = now;
            self.incident.raw_alerts += 1;
            self.incident.started = self.incident.started.min(onset);
        }
    }

    fn measure(&mut self, view: &View<'_>, trips: &VecDeque<Trip>, now: Timestamp) {
        let since = self.incident.started - view.settings.window;
        let own: Vec<&Trip> =
            trips.iter().filter(|trip| trip.at >= since && self.touched.contains(&trip.key)).collect();
        let measured = Measured::of(view, &self.touched, (since, now));
        let incident = &mut self.incident;
        let fresh = measured.candidates(view, &own, &self.degraded);
        if !fresh.is_empty() {
            (incident.candidates, incident.unexplained) =
                keep_leader(fresh, self.told_origin.as_ref(), view.settings.lead);
        }
        let Some(origin) = incident.candidates.first().map(|candidate| candidate.suspect.clone()) else { return };
        incident.trips = own.len() as u64;
        incident.raw_alerts = incident.raw_alerts.max(self.onsets.len() as u64 + incident.trips);
        incident.path = story::path(&origin, &self.onsets, &own);
        incident.attempts_per_request = measured.attempts_into(&origin.service);
        incident.blast = measured.blast(&origin, &self.touched);
        let entry_points = view.graph.entry_points();
        let reach = Reach {
            origin: &origin,
            degraded: &self.touched,
            entry_points: &entry_points,
            tripped: &own.iter().map(|trip| trip.key.clone()).collect(),
            attempts: incident.attempts_per_request,
        };
        let mut level = story::level(&reach);
        let well = measured.is_well(view, &origin, now);
        self.origin_well_since = if well { self.origin_well_since.or(Some(now)) } else { None };
        let lasting = self.origin_well_since.is_some_and(|since| now.since(since) >= view.settings.spreading_for);
        if lasting && level >= Level::Propagating && incident.attempts_per_request > 1.1 {
            level = Level::SelfSustaining;
        }
        incident.level = incident.level.max(level);
    }

    fn judge_phase(&mut self, view: &View<'_>, now: Timestamp) {
        let young = now.since(self.incident.detected) < view.settings.window * 3;
        self.incident.phase = if young || self.touched.len() == 1 {
            Phase::Starting
        } else if self.origin_well_since.is_some() && self.incident.level != Level::SelfSustaining {
            Phase::Recovering
        } else if now.since(self.last_joined) < view.settings.spreading_for {
            Phase::Spreading
        } else {
            Phase::Contained
        };
    }

    fn notices(&mut self, settings: &Settings, now: Timestamp) -> Vec<Notice> {
        let mut notices = Vec::new();
        if self.incident.resolved.is_some() {
            return vec![Notice::Resolved];
        }
        let level = self.incident.level;
        let origin = self.incident.origin().cloned();
        let Some(told) = self.told_level else {
            (self.told_level, self.told_origin) = (Some(level), origin);
            return vec![Notice::Opened];
        };
        if level > told {
            // The clock restarts with each further rise, so a cascade that grows for a while is told once, whole.
            let since = self.rising.filter(|(rising, _)| *rising == level).map_or(now, |(_, since)| since);
            self.rising = Some((level, since));
            if now.since(since) >= settings.settle {
                (self.told_level, self.rising) = (Some(level), None);
                notices.push(Notice::LevelRose);
                // What is told shows the candidates, too.
                self.told_origin.clone_from(&origin);
            }
        }
        match (&origin, &self.told_origin) {
            (Some(origin), Some(told)) if origin != told => {
                let since = self.overtaking.as_ref().filter(|(who, _)| who == origin).map_or(now, |(_, since)| *since);
                self.overtaking = Some((origin.clone(), since));
                if now.since(since) >= settings.settle {
                    (self.told_origin, self.overtaking) = (Some(origin.clone()), None);
                    notices.push(Notice::OriginChanged);
                }
            }
            _ => self.overtaking = None,
        }
        notices
    }
}

/// Keeps the told first candidate in its place until another leads by more than `lead`.
fn keep_leader(mut fresh: Vec<Candidate>, told: Option<&Suspect>, lead: f64) -> (Vec<Candidate>, Ratio) {
    let unexplained = Ratio::new(1.0 - fresh.iter().map(|candidate| candidate.score.get()).sum::<f64>());
    let best = fresh.first().map_or(0.0, |candidate| candidate.score.get());
    let held = told.and_then(|told| fresh.iter().position(|candidate| candidate.suspect == *told));
    if let Some(at) = held.filter(|at| fresh.get(*at).is_some_and(|candidate| best - candidate.score.get() <= lead)) {
        let leader = fresh.remove(at);
        fresh.insert(0, leader);
    }
    (fresh, unexplained)
}

/// A ULID: 48 bits of milliseconds, then 80 bits mixed (FNV-1a) from the first edge and a running number.
fn identity(at: Timestamp, key: Option<&EdgeKey>, count: u64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let text = format!("{count} {}", key.map(ToString::to_string).unwrap_or_default());
    let hash = text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    let bits = u128::from(at.as_millis() & 0xffff_ffff_ffff) << 80 | (hash & ((1 << 80) - 1));
    (0..26).rev().map(|digit| char::from(DIGITS[(bits >> (digit * 5) & 31) as usize])).collect()
}
