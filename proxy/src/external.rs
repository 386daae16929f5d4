//! Hosts outside the mesh, for a mesh whose egress filter is `ALLOW_ALL`.
//!
//! A host that is no service of this node becomes a target when it is first called: with a breaker, a connection pool and an
//! edge to a node of kind *external*. Its name is resolved when needed and again after half a minute, by the system's own
//! resolver. At most [`MAX_HOSTS`] are known at once; a call to one more is refused, so that whoever can choose
//! host names cannot make the sidecar grow. Nothing of what sidecars tell each other is sent there, or believed from there.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use tripline_mesh::{DiscoveryKind, ListenerProtocol, Timeouts, WeightedTarget};
use tripline_model::{NodeKind, ServiceName, Timestamp};

use crate::clock::Clock;
use crate::events::Events;
use crate::roster::Roster;
use crate::target::Target;
use crate::target::members::Placed;

/// External hosts known at once.
pub(crate) const MAX_HOSTS: usize = 256;
/// How long addresses are used before they are looked up again.
const FRESH: Duration = Duration::from_secs(30);
/// Longest time for a look-up.
const LOOK_UP: Duration = Duration::from_secs(2);

/// The external hosts called so far.
#[derive(Debug)]
pub(crate) struct Externals {
    /// Locked to find one host; a task in between would cost every external call two wake-ups.
    hosts: Mutex<FxHashMap<Box<str>, Arc<External>>>,
    roster: Arc<Roster>,
    workers: usize,
    events: Arc<Events>,
    /// Where this sidecar itself listens; calling that would never end.
    own: OnceLock<SocketAddr>,
}

/// One external host.
#[derive(Debug)]
pub(crate) struct External {
    /// How it is called.
    pub(crate) target: Arc<Target>,
    resolved: Mutex<Option<Timestamp>>,
}

/// Why a host cannot be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoExternal {
    /// It is no host and port.
    Invalid,
    /// Too many others are known.
    TooMany,
    /// It is this sidecar.
    Itself,
}

impl NoExternal {
    /// In words, to follow the host's name.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Invalid => "is no host name with an optional port",
            Self::TooMany => "is one external host too many; restart the sidecar or name fewer",
            Self::Itself => "is this proxy itself: put the name of a service into Host",
        }
    }
}

impl Externals {
    /// None so far.
    pub(crate) fn new(roster: Arc<Roster>, workers: usize, events: Arc<Events>) -> Self {
        Self { hosts: Mutex::default(), roster, workers, events, own: OnceLock::new() }
    }

    /// Says where this sidecar listens.
    pub(crate) fn set_own(&self, address: SocketAddr) {
        let _ = self.own.set(address);
    }

    /// The host that a Host field names; known from now on.
    pub(crate) fn find(&self, host: &str) -> Result<Arc<External>, NoExternal> {
        self.find_speaking(host, ListenerProtocol::Http)
    }

    /// Where a redirected connection was going whose bytes are no HTTP.
    pub(crate) fn find_bytes(&self, address: SocketAddr) -> Result<Arc<External>, NoExternal> {
        self.find_speaking(&address.to_string(), ListenerProtocol::Tcp)
    }

    fn find_speaking(&self, host: &str, protocol: ListenerProtocol) -> Result<Arc<External>, NoExternal> {
        let host = host.to_ascii_lowercase();
        let mut hosts = self.lock();
        let key = if protocol == ListenerProtocol::Tcp { format!("tcp {host}") } else { host.clone() };
        if let Some(external) = hosts.get(key.as_str()) {
            return Ok(Arc::clone(external));
        }
        let (name, port) = split(&host).ok_or(NoExternal::Invalid)?;
        if self.own.get().is_some_and(|own| own.port() == port && is_local(name)) {
            return Err(NoExternal::Itself);
        }
        if hosts.len() >= MAX_HOSTS {
            return Err(NoExternal::TooMany);
        }
        let weighted = WeightedTarget {
            node: ServiceName::new("", name),
            weight: 1,
            hostname: name.to_owned(),
            port,
            discovery: DiscoveryKind::LoadBalancer,
            protocol,
            outlier_detection: None,
            tls: None,
            connection_pool: None,
            per_request: Timeouts::default_for(ListenerProtocol::Http).per_request,
            policy: None,
        };
        let make =
            |number| Target::new(number, &weighted, self.workers, Arc::clone(&self.events)).of_kind(NodeKind::External);
        let target = self.roster.add(make).ok_or(NoExternal::TooMany)?;
        let external = Arc::new(External { target, resolved: Mutex::default() });
        hosts.insert(key.into(), Arc::clone(&external));
        Ok(external)
    }

    /// The targets of all hosts known.
    pub(crate) fn targets(&self) -> Vec<Arc<Target>> {
        self.lock().values().map(|external| Arc::clone(&external.target)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Box<str>, Arc<External>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl External {
    /// Looks the name up if that was too long ago; keeps the last good answer when it fails.
    pub(crate) async fn resolve(&self, clock: Clock) {
        let now = clock.now();
        {
            let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            if resolved.is_some_and(|at| now.since(at) < FRESH) {
                return;
            }
            // Others go on with the old addresses meanwhile; when there are none, they look for themselves.
            *resolved = (!self.target.endpoints().is_empty()).then_some(now);
        }
        let (name, port) = (&*self.target.hostname, self.target.port);
        let Ok(Ok(found)) = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((name, port))).await else { return };
        let addresses: Arc<[SocketAddr]> = found.collect();
        if !addresses.is_empty() {
            self.target.set_endpoints(&[Placed::new(format!("{name}:{port}"), addresses)], now);
            *self.resolved.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
    }
}

/// Name and port of a host in lower case; the port is 80 when it is not said.
fn split(host: &str) -> Option<(&str, u16)> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']')?;
            (name, after.strip_prefix(':').or(after.is_empty().then_some("80"))?)
        }
        None => host.rsplit_once(':').unwrap_or((host, "80")),
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let name = name.trim_end_matches('.');
    (!name.is_empty() && name.len() <= 253 && name.chars().all(valid)).then_some(())?;
    Some((name, port.parse().ok().filter(|port| *port > 0)?))
}

fn is_local(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_strictly() {
        for (host, expected) in [
            ("example.com", Some(("example.com", 80))),
            ("example.com.:8080", Some(("example.com", 8080))),
            ("[::1]:81", Some(("::1", 81))),
            ("[::1]", Some(("::1", 80))),
            ("10.0.0.1:0", None),
            ("a:b", None),
            ("", None),
            (":80", None),
            ("a b", None),
            ("[::1", None),
        ] {
            assert_eq!(split(host), expected, "{host}");
        }
    }

    #[test]
    fn they_are_bounded_and_never_the_proxy_itself() {
        let externals = Externals::new(Arc::default(), 1, Events::for_test());
        externals.set_own("127.0.0.1:15001".parse().unwrap());
        assert_eq!(externals.find("localhost:15001").err(), Some(NoExternal::Itself));
        assert_eq!(externals.find("a.example").unwrap().target.number, 0);
        assert_eq!(externals.find("A.example").unwrap().target.number, 0);
        for number in 1..MAX_HOSTS {
            externals.find(&format!("host{number}.example")).unwrap();
        }
        assert_eq!(externals.find("one.more").err(), Some(NoExternal::TooMany));
        assert!(externals.find("a.example").is_ok());
    }
}
