//! Recorded windows as values: what `tripline localise`, `tripline detect` and the simulator exchange.
//!
//! A recording is a graph and rows in the order of their time: counts of a service (or one operation of it), counts of an edge, and
//! breaker transitions. Its written form, JSON lines, is the business of the `recording` crate; here is what rows mean and which
//! of them can be true. [`RecordingBuilder`] takes rows one by one; a row with impossible values is refused with a [`Rejection`],
//! counted, and changes nothing else.
//!
//! Time. Rows come in the order of `at`. A row may be late by two of its own windows. Beyond that somebody's clock is wrong, and it
//! is not known in advance whose: the fewest rows are dropped such that time never goes back (the longest non-decreasing
//! subsequence stays). So one client whose clock is an hour ahead loses its own rows, and not everybody else theirs.
//!
//! Several rows for the same service, operation and window (one for each replica, say) are all kept; whoever adds them up
//! weights means by requests.

mod order;
mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use tripline_model::Timestamp;

pub use row::{BreakerRow, EdgeRow, Name, Row, ServiceRow};

/// What a recording may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordingLimits {
    /// Distinct services, databases and other nodes.
    pub nodes: usize,
    /// Distinct pairs of client and server.
    pub edges: usize,
    /// Rows kept.
    pub rows: usize,
    /// Bytes of a name of a service or operation.
    pub name_bytes: usize,
    /// Longest window.
    pub longest: Duration,
}

impl Default for RecordingLimits {
    /// Twice the 10,000 services and 100,000 edges that the project promises; rows for half a minute of those, or days of a small mesh.
    fn default() -> Self {
        Self { nodes: 20_000, edges: 200_000, rows: 4_000_000, name_bytes: 512, longest: Duration::from_secs(86_400) }
    }
}

/// Why a row was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// Not a row at all: not JSON, a field missing, or of the wrong type.
    Malformed,
    /// A number is not finite, or not a number.
    NotFinite,
    /// A count or a duration is below zero.
    Negative,
    /// More failures (or shed calls) than requests.
    FailuresAboveRequests,
    /// A window without length, or a longer one than is plausible.
    BadWindow,
    /// It is older than its neighbours by more than two windows, or newer in the same way.
    TimeGoesBack,
    /// An edge that the graph does not have.
    UnknownEdge,
    /// A name that is empty or too long.
    BadName,
    /// There is no room for another service.
    TooManyServices,
    /// There is no room for another edge.
    TooManyEdges,
    /// There is no room for another row.
    TooManyRows,
}

impl Rejection {
    /// Its written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NotFinite => "not_finite",
            Self::Negative => "negative",
            Self::FailuresAboveRequests => "failures_above_requests",
            Self::BadWindow => "bad_window",
            Self::TimeGoesBack => "time_goes_back",
            Self::UnknownEdge => "unknown_edge",
            Self::BadName => "bad_name",
            Self::TooManyServices => "too_many_services",
            Self::TooManyEdges => "too_many_edges",
            Self::TooManyRows => "too_many_rows",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many rows were refused for one reason, and where the first of them stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// How many.
    pub rows: u64,
    /// Line of the first, from 1.
    pub first_line: u64,
}

/// Refused rows by reason.
pub type Rejections = BTreeMap<Rejection, Rejected>;

/// What was recorded, with impossible rows left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recording {
    /// Every edge: those of the graph, or without one those that had a row.
    pub edges: BTreeSet<(Name, Name)>,
    /// Rows of services, as recorded.
    pub services: Vec<ServiceRow>,
    /// Rows of edges, as recorded.
    pub calls: Vec<EdgeRow>,
    /// Breaker transitions, as recorded.
    pub breakers: Vec<BreakerRow>,
    /// What was left out.
    pub rejected: Rejections,
}

impl Recording {
    /// Every node that an edge or a row names.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<Name> {
        let ends = self.edges.iter().flat_map(|(client, server)| [client, server]);
        ends.chain(self.services.iter().map(|row| &row.service)).cloned().collect()
    }

    /// Refused rows, over all reasons.
    #[must_use]
    pub fn rejected_rows(&self) -> u64 {
        self.rejected.values().map(|rejected| rejected.rows).sum()
    }
}

/// Takes rows and makes a [`Recording`] of those that can be true.
#[derive(Debug, Default)]
pub struct RecordingBuilder {
    limits: RecordingLimits,
    has_graph: bool,
    edges: BTreeSet<(Name, Name)>,
    nodes: BTreeSet<Name>,
    rows: Vec<(u64, Row)>,
    rejected: Rejections,
}

impl RecordingBuilder {
    /// An empty one.
    #[must_use]
    pub fn new(limits: RecordingLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the row of `line` (from 1).
    ///
    /// # Errors
    /// Why it was refused; it is counted then.
    pub fn push(&mut self, line: u64, row: Row) -> Result<(), Rejection> {
        let taken = self.take(line, row);
        if let Err(rejection) = taken {
            self.reject(line, rejection);
        }
        taken
    }

    /// Counts a line that was not a row.
    pub fn reject(&mut self, line: u64, rejection: Rejection) {
        count(&mut self.rejected, line, rejection);
    }

    /// Puts time in order and gives out what was taken.
    #[must_use]
    pub fn finish(mut self) -> Recording {
        let mut recording = Recording { edges: self.edges, ..Recording::default() };
        let times: Vec<(Timestamp, Duration)> = self.rows.iter().map(|(_, row)| (row.at(), row.length())).collect();
        for ((line, row), keeps_time) in self.rows.into_iter().zip(order::keeps_time(&times)) {
            if !keeps_time {
                count(&mut self.rejected, line, Rejection::TimeGoesBack);
                continue;
            }
            match row {
                Row::Graph(_) => {}
                Row::Service(row) => recording.services.push(row),
                Row::Edge(row) => recording.calls.push(row),
                Row::Breaker(row) => recording.breakers.push(*row),
            }
        }
        recording.rejected = self.rejected;
        recording
    }

    fn take(&mut self, line: u64, row: Row) -> Result<(), Rejection> {
        row.check(&self.limits)?;
        match &row {
            Row::Graph(edges) => {
                self.admit_graph(edges)?;
                self.has_graph = true;
                return Ok(());
            }
            Row::Service(row) => self.admit_nodes(&[&row.service])?,
            Row::Edge(row) => self.admit_edge(&row.client, &row.server)?,
            Row::Breaker(row) => self.admit_edge(&row.client, &row.server)?,
        }
        if self.rows.len() >= self.limits.rows {
            return Err(Rejection::TooManyRows);
        }
        self.rows.push((line, row));
        Ok(())
    }

    /// All of a graph or nothing of it.
    fn admit_graph(&mut self, edges: &[(Name, Name)]) -> Result<(), Rejection> {
        if edges.iter().filter(|edge| !self.edges.contains(edge)).count() + self.edges.len() > self.limits.edges {
            return Err(Rejection::TooManyEdges);
        }
        let ends: Vec<&Name> = edges.iter().flat_map(|(client, server)| [client, server]).collect();
        self.admit_nodes(&ends)?;
        self.edges.extend(edges.iter().cloned());
        Ok(())
    }

    fn admit_edge(&mut self, client: &Name, server: &Name) -> Result<(), Rejection> {
        let edge = (client.clone(), server.clone());
        if self.edges.contains(&edge) {
            return Ok(());
        }
        if self.has_graph {
            return Err(Rejection::UnknownEdge);
        }
        self.admit_graph(&[edge])
    }

    fn admit_nodes(&mut self, names: &[&Name]) -> Result<(), Rejection> {
        let new: BTreeSet<&Name> = names.iter().copied().filter(|name| !self.nodes.contains(*name)).collect();
        if new.len() + self.nodes.len() > self.limits.nodes {
            return Err(Rejection::TooManyServices);
        }
        let new: Vec<Name> = new.into_iter().cloned().collect();
        self.nodes.extend(new);
        Ok(())
    }
}

fn count(rejected: &mut Rejections, line: u64, rejection: Rejection) {
    rejected.entry(rejection).or_insert(Rejected { rows: 0, first_line: line }).rows += 1;
}

#[cfg(test)]
mod tests;
