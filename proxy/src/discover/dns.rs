//! Endpoints by DNS.
//!
//! A name is looked up again when its time to live is over, between one second and thirty. A name that no longer resolves
//! keeps its last good answer. IPv4 is preferred, as App Mesh did where nothing was said. A name that begins with `_`
//! (`_http._tcp.payments.internal`) is a service's: its SRV records say hosts and ports, priorities and weights. A host of theirs that does
//! not resolve is left out as long as another one does.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use tokio::time::Instant;

use super::{Discovery, Found};

/// Shortest and longest time between two look-ups of a name.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Most hosts taken from SRV records.
const MAX_HOSTS: usize = 1_000;

/// A resolver: the system's, or that of one server.
pub(crate) fn resolver(server: Option<SocketAddr>) -> Option<Arc<TokioResolver>> {
    let built = match server {
        None => TokioResolver::builder_tokio().and_then(|builder| builder.build()),
        Some(server) => {
            let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
            let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            connections.iter_mut().for_each(|connection| connection.port = server.port());
            name_server.connections = connections.to_vec();
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
        }
    };
    match built {
        Ok(resolver) => Some(Arc::new(resolver)),
        Err(error) => {
            tracing::error!(%error, "cannot resolve names: check /etc/resolv.conf");
            None
        }
    }
}

/// The endpoints behind one name.
#[derive(Debug)]
pub(super) struct Dns {
    resolver: Arc<TokioResolver>,
    name: Box<str>,
    port: u16,
    next: Option<Instant>,
    pause: Duration,
}

/// Addresses, and until when they hold.
type Answer = (Vec<Found>, Instant);

impl Dns {
    /// Looks up a name when first asked.
    pub(super) fn new(resolver: Arc<TokioResolver>, name: &str, port: u16) -> Self {
        Self { resolver, name: name.into(), port, next: None, pause: REFRESH.0 }
    }

    /// Whether its SRV records are looked up.
    pub(super) fn is_service(&self) -> bool {
        self.name.starts_with('_')
    }

    async fn look_up(&self) -> Result<Answer, NetError> {
        if self.is_service() { self.services().await } else { self.addresses(&self.name, self.port).await }
    }

    async fn addresses(&self, name: &str, port: u16) -> Result<Answer, NetError> {
        let answer = self.resolver.lookup_ip(name).await?;
        let addresses = preferred(answer.iter()).into_iter().map(|ip| SocketAddr::new(ip, port).into()).collect();
        Ok((addresses, Instant::from_std(answer.valid_until())))
    }

    async fn services(&self) -> Result<Answer, NetError> {
        let answer = self.resolver.srv_lookup(&*self.name).await?;
        let mut until = Instant::from_std(answer.valid_until());
        let records = answer.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some((srv.priority, srv.weight, srv.target.to_utf8(), srv.port)),
            _ => None,
        });
        let records: Vec<(u16, u16, String, u16)> = records.take(MAX_HOSTS).collect();
        let (mut all, mut failed) = (Vec::new(), None);
        for (tier, weight, host, port) in &records {
            match self.addresses(host, *port).await {
                Ok((found, holds)) => {
                    all.extend(found.into_iter().map(|found| Found { tier: *tier, weight: *weight, ..found }));
                    until = until.min(holds);
                }
                Err(error) => failed = Some(error),
            }
        }
        if let (true, Some(error)) = (all.is_empty(), failed) {
            return Err(error);
        }
        all.sort_unstable();
        // An address that is named twice is in its more wanted tier.
        let mut seen = BTreeSet::new();
        all.retain(|found| seen.insert(found.address));
        Ok((all, until))
    }
}

impl Discovery for Dns {
    async fn next(&mut self) -> Vec<Found> {
        let (shortest, longest) = REFRESH;
        loop {
            if let Some(next) = self.next {
                tokio::time::sleep_until(next).await;
            }
            match self.look_up().await {
                Ok((addresses, until)) => {
                    self.pause = shortest;
                    let now = Instant::now();
                    self.next = Some(now + until.saturating_duration_since(now).clamp(shortest, longest));
                    return addresses;
                }
                Err(error) => {
                    tracing::warn!(name = &*self.name, %error, "name does not resolve; keeping its last addresses");
                    self.next = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(longest);
                }
            }
        }
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

#[cfg(test)]
mod tests;
