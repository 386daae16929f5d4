//! Finds the addresses behind the names of targets and keeps them fresh.
//!
//! Literal addresses are taken as they are. Names are resolved again when their time to live is over, between one second and
//! thirty. A name that no longer resolves keeps its last good answer: a DNS outage must not become an outage of
//! services that still run. IPv4 is preferred, as App Mesh did where nothing was said.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tripline_mesh::DiscoveryKind;

use crate::clock::Clock;
use crate::target::Target;

/// Shortest and longest time between two look-ups of a name.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Gives every target with a literal address its endpoint.
pub(crate) fn take_literals(targets: &[Arc<Target>], clock: Clock) {
    for target in targets {
        if let Ok(address) = target.hostname.parse::<IpAddr>() {
            give(target, &[address], clock);
        }
    }
}

/// The names that must be resolved, each with the targets it stands for.
pub(crate) fn names(targets: &[Arc<Target>]) -> BTreeMap<Box<str>, Vec<Arc<Target>>> {
    let mut names: BTreeMap<Box<str>, Vec<Arc<Target>>> = BTreeMap::new();
    for target in targets.iter().filter(|target| target.hostname.parse::<IpAddr>().is_err()) {
        names.entry(target.hostname.clone()).or_default().push(Arc::clone(target));
    }
    names
}

/// Resolves names for as long as the set lives.
pub(crate) fn keep_resolving(names: BTreeMap<Box<str>, Vec<Arc<Target>>>, clock: Clock, tasks: &mut JoinSet<()>) {
    if names.is_empty() {
        return;
    }
    let resolver = match TokioResolver::builder_tokio().and_then(|builder| builder.build()) {
        Ok(resolver) => Arc::new(resolver),
        Err(error) => {
            tracing::error!(%error, "cannot resolve names: check /etc/resolv.conf");
            return;
        }
    };
    for (name, targets) in names {
        tasks.spawn(keep_one(Arc::clone(&resolver), name, targets, clock));
    }
}

async fn keep_one(resolver: Arc<TokioResolver>, name: Box<str>, targets: Vec<Arc<Target>>, clock: Clock) {
    let (shortest, longest) = REFRESH;
    let mut pause = shortest;
    loop {
        match resolver.lookup_ip(&*name).await {
            Ok(answer) => {
                let addresses = preferred(answer.iter());
                targets.iter().for_each(|target| give(target, &addresses, clock));
                let fresh = Instant::from_std(answer.valid_until()).saturating_duration_since(Instant::now());
                pause = fresh.clamp(shortest, longest);
            }
            Err(error) => {
                tracing::warn!(name = &*name, %error, "name does not resolve; keeping its last addresses");
                pause = (pause * 2).min(longest);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// IPv4 addresses if there are any, else all; in order, so that an unchanged answer changes nothing.
fn preferred(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = addresses.collect();
    if all.iter().any(IpAddr::is_ipv4) {
        all.retain(IpAddr::is_ipv4);
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn give(target: &Target, addresses: &[IpAddr], clock: Clock) {
    let sockets: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(*address, target.port)).collect();
    let endpoints: Vec<(String, Arc<[SocketAddr]>)> = match target.discovery {
        _ if sockets.is_empty() => return,
        DiscoveryKind::Endpoints => sockets.iter().map(|socket| (socket.to_string(), Arc::from([*socket]))).collect(),
        DiscoveryKind::LoadBalancer => vec![(load_balancer_label(target), sockets.into())],
    };
    target.set_endpoints(&endpoints, clock.now());
}

fn load_balancer_label(target: &Target) -> String {
    match target.hostname.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, target.port).to_string(),
        Err(_) => format!("{}:{}", target.hostname, target.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_preferred_and_order_does_not_matter() {
        let parse = |text: &[&str]| text.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        let mixed = parse(&["::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(preferred(mixed.into_iter()), parse(&["10.0.0.1", "10.0.0.2"]));
        assert_eq!(preferred(parse(&["::1"]).into_iter()), parse(&["::1"]));
    }
}
