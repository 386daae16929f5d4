//! The edges of the services that an incident touches, with everything numbered.
//!
//! An incident of a thousand services asks for ten thousand edges, twice in each evaluation. Finding and numbering them takes longer than reading
//! what they carried; so it is done once, and again when the incident or the graph has changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tripline_model::{EdgeKey, ServiceName};

use super::trips::{Trips, TripsAlong};
use crate::ServiceGraph;
use crate::graph::EdgeState;

/// Edges and their services. Numbers are places in these lists.
#[derive(Debug, Default)]
pub(super) struct Near {
    /// What was asked for.
    touched: Arc<BTreeSet<EdgeKey>>,
    /// The graph's generation.
    generation: u64,
    /// By key.
    pub(super) edges: Vec<NearEdge>,
    /// By name.
    pub(super) services: Vec<NearService>,
    /// The numbers of the edges that were asked for, and of their servers.
    asked: Vec<usize>,
    servers: Vec<usize>,
}

/// One edge.
#[derive(Debug)]
pub(super) struct NearEdge {
    pub(super) key: EdgeKey,
    /// Its place in the graph, and [`EdgeState::born`].
    pub(super) place: usize,
    pub(super) born: u64,
    /// The number of its server.
    pub(super) server: usize,
}

impl NearEdge {
    /// An edge whose server has no number yet.
    pub(super) const fn new(key: EdgeKey, (place, born): (usize, u64)) -> Self {
        Self { key, place, born, server: 0 }
    }
}

/// One service with the numbers of its edges.
#[derive(Debug)]
pub(super) struct NearService {
    pub(super) name: ServiceName,
    pub(super) into: Vec<usize>,
    pub(super) from: Vec<usize>,
}

impl Near {
    /// Every edge of a service that one of `touched` has.
    fn of(graph: &ServiceGraph, touched: &Arc<BTreeSet<EdgeKey>>) -> Self {
        let services: BTreeSet<&ServiceName> = touched.iter().flat_map(|key| [&key.client, &key.server]).collect();
        let mut near: Vec<(&EdgeKey, &EdgeState)> = Vec::new();
        // Services are in order, and so are the calls of each: one sorted run, behind which come the calls from elsewhere.
        near.extend(services.iter().flat_map(|service| graph.edges_from(service)));
        for service in &services {
            near.extend(graph.edges_into_from(service, |client| !services.contains(client)));
        }
        near.sort_by(|a, b| a.0.cmp(b.0));
        let edges = near.into_iter().map(|(key, state)| NearEdge::new(key.clone(), (state.place as usize, state.born)));
        let near = Self::numbered(edges.collect());
        let asked: Vec<usize> = near.among(touched.iter().map(|key| (key, ()))).map(|(at, ..)| at).collect();
        let mut is_server = vec![false; near.services.len()];
        asked.iter().for_each(|at| is_server[near.edges[*at].server] = true);
        let servers = (0..is_server.len()).filter(|at| is_server[*at]).collect();
        Self { touched: Arc::clone(touched), generation: graph.generation(), asked, servers, ..near }
    }

    /// Edges in the order of their keys, of which the services are numbered here.
    pub(super) fn numbered(mut edges: Vec<NearEdge>) -> Self {
        let mut numbers: HashMap<&ServiceName, usize> = HashMap::new();
        // The order in which names were met; at the end, by that order, the one of the names.
        let mut ends: Vec<[usize; 2]> = Vec::with_capacity(edges.len());
        let mut before: Option<(&ServiceName, usize)> = None;
        for NearEdge { key, .. } in &edges {
            let mut met = |name| {
                let next = numbers.len();
                *numbers.entry(name).or_insert(next)
            };
            // The calls of a client follow each other.
            let client =
                before.filter(|(name, _)| **name == key.client).map_or_else(|| met(&key.client), |(_, met)| met);
            before = Some((&key.client, client));
            ends.push([client, met(&key.server)]);
        }
        let mut names: Vec<(&ServiceName, usize)> = numbers.into_iter().collect();
        names.sort_unstable();
        let mut number = vec![0; names.len()];
        names.iter().enumerate().for_each(|(at, (_, met))| number[*met] = at);
        let service = |(name, _): &(&ServiceName, usize)| NearService {
            name: (*name).clone(),
            into: Vec::new(),
            from: Vec::new(),
        };
        let mut services: Vec<NearService> = names.iter().map(service).collect();
        for (at, (edge, ends)) in edges.iter_mut().zip(ends).enumerate() {
            let [client, server] = ends.map(|met| number[met]);
            services[client].from.push(at);
            services[server].into.push(at);
            edge.server = server;
        }
        Self { edges, services, ..Self::default() }
    }

    /// The number of an edge.
    pub(super) fn edge(&self, key: &EdgeKey) -> Option<usize> {
        self.edges.binary_search_by(|edge| edge.key.cmp(key)).ok()
    }

    /// The edges among some that are in the order of their keys, each with its number; what is no more is left out.
    pub(super) fn among<'a, 'k, T>(
        &'a self,
        sorted: impl Iterator<Item = (&'k EdgeKey, T)>,
    ) -> impl Iterator<Item = (usize, &'a NearEdge, T)> {
        let mut edges = self.edges.iter().enumerate().peekable();
        sorted.filter_map(move |(key, value)| {
            while edges.next_if(|(_, edge)| edge.key < *key).is_some() {}
            edges.next_if(|(_, edge)| edge.key == *key).map(|(at, edge)| (at, edge, value))
        })
    }

    /// Those that were asked for.
    pub(super) fn touched(&self) -> impl Iterator<Item = (usize, &NearEdge)> {
        self.asked.iter().map(|at| (*at, &self.edges[*at]))
    }

    /// The servers of those, by name.
    pub(super) fn servers(&self) -> impl Iterator<Item = (usize, &NearService)> {
        self.servers.iter().map(|at| (*at, &self.services[*at]))
    }

    /// The number of a service.
    pub(super) fn service(&self, name: &ServiceName) -> Option<usize> {
        self.services.binary_search_by(|service| service.name.cmp(name)).ok()
    }
}

/// What was found in the last evaluations.
#[derive(Debug, Default)]
pub(super) struct Nears {
    // Nobody waits for these locks: they let those who only look at the detector keep what they find.
    known: Mutex<Vec<Known>>,
    /// The graph's entry points, with its generation.
    entry_points: Mutex<Option<(u64, Arc<BTreeSet<ServiceName>>)>>,
}

#[derive(Debug)]
struct Known {
    near: Arc<Near>,
    /// What it was asked for with since the last [`Nears::tidy`], and before that: equal sets, of which those that are the same need not be compared.
    asked: Vec<Arc<BTreeSet<EdgeKey>>>,
    before: Vec<Arc<BTreeSet<EdgeKey>>>,
    /// [`Trips::revision`], and the openings as of then.
    trips: Option<(u64, Arc<TripsAlong>)>,
}

impl Known {
    fn is_of(&self, touched: &Arc<BTreeSet<EdgeKey>>) -> bool {
        let mut known = self.asked.iter().chain(&self.before);
        known.any(|known| Arc::ptr_eq(known, touched)) || self.near.touched == *touched
    }
}

impl Nears {
    pub(super) const fn new() -> Self {
        Self { known: Mutex::new(Vec::new()), entry_points: Mutex::new(None) }
    }

    /// The edges of the services that `touched` touches.
    pub(super) fn of(&self, graph: &ServiceGraph, touched: &Arc<BTreeSet<EdgeKey>>) -> Arc<Near> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |known: &&mut Known| known.near.generation == graph.generation() && known.is_of(touched);
        if let Some(known) = all.iter_mut().find(is_it) {
            if !known.asked.iter().any(|asked| Arc::ptr_eq(asked, touched)) {
                known.asked.push(Arc::clone(touched));
            }
            return Arc::clone(&known.near);
        }
        let near = Arc::new(Near::of(graph, touched));
        all.push(Known { near: Arc::clone(&near), asked: vec![Arc::clone(touched)], before: Vec::new(), trips: None });
        near
    }

    /// The openings on each edge of one that [`Self::of`] has answered.
    pub(super) fn trips_along(&self, near: &Arc<Near>, trips: &Trips) -> Arc<TripsAlong> {
        let find = || Arc::new(trips.along(near));
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = all.iter_mut().find(|known| Arc::ptr_eq(&known.near, near)) else { return find() };
        match &known.trips {
            Some((revision, found)) if *revision == trips.revision() => {
                #[cfg(test)]
                assert_eq!(**found, trips.along(near), "openings changed, and their revision did not");
                Arc::clone(found)
            }
            _ => {
                let found = find();
                known.trips = Some((trips.revision(), Arc::clone(&found)));
                found
            }
        }
    }

    /// The services that something outside the mesh, or a gateway, calls.
    pub(super) fn entry_points(&self, graph: &ServiceGraph) -> Arc<BTreeSet<ServiceName>> {
        let mut known = self.entry_points.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((generation, known)) if *generation == graph.generation() => Arc::clone(known),
            _ => {
                let found = Arc::new(graph.entry_points());
                *known = Some((graph.generation(), Arc::clone(&found)));
                found
            }
        }
    }

    /// Forgets what nobody has asked for since the last time.
    pub(super) fn tidy(&self) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(|known| {
            known.before = std::mem::take(&mut known.asked);
            !known.before.is_empty()
        });
    }
}
