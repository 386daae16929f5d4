//! Finds the endpoints of targets and keeps them fresh.
//!
//! An answer comes from one [`Discovery`] a target: DNS, or a file that is watched. Endpoints that the configuration lists, and
//! literal addresses, are taken at once and never change. Whatever the source, only a good answer changes anything: an
//! outage of the discovery must not become an outage of services that still run.

pub(crate) mod dns;
mod file;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use tokio::task::JoinSet;
use tripline_mesh::DiscoveryKind;

use crate::clock::Clock;
use crate::target::Target;
use crate::target::members::Placed;

use dns::Dns;
use file::WatchedFile;

/// Where the endpoints of one target come from. Kubernetes, Consul or a registry would be others.
trait Discovery {
    /// The next good answer: at once the first time, then whenever it may have changed.
    async fn next(&mut self) -> Vec<Found>;
}

/// One address of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    /// Called only when no address of a smaller one lets a call pass.
    tier: u16,
    address: SocketAddr,
    /// Its share relative to the others of its tier.
    weight: u16,
}

impl From<SocketAddr> for Found {
    fn from(address: SocketAddr) -> Self {
        Self { tier: 0, address, weight: 1 }
    }
}

/// Gives every target whose endpoints the configuration knows its endpoints.
pub(crate) fn take_known(targets: &[Arc<Target>], clock: Clock) {
    for target in targets {
        let listed = target.listed_endpoints();
        if !listed.is_empty() {
            let listed: Vec<Found> = listed.iter().copied().map(Found::from).collect();
            give(target, &listed, DiscoveryKind::Endpoints, clock);
        } else if let (Ok(address), None) = (target.hostname.parse::<IpAddr>(), target.endpoints_file()) {
            give(target, &[SocketAddr::new(address, target.port).into()], target.discovery, clock);
        }
    }
}

/// Follows the endpoints of all other targets for as long as the set lives.
pub(crate) fn keep_finding(
    targets: &[Arc<Target>],
    resolver: Option<&Arc<TokioResolver>>,
    clock: Clock,
    tasks: &mut JoinSet<()>,
) {
    for target in targets {
        let target = Arc::clone(target);
        if let Some(path) = target.endpoints_file() {
            let file = WatchedFile::new(PathBuf::from(path));
            tasks.spawn(follow(file, target, DiscoveryKind::Endpoints, clock));
        } else if target.listed_endpoints().is_empty()
            && target.hostname.parse::<IpAddr>().is_err()
            && let Some(resolver) = resolver
        {
            let dns = Dns::new(Arc::clone(resolver), &target.hostname, target.port);
            let kind = if dns.is_service() { DiscoveryKind::Endpoints } else { target.discovery };
            tasks.spawn(follow(dns, target, kind, clock));
        }
    }
}

async fn follow(mut source: impl Discovery, target: Arc<Target>, kind: DiscoveryKind, clock: Clock) {
    loop {
        let found = source.next().await;
        give(&target, &found, kind, clock);
    }
}

fn give(target: &Target, found: &[Found], kind: DiscoveryKind, clock: Clock) {
    let one = |found: &Found| {
        let Found { tier, address, weight } = *found;
        Placed { label: address.to_string(), addresses: Arc::from([address]), weight, tier }
    };
    let endpoints: Vec<Placed> = match kind {
        _ if found.is_empty() => return,
        DiscoveryKind::Endpoints => found.iter().map(one).collect(),
        DiscoveryKind::LoadBalancer => {
            let addresses = found.iter().map(|found| found.address).collect();
            vec![Placed::new(load_balancer_label(target), addresses)]
        }
    };
    target.set_endpoints(&endpoints, clock.now());
}

fn load_balancer_label(target: &Target) -> String {
    match target.hostname.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, target.port).to_string(),
        Err(_) => format!("{}:{}", target.hostname, target.port),
    }
}
