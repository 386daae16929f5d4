//! Who listens where: four ports for each service, counted up from one base.

use std::net::{Ipv4Addr, SocketAddr};

use crate::shop::{SERVICES, ServiceSpec};

/// The base when none is chosen.
pub const DEFAULT_BASE: u16 = 21_000;
/// Ports below this distance from the base belong to the collector.
const FIRST: u16 = 10;
const PER_SERVICE: u16 = 4;

/// The four addresses of one service, all on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Its sidecar's inbound half: the listener port of its VirtualNode, where clients connect.
    pub inbound: SocketAddr,
    /// Its sidecar's outbound half, where the service sends its calls.
    pub outbound: SocketAddr,
    /// Its sidecar's admin port.
    pub admin: SocketAddr,
    /// The service itself.
    pub app: SocketAddr,
}

/// The ports of the whole shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortPlan {
    base: u16,
}

/// A base that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("port base {base} is out of range: choose one between 1024 and {highest}")]
pub struct BadBase {
    base: u16,
    highest: u16,
}

impl PortPlan {
    /// Plans from `base`: the first ten ports are left to the collector.
    ///
    /// # Errors
    /// When a port would be privileged or above 65535.
    pub fn new(base: u16) -> Result<Self, BadBase> {
        let highest = u16::MAX - FIRST - PER_SERVICE * SERVICES.len() as u16;
        if (1024..=highest).contains(&base) { Ok(Self { base }) } else { Err(BadBase { base, highest }) }
    }

    /// The ports of the service called `name`; none when there is no such service.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Ports> {
        let place = SERVICES.iter().position(|service| service.name == name)?;
        Some(self.at(place))
    }

    /// Every service with its ports.
    pub fn all(&self) -> impl Iterator<Item = (&'static ServiceSpec, Ports)> + '_ {
        SERVICES.iter().enumerate().map(|(place, service)| (service, self.at(place)))
    }

    /// Where users enter: the inbound half of the gateway's sidecar.
    #[must_use]
    pub fn entrance(&self) -> SocketAddr {
        self.at(0).inbound
    }

    fn at(&self, place: usize) -> Ports {
        let first = self.base + FIRST + PER_SERVICE * place as u16;
        let address = |offset| SocketAddr::from((Ipv4Addr::LOCALHOST, first + offset));
        Ports { inbound: address(0), outbound: address(1), admin: address(2), app: address(3) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice_and_the_collector_keeps_its_own() {
        let plan = PortPlan::new(30_000).expect("a good base");
        let ports: Vec<u16> =
            plan.all().flat_map(|(_, p)| [p.inbound, p.outbound, p.admin, p.app]).map(|a| a.port()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 48);
        assert_eq!(ports.iter().min(), Some(&30_010));
        assert_eq!(plan.of("gateway").map(|p| p.inbound), Some(plan.entrance()));
        assert_eq!(plan.of("nobody"), None);
    }

    #[test]
    fn bases_at_the_borders() {
        for (base, good) in [(0, false), (1023, false), (1024, true), (65_477, true), (65_478, false), (65_535, false)]
        {
            assert_eq!(PortPlan::new(base).is_ok(), good, "{base}");
        }
    }
}
