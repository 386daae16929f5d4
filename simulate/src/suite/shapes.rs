//! Topologies of the scored set: made by hand with 6 to 12 services, and drawn ones.

use std::collections::BTreeSet;

use tripline_breaker::jitter::SplitMix;

use crate::plan::{CallPlan, EntryPlan, Fault, Makes, Plan, ServicePlan};

/// Numbers drawn for a case.
pub(crate) struct Draw(pub(crate) SplitMix);

impl Draw {
    pub(crate) fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.0.unit()
    }

    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.0.next_u64().is_multiple_of(many)
    }

    pub(crate) fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[(self.0.next_u64() % list.len() as u64) as usize]
    }
}

/// A service as name, median in ms, and calls as (server, share).
type Sketch<'a> = (&'a str, f64, &'a [(&'a str, f64)]);

/// A mesh that is being made.
pub(crate) struct Mesh {
    pub(crate) shape: &'static str,
    pub(crate) services: Vec<ServicePlan>,
    pub(crate) entries: Vec<EntryPlan>,
    pub(crate) faults: Vec<Fault>,
    /// Share of the traces that is kept.
    pub(crate) sampled: f64,
}

/// One of the shapes.
pub(crate) fn any(draw: &mut Draw) -> Mesh {
    let shapes: [fn(&mut Draw) -> Mesh; 9] = [chain, shop, fan, diamond, cycle, two_doors, drawn, pet_shop, boutique];
    let make = *draw.of(&shapes);
    make(draw)
}

impl Mesh {
    /// The first service is called by users.
    fn made(shape: &'static str, draw: &mut Draw, services: &[Sketch<'_>]) -> Self {
        let mut mesh = Self { shape, services: Vec::new(), entries: Vec::new(), faults: Vec::new(), sampled: 1.0 };
        for (name, median, calls) in services {
            let mut service = ServicePlan::new(&named(name), *median);
            for (number, (server, share)) in calls.iter().enumerate() {
                let mut call = CallPlan::new(&named(server));
                (call.share, call.stage) = (*share, number as u8 / 2);
                service.calls.push(call);
            }
            mesh.services.push(service);
        }
        mesh.entries.push(EntryPlan::new(&mesh.services[0].name.clone(), draw.between(60.0, 200.0).floor()));
        mesh.furnish(draw);
        mesh
    }

    /// Replicas, retries and time limits that grow towards the users.
    fn furnish(&mut self, draw: &mut Draw) {
        let depth = self.depths();
        let deepest = depth.iter().copied().max().unwrap_or(0);
        for (service, depth) in self.services.iter_mut().zip(depth) {
            service.replicas = *draw.of(&[1, 1, 1, 2, 3]);
            let height = f64::from(deepest.saturating_sub(depth));
            for call in &mut service.calls {
                call.timeout_ms = 600.0 + 300.0 * height;
                if draw.one_in(4) {
                    call.retries = *draw.of(&[1, 2]);
                    call.per_try_ms = Some(call.timeout_ms / 2.0);
                }
                call.network_ms = draw.between(0.1, 0.8);
            }
        }
    }

    /// Calls from the users to each service, over the longest way; cycles are cut.
    fn depths(&self) -> Vec<u32> {
        let mut depth = vec![0; self.services.len()];
        for _ in 0..self.services.len().min(40) {
            for at in 0..self.services.len() {
                for call in &self.services[at].calls {
                    let Some(server) = self.place(&call.server) else { continue };
                    depth[server] = depth[server].max((depth[at] + 1).min(12));
                }
            }
        }
        depth
    }

    /// Requests a second that reach each service.
    fn loads(&self) -> Vec<f64> {
        let entering: Vec<f64> = self
            .services
            .iter()
            .map(|s| self.entries.iter().filter(|e| e.server == s.name).map(|e| e.per_second).sum())
            .collect();
        let mut loads = entering.clone();
        // The fixed point of what flows on; twelve rounds are deeper than any shape.
        for _ in 0..12 {
            let mut next = entering.clone();
            for (at, service) in self.services.iter().enumerate() {
                let all: f64 = service.calls.iter().map(|call| call.share).sum();
                for call in &service.calls {
                    let share = if service.makes == Makes::One { call.share / all } else { call.share };
                    if let Some(server) = self.place(&call.server) {
                        next[server] += loads[at] * share;
                    }
                }
            }
            loads = next;
        }
        loads
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.services.iter().position(|service| service.name == name)
    }

    pub(crate) fn service(&mut self, name: &str) -> Option<&mut ServicePlan> {
        self.services.iter_mut().find(|service| service.name == name)
    }

    pub(crate) fn call(&mut self, client: &str, server: &str) -> Option<&mut CallPlan> {
        self.service(client)?.calls.iter_mut().find(|call| call.server == server)
    }

    /// Makes a service slow and its places so few that `room` times its load fills them.
    pub(crate) fn narrow(&mut self, name: &str, median_ms: f64, room: f64) {
        let Some(at) = self.place(name) else { return };
        let load = self.loads()[at];
        let service = &mut self.services[at];
        let busy = load * median_ms * (service.spread.powi(2) / 2.0).exp() / 1e3;
        (service.median_ms, service.replicas) = (median_ms, 1);
        service.concurrency = ((busy * room).ceil() as u32).max(2);
        service.queue = service.concurrency * 8;
    }

    /// A service that enough requests reach to be judged by them: four a second.
    pub(crate) fn any_service(&self, draw: &mut Draw) -> String {
        let loads = self.loads();
        let busy: Vec<&ServicePlan> =
            self.services.iter().zip(loads).filter(|(_, load)| *load >= 6.0).map(|(service, _)| service).collect();
        if busy.is_empty() { self.services[0].name.clone() } else { draw.of(&busy).name.clone() }
    }

    /// An edge with enough requests.
    pub(crate) fn any_edge(&self, draw: &mut Draw) -> (String, String) {
        let loads = self.loads();
        let mut edges = Vec::new();
        for (service, load) in self.services.iter().zip(loads) {
            let all: f64 = service.calls.iter().map(|call| call.share).sum();
            for call in &service.calls {
                let share = if service.makes == Makes::One { call.share / all } else { call.share };
                if load * share >= 6.0 && call.server != service.name {
                    edges.push((service.name.clone(), call.server.clone()));
                }
            }
        }
        draw.of(&edges).clone()
    }

    /// Whether one of two services reaches the other over calls.
    pub(crate) fn related(&self, one: &str, other: &str) -> bool {
        self.reaches(one, other) || self.reaches(other, one)
    }

    fn reaches(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut front = vec![from];
        while let Some(name) = front.pop() {
            if name == to {
                return true;
            }
            if seen.insert(name) {
                let service = self.services.iter().find(|service| service.name == name);
                front.extend(service.into_iter().flat_map(|service| service.calls.iter().map(|c| c.server.as_str())));
            }
        }
        false
    }

    /// A fault of every service.
    pub(crate) fn strike_all(&mut self, fault: impl Fn(&str) -> Fault) {
        self.faults.extend(self.services.iter().map(|service| fault(&service.name)));
    }

    pub(crate) fn add_uncalled(&mut self, name: &str) {
        self.services.push(ServicePlan::new(name, 2.0));
    }

    pub(crate) fn plan(self, seconds: u64) -> Plan {
        let Self { shape, services, entries, faults, sampled } = self;
        Plan { name: shape.to_owned(), seconds, services, entries, sampled, faults }
    }
}

fn named(name: &str) -> String {
    format!("shop/{name}")
}

/// A line of six, and one at the side.
pub(crate) fn chain(draw: &mut Draw) -> Mesh {
    Mesh::made(
        "chain",
        draw,
        &[
            ("gateway", 0.7, &[("web", 1.0)]),
            ("web", 1.5, &[("checkout", 0.8), ("catalogue", 0.6)]),
            ("checkout", 3.0, &[("payments", 1.0)]),
            ("payments", 4.0, &[("db", 1.0)]),
            ("db", 2.5, &[]),
            ("catalogue", 5.0, &[]),
        ],
    )
}

/// The shop of the demo.
fn shop(draw: &mut Draw) -> Mesh {
    let mut mesh = Mesh::made(
        "shop",
        draw,
        &[
            ("gateway", 0.7, &[("web", 1.0)]),
            ("web", 1.5, &[("catalogue", 0.4), ("cart", 0.15), ("checkout", 0.45)]),
            ("catalogue", 2.5, &[("search", 1.0), ("recommendations", 0.75)]),
            ("search", 6.0, &[]),
            ("recommendations", 5.0, &[]),
            ("cart", 2.0, &[("pricing", 1.0)]),
            ("checkout", 3.0, &[("pricing", 1.0), ("inventory", 1.0), ("payments", 1.0), ("notifications", 1.0)]),
            ("pricing", 1.5, &[]),
            ("inventory", 3.0, &[]),
            ("payments", 4.0, &[("db", 1.0)]),
            ("db", 2.5, &[]),
            ("notifications", 2.0, &[]),
        ],
    );
    for (client, server) in [("catalogue", "recommendations"), ("checkout", "notifications")] {
        if let Some(call) = mesh.call(&named(client), &named(server)) {
            call.required = false;
        }
    }
    if let Some(web) = mesh.service(&named("web")) {
        web.makes = Makes::One;
        web.calls.iter_mut().for_each(|call| call.stage = 0);
    }
    mesh.entries[0].per_second += 60.0;
    mesh
}

/// One that calls many, some of which share a store.
fn fan(draw: &mut Draw) -> Mesh {
    let mut mesh = Mesh::made(
        "fan",
        draw,
        &[
            (
                "api",
                1.0,
                &[("users", 0.9), ("orders", 0.7), ("search", 0.6), ("media", 0.5), ("ads", 0.8), ("geo", 0.4)],
            ),
            ("users", 2.0, &[("store", 0.7)]),
            ("orders", 3.0, &[("store", 1.0)]),
            ("search", 6.0, &[]),
            ("media", 4.0, &[]),
            ("ads", 2.0, &[]),
            ("geo", 1.0, &[]),
            ("store", 2.0, &[]),
        ],
    );
    if let Some(call) = mesh.call("shop/api", "shop/ads") {
        call.required = false;
    }
    mesh
}

/// Two ways to the same place.
fn diamond(draw: &mut Draw) -> Mesh {
    Mesh::made(
        "diamond",
        draw,
        &[
            ("edge", 0.5, &[("web", 0.8), ("mobile", 0.6)]),
            ("web", 2.0, &[("account", 0.8), ("feed", 0.7)]),
            ("mobile", 1.5, &[("account", 1.0), ("feed", 0.5)]),
            ("account", 3.0, &[("auth", 1.0)]),
            ("feed", 5.0, &[("rank", 0.8), ("store", 0.9)]),
            ("auth", 1.5, &[("store", 0.6)]),
            ("rank", 8.0, &[]),
            ("store", 2.0, &[]),
            ("audit", 1.0, &[]),
        ],
    )
}

/// Two services that call each other.
fn cycle(draw: &mut Draw) -> Mesh {
    Mesh::made(
        "cycle",
        draw,
        &[
            ("front", 1.0, &[("orders", 0.9), ("help", 0.4)]),
            ("orders", 3.0, &[("stock", 0.8), ("ledger", 0.7)]),
            ("stock", 2.0, &[("orders", 0.25), ("depot", 0.6)]),
            ("ledger", 4.0, &[("store", 1.0)]),
            ("depot", 2.0, &[]),
            ("store", 2.0, &[]),
            ("help", 3.0, &[]),
        ],
    )
}

/// Two entry points over shared services.
fn two_doors(draw: &mut Draw) -> Mesh {
    let mut mesh = Mesh::made(
        "two_doors",
        draw,
        &[
            ("www", 1.0, &[("pages", 1.0), ("login", 0.3)]),
            ("pages", 3.0, &[("content", 0.9), ("images", 0.6)]),
            ("content", 4.0, &[("store", 0.8)]),
            ("images", 3.0, &[]),
            ("login", 2.0, &[("people", 1.0)]),
            ("people", 2.0, &[]),
            ("store", 2.0, &[]),
            ("partner", 1.0, &[("quotes", 1.0), ("login", 0.5)]),
            ("quotes", 5.0, &[("rates", 1.0)]),
            ("rates", 2.0, &[]),
        ],
    );
    mesh.entries.push(EntryPlan::new("shop/partner", draw.between(40.0, 100.0).floor()));
    mesh
}

/// As the PetShop application of AWS is called.
fn pet_shop(draw: &mut Draw) -> Mesh {
    Mesh::made(
        "pet_shop",
        draw,
        &[
            ("petsite", 2.0, &[("search", 0.9), ("list", 0.5), ("pay", 0.3), ("steps", 0.2), ("queue", 0.3)]),
            ("search", 4.0, &[("pets", 0.8), ("pictures", 0.6)]),
            ("list", 5.0, &[("adoptions", 1.0), ("search", 0.5)]),
            ("pay", 6.0, &[("adoptions", 1.0), ("status", 0.8)]),
            ("status", 3.0, &[("pets", 1.0)]),
            ("steps", 8.0, &[]),
            ("queue", 2.0, &[]),
            ("pets", 2.0, &[]),
            ("pictures", 3.0, &[]),
            ("adoptions", 3.0, &[]),
        ],
    )
}

/// As Google's Online Boutique is called.
fn boutique(draw: &mut Draw) -> Mesh {
    let mut mesh = Mesh::made(
        "boutique",
        draw,
        &[
            (
                "frontend",
                2.0,
                &[
                    ("catalog", 0.9),
                    ("currency", 0.9),
                    ("cart", 0.6),
                    ("recommend", 0.6),
                    ("ads", 0.6),
                    ("shipping", 0.3),
                    ("checkout", 0.3),
                ],
            ),
            ("recommend", 3.0, &[("catalog", 1.0)]),
            ("cart", 2.0, &[("redis", 1.0)]),
            (
                "checkout",
                4.0,
                &[
                    ("cart", 1.0),
                    ("catalog", 1.0),
                    ("currency", 1.0),
                    ("shipping", 1.0),
                    ("payment", 1.0),
                    ("email", 1.0),
                ],
            ),
            ("catalog", 2.0, &[]),
            ("currency", 1.0, &[]),
            ("redis", 0.5, &[]),
            ("ads", 2.0, &[]),
            ("shipping", 2.0, &[]),
            ("payment", 3.0, &[]),
            ("email", 3.0, &[]),
        ],
    );
    for (client, server) in [("frontend", "ads"), ("frontend", "recommend"), ("checkout", "email")] {
        if let Some(call) = mesh.call(&named(client), &named(server)) {
            call.required = false;
        }
    }
    mesh
}

/// As large meshes are: half of the services that call anyone call four others, one in ten 23, one in a hundred 252; 13 % are entries, 39 % call
/// nobody. Shares fall with the number of calls, so that a request does not become thousands.
pub(crate) fn large(draw: &mut Draw, count: usize) -> Mesh {
    let mut mesh = Mesh { shape: "large", services: Vec::new(), entries: Vec::new(), faults: Vec::new(), sampled: 1.0 };
    let entries = (count * 13 / 100).max(1);
    let leaves_from = count - count * 39 / 100;
    for at in 0..count {
        let mut service = ServicePlan::new(&named(&format!("s{at:05}")), draw.between(0.5, 8.0));
        let others = count - (at + 1).max(entries);
        let fan_out = if at < leaves_from { fan_out(draw).min(others) } else { 0 };
        let mut servers = BTreeSet::new();
        while servers.len() < fan_out {
            servers.insert((at + 1).max(entries) + draw.between(0.0, others as f64) as usize);
        }
        for (number, server) in servers.into_iter().enumerate() {
            let mut call = CallPlan::new(&named(&format!("s{server:05}")));
            (call.share, call.stage) = ((2.0 / fan_out as f64).min(0.9), (number % 4) as u8);
            service.calls.push(call);
        }
        mesh.services.push(service);
    }
    for at in 0..entries {
        let name = mesh.services[at].name.clone();
        mesh.entries.push(EntryPlan::new(&name, draw.between(2.0, 20.0).floor()));
    }
    mesh
}

/// Calls of one service, from its quantiles, straight lines between them on a logarithmic scale.
fn fan_out(draw: &mut Draw) -> usize {
    const QUANTILES: [(f64, f64); 5] = [(0.0, 1.0), (0.5, 4.0), (0.9, 23.0), (0.99, 252.0), (1.0, 300.0)];
    let at = draw.between(0.0, 1.0);
    let place = QUANTILES.partition_point(|(q, _)| *q <= at).clamp(1, QUANTILES.len() - 1);
    let ((from, low), (to, high)) = (QUANTILES[place - 1], QUANTILES[place]);
    let part = (at - from) / (to - from);
    (low.ln() + (high.ln() - low.ln()) * part).exp().round() as usize
}

/// Twelve to forty services in layers; most are leaves, a few call many.
fn drawn(draw: &mut Draw) -> Mesh {
    let count = draw.between(12.0, 40.0) as usize;
    let mut mesh = Mesh { shape: "drawn", services: Vec::new(), entries: Vec::new(), faults: Vec::new(), sampled: 1.0 };
    for at in 0..count {
        mesh.services.push(ServicePlan::new(&named(&format!("s{at:02}")), draw.between(0.5, 8.0)));
    }
    let entries = (count / 8).max(1);
    // Everyone but the entries is called by somebody before it; two in five call nobody.
    for at in entries..count {
        let callers = 1 + usize::from(draw.one_in(3));
        for _ in 0..callers {
            let inner = (at * 3 / 5).max(1);
            let client = (draw.between(0.0, 1.0).powf(1.5) * inner as f64) as usize;
            let server = named(&format!("s{at:02}"));
            let calls = &mut mesh.services[client.min(at - 1)].calls;
            if !calls.iter().any(|call| call.server == server) {
                let mut call = CallPlan::new(&server);
                call.share = draw.between(0.4, 1.0);
                call.stage = (calls.len() / 3) as u8;
                call.required = !draw.one_in(6);
                calls.push(call);
            }
        }
    }
    for at in 0..entries {
        let name = mesh.services[at].name.clone();
        mesh.entries.push(EntryPlan::new(&name, draw.between(30.0, 120.0).floor()));
    }
    mesh.furnish(draw);
    mesh
}
