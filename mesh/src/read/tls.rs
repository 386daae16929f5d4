//! The `tls` of listeners and of client policies.

use std::path::PathBuf;

use super::{Reader, cursor};
use crate::cursor::Cursor;
use crate::index::Kind;
use crate::select::Document;
use crate::{CertificateFiles, ClientPolicy, ClientTls, ListenerTls, Mesh, TlsMode};

impl Reader<'_, '_> {
    /// Tells of backends that would be called in plain text and take none. App Mesh encrypted such calls without checking the
    /// server, so its documents may well do without a policy.
    pub(super) fn plain_calls(&mut self, document: &Document<'_>, mesh: &Mesh) {
        let spec = cursor(document);
        let backends = match Kind::of(document) {
            Some(Kind::Node) => mesh.nodes.get(&document.id).map(|node| &node.backends),
            Some(Kind::Gateway) => mesh.gateways.get(&document.id).map(|gateway| &gateway.backends),
            _ => None,
        };
        for backend in backends.into_iter().flatten().filter(|backend| backend.policy.is_none()) {
            let servers = mesh.providers(&backend.service);
            let mut listeners =
                servers.iter().filter_map(|server| mesh.nodes.get(server)).flat_map(|server| &server.listeners);
            let is_strict = |tls: &ListenerTls| tls.mode == TlsMode::Strict;
            if listeners.any(|listener| listener.tls.as_ref().is_some_and(is_strict)) {
                let message = format!(
                    "{} takes encrypted calls only and would be called in plain text; give clientPolicy.tls",
                    backend.service
                );
                self.findings.warn(spec.get("backends").as_ref().unwrap_or(&spec).place(), message);
            }
        }
    }
}

/// `tls` of a listener; none when it is absent or disabled.
pub(super) fn listener_tls(listener: &Cursor<'_>) -> Option<ListenerTls> {
    let tls = listener.get("tls")?;
    let mode = match tls.text("mode")? {
        "PERMISSIVE" => TlsMode::Permissive,
        "STRICT" => TlsMode::Strict,
        _ => return None,
    };
    let validation = tls.get("validation");
    Some(ListenerTls {
        mode,
        certificate: files(tls.get("certificate").as_ref()),
        client_trust: validation.as_ref().and_then(trust),
        client_names: names(validation.as_ref()),
    })
}

/// Whether a listener asks for clients' certificates under authorities that cannot be read here.
pub(super) fn has_unread_trust(listener: &Cursor<'_>) -> bool {
    let validation = listener.get("tls").and_then(|tls| tls.get("validation"));
    validation.is_some_and(|validation| trust(&validation).is_none())
}

/// The `clientPolicy` in a block; none when it says nothing of TLS.
pub(super) fn client_policy(holder: &Cursor<'_>) -> Option<ClientPolicy> {
    let tls = holder.get("clientPolicy")?.get("tls")?;
    let validation = tls.get("validation");
    let ports = tls.list("ports");
    Some(ClientPolicy {
        enforce: tls.text("enforce") != Some("false"),
        ports: ports.iter().filter_map(|port| port.as_text()?.parse().ok()).collect(),
        tls: ClientTls {
            trust: validation.as_ref().and_then(trust),
            names: names(validation.as_ref()),
            certificate: files(tls.get("certificate").as_ref()),
        },
    })
}

fn files(certificate: Option<&Cursor<'_>>) -> Option<CertificateFiles> {
    let file = certificate?.get("file")?;
    Some(CertificateFiles { chain: file.text("certificateChain")?.into(), key: file.text("privateKey")?.into() })
}

fn trust(validation: &Cursor<'_>) -> Option<PathBuf> {
    Some(validation.get("trust")?.get("file")?.text("certificateChain")?.into())
}

fn names(validation: Option<&Cursor<'_>>) -> Vec<String> {
    let matching = validation.and_then(|validation| validation.get("subjectAlternativeNames")?.get("match"));
    let exact = matching.map(|matching| matching.list("exact")).unwrap_or_default();
    exact.iter().filter_map(|name| name.as_text().map(ToOwned::to_owned)).collect()
}
