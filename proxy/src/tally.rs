//! What one worker counts, per edge, between two reports.
//!
//! Every worker has a shard of its own, so its lock is free except for the moment each second in which the reporter
//! takes the counts away. A task with a queue would cost an allocation and a wake-up for every request instead.
//! Edges are known by small numbers: outbound ones by the target's number in the configuration, inbound ones by a number
//! given to each client when it first calls. Clients past [`MAX_CLIENTS`] fold into one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tripline_model::{EdgeCounts, Histogram, Protocol, ServiceName};

/// Distinct clients that are counted apart.
pub(crate) const MAX_CLIENTS: usize = 512;

/// One edge's counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// The counts.
    pub(crate) counts: EdgeCounts,
    /// Time to the end of the answer, of requests that were not shed.
    pub(crate) latency: Histogram,
    /// Time outside own calls, of requests whose calls are known.
    pub(crate) self_time: Histogram,
    /// Requests over connections on which both ends proved who they are, and over others.
    pub(crate) protected: (u64, u64),
}

impl Tally {
    fn is_empty(&self) -> bool {
        self.counts == EdgeCounts::default() && self.latency.is_empty() && self.self_time.is_empty()
    }

    /// Adds another tally of the same edge.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        self.latency.merge(&other.latency);
        self.self_time.merge(&other.self_time);
        self.protected.0 += other.protected.0;
        self.protected.1 += other.protected.1;
    }

    /// Whether every connection of these counts was mutually authenticated; false when there was none.
    pub(crate) const fn is_secured(&self) -> bool {
        self.protected.0 > 0 && self.protected.1 == 0
    }
}

/// How the connection of an exchange is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protection {
    /// It had none.
    #[default]
    NoConnection,
    /// Both ends proved who they are.
    Mutual,
    /// They did not.
    Other,
}

impl Protection {
    /// Of a connection.
    pub(crate) const fn of(is_mutual: bool) -> Self {
        if is_mutual { Self::Mutual } else { Self::Other }
    }
}

/// An exchange that has ended, or what one that goes on has come to so far.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    /// Its counts.
    pub(crate) counts: &'a EdgeCounts,
    /// Time to the end of its answer.
    pub(crate) latency: Option<Duration>,
    /// Time outside own calls.
    pub(crate) self_time: Option<Duration>,
    /// How its connection was protected.
    pub(crate) protection: Protection,
}

/// Which edge an exchange belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EdgeSlot {
    /// From the own service to the target of that number.
    Outbound(usize),
    /// From the client of that number to the own service.
    Inbound(usize),
}

/// Why a request was refused without belonging to any edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Both Content-Length and Transfer-Encoding, no or several Host fields, and the like.
    BadRequest,
    /// Its Host names nothing known.
    UnknownHost,
    /// Its Host names a service that is no backend of this node.
    NotABackend,
    /// No route matches it.
    NoRoute,
    /// A method or protocol that is not served.
    Unsupported,
}

impl Refusal {
    /// All of them, in the order of their counters.
    pub(crate) const ALL: [Self; 5] =
        [Self::BadRequest, Self::UnknownHost, Self::NotABackend, Self::NoRoute, Self::Unsupported];

    /// Its word in headers and labels.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownHost => "unknown_host",
            Self::NotABackend => "not_a_backend",
            Self::NoRoute => "no_route",
            Self::Unsupported => "unsupported",
        }
    }
}

/// The counts of one worker.
#[derive(Debug)]
pub(crate) struct Shard(Mutex<Counters>);

#[derive(Debug, Default)]
struct Counters {
    outbound: Vec<Tally>,
    inbound: Vec<Tally>,
    clients: Clients,
    refused: [u64; Refusal::ALL.len()],
}

#[derive(Debug, Default)]
struct Clients {
    /// By what they speak.
    numbers: [FxHashMap<Box<[u8]>, usize>; 3],
    names: Vec<(ServiceName, Protocol)>,
}

/// What a shard counted since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// By number of the target.
    pub(crate) outbound: Vec<(usize, Tally)>,
    /// By client and what it speaks.
    pub(crate) inbound: Vec<((ServiceName, Protocol), Tally)>,
    /// By [`Refusal::ALL`].
    pub(crate) refused: [u64; Refusal::ALL.len()],
}

impl Shard {
    /// An empty shard.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Counters::default()))
    }

    /// The number of a client by what it says in its header; an absent header is the user.
    pub(crate) fn client(&self, header: Option<&[u8]>, protocol: Protocol) -> usize {
        self.lock().clients.number(header.unwrap_or_default(), protocol)
    }

    /// The name of a client by its number.
    pub(crate) fn client_name(&self, number: usize) -> ServiceName {
        self.lock().clients.names.get(number).map_or_else(ServiceName::overflow, |(name, _)| name.clone())
    }

    /// Counts a request that belongs to no edge.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.lock().refused[refusal as usize] += 1;
    }

    /// Counts an exchange that has ended.
    pub(crate) fn record(&self, slot: EdgeSlot, ended: &Ended<'_>) {
        let mut counters = self.lock();
        let tally = counters.tally(slot);
        tally.counts.merge(ended.counts);
        match ended.protection {
            Protection::Mutual => tally.protected.0 += 1,
            Protection::Other => tally.protected.1 += 1,
            Protection::NoConnection => {}
        }
        if let Some(latency) = ended.latency {
            tally.latency.record(latency);
        }
        if let Some(own) = ended.self_time {
            tally.self_time.record(own);
        }
    }

    /// Takes everything counted so far.
    pub(crate) fn take(&self) -> Taken {
        let mut counters = self.lock();
        let counters = &mut *counters;
        let outbound = counters.outbound.iter_mut().enumerate().filter(|(_, tally)| !tally.is_empty());
        let names = counters.clients.names.iter().cloned();
        let inbound = names.zip(counters.inbound.iter_mut()).filter(|(_, tally)| !tally.is_empty());
        Taken {
            outbound: outbound.map(|(number, tally)| (number, std::mem::take(tally))).collect(),
            inbound: inbound.map(|(name, tally)| (name, std::mem::take(tally))).collect(),
            refused: std::mem::take(&mut counters.refused),
        }
    }

    /// A shard holds plain counters, which no panic can leave half-changed in a way that matters.
    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn tally(&mut self, slot: EdgeSlot) -> &mut Tally {
        let (tallies, number) = match slot {
            EdgeSlot::Outbound(number) => (&mut self.outbound, number),
            EdgeSlot::Inbound(number) => (&mut self.inbound, number),
        };
        if tallies.len() <= number {
            tallies.resize_with(number + 1, Tally::default);
        }
        &mut tallies[number]
    }
}

impl Clients {
    fn number(&mut self, header: &[u8], protocol: Protocol) -> usize {
        let numbers = match protocol {
            Protocol::Grpc => &mut self.numbers[1],
            Protocol::Tcp => &mut self.numbers[2],
            _ => &mut self.numbers[0],
        };
        if let Some(number) = numbers.get(header) {
            return *number;
        }
        let name = match std::str::from_utf8(header) {
            _ if self.names.len() >= MAX_CLIENTS => ServiceName::overflow(),
            Ok("") | Err(_) => ServiceName::user(),
            Ok(text) => ServiceName::from(text),
        };
        let client = (name, protocol);
        let number = self.names.iter().position(|known| *known == client).unwrap_or_else(|| {
            self.names.push(client);
            self.names.len() - 1
        });
        // What a header says beyond the limit is not remembered either: strangers can send anything.
        if numbers.len() < MAX_CLIENTS {
            numbers.insert(header.into(), number);
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(shard: &Shard, slot: EdgeSlot, protection: Protection) {
        let counts = EdgeCounts { requests: 1, ..EdgeCounts::default() };
        let latency = Some(Duration::from_millis(1));
        shard.record(slot, &Ended { counts: &counts, latency, self_time: None, protection });
    }

    #[test]
    fn a_client_is_counted_apart_by_what_it_speaks_and_secured_only_if_always() {
        let shard = Shard::new();
        let (http, grpc) =
            (shard.client(Some(b"shop/web"), Protocol::Http), shard.client(Some(b"shop/web"), Protocol::Grpc));
        for (client, protection) in [
            (http, Protection::Mutual),
            (http, Protection::Other),
            (grpc, Protection::Mutual),
            (grpc, Protection::NoConnection),
        ] {
            record(&shard, EdgeSlot::Inbound(client), protection);
        }
        let taken = shard.take();
        let secured: Vec<_> =
            taken.inbound.iter().map(|((_, protocol), tally)| (*protocol, tally.is_secured())).collect();
        assert_eq!(secured, [(Protocol::Http, false), (Protocol::Grpc, true)]);
    }

    #[test]
    fn counts_are_taken_once() {
        let shard = Shard::new();
        let web = shard.client(Some(b"shop/web"), Protocol::Http);
        assert_eq!(shard.client(Some(b"shop/web"), Protocol::Http), web);
        record(&shard, EdgeSlot::Inbound(web), Protection::Mutual);
        record(&shard, EdgeSlot::Inbound(shard.client(None, Protocol::Http)), Protection::Other);
        record(&shard, EdgeSlot::Outbound(2), Protection::NoConnection);
        shard.refuse(Refusal::NoRoute);
        let taken = shard.take();
        let inbound: Vec<String> = taken.inbound.iter().map(|((name, _), _)| name.to_string()).collect();
        assert_eq!(inbound, ["shop/web", "user"]);
        assert_eq!((taken.outbound.len(), taken.outbound[0].0), (1, 2));
        assert_eq!(taken.refused, [0, 0, 0, 1, 0]);
        let again = shard.take();
        assert!(again.inbound.is_empty() && again.outbound.is_empty());
    }

    #[test]
    fn strangers_cannot_make_it_grow() {
        let shard = Shard::new();
        for number in 0..10_000 {
            let client = shard.client(Some(format!("shop/{number}").as_bytes()), Protocol::Http);
            record(&shard, EdgeSlot::Inbound(client), Protection::Other);
        }
        let taken = shard.take();
        assert_eq!(taken.inbound.len(), MAX_CLIENTS + 1);
        assert_eq!(taken.inbound.iter().map(|(_, t)| t.counts.requests).sum::<u64>(), 10_000);
        let folded = taken.inbound.iter().find(|((name, _), _)| *name == ServiceName::overflow());
        assert_eq!(folded.map(|(_, t)| t.counts.requests), Some(10_000 - MAX_CLIENTS as u64));
    }
}
