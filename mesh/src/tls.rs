//! How connections are encrypted: a listener's `tls` and a backend's `clientPolicy.tls`.

use std::path::PathBuf;

/// What a listener with TLS takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Encrypted connections and others.
    Permissive,
    /// Encrypted connections only.
    Strict,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate, then those that lead to an authority.
    pub chain: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// TLS of a listener; a listener without it, or with mode `DISABLED`, has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// What it takes.
    pub mode: TlsMode,
    /// What it shows; none when the document names no file (ACM, SDS), which a proxy must refuse.
    pub certificate: Option<CertificateFiles>,
    /// Authorities that clients' certificates must lead to; without it clients need none.
    pub client_trust: Option<PathBuf>,
    /// Names of which a client's certificate must carry one; any when empty.
    pub client_names: Vec<String>,
}

/// TLS towards a service, as the client's policy has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientTls {
    /// Authorities that the server's certificate must lead to; none when the document names no file, which a proxy must
    /// refuse.
    pub trust: Option<PathBuf>,
    /// Names of which the server's certificate must carry one; when empty, the host name of its node.
    pub names: Vec<String>,
    /// What the client shows.
    pub certificate: Option<CertificateFiles>,
}

/// A client policy as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPolicy {
    /// Whether calls are encrypted also where the server's listener says nothing of TLS.
    pub enforce: bool,
    /// Ports it holds for; all when empty.
    pub ports: Vec<u16>,
    /// How.
    pub tls: ClientTls,
}

impl ClientPolicy {
    /// How calls to a listener are encrypted under this policy; not at all when none.
    #[must_use]
    pub fn towards(&self, port: u16, listener: Option<&ListenerTls>) -> Option<ClientTls> {
        let holds = self.ports.is_empty() || self.ports.contains(&port);
        (holds && (self.enforce || listener.is_some())).then(|| self.tls.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_holds_for_its_ports_and_needs_a_listener_only_if_not_enforced() {
        let tls = ClientTls { trust: None, names: Vec::new(), certificate: None };
        let listener =
            ListenerTls { mode: TlsMode::Strict, certificate: None, client_trust: None, client_names: Vec::new() };
        for (enforce, ports, listener, holds) in [
            (true, vec![], None, true),
            (true, vec![80, 81], None, true),
            (true, vec![81], Some(&listener), false),
            (false, vec![], None, false),
            (false, vec![80], Some(&listener), true),
        ] {
            let policy = ClientPolicy { enforce, ports: ports.clone(), tls: tls.clone() };
            assert_eq!(policy.towards(80, listener).is_some(), holds, "{enforce} {ports:?}");
        }
    }
}
