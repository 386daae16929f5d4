//! Virtual nodes.

use std::collections::BTreeSet;

use super::tls::{client_policy, has_unread_trust, listener_tls};
use super::{Reader, cursor, protocol, timeouts};
use crate::cursor::Cursor;
use crate::document::{AccessLog, Discovery, LogFormat};
use crate::index::Kind;
use crate::select::Document;
use crate::{
    Backend, ConnectionPool, DiscoveryKind, Listener, ListenerProtocol, OutlierDetection, PortMapping, VirtualNode,
};

const PROTOCOLS: &[&str] = &["http", "http2", "grpc", "tcp"];

impl Reader<'_, '_> {
    pub(super) fn node(&mut self, document: &Document<'_>) -> VirtualNode {
        let spec = cursor(document);
        let mut ports = BTreeSet::new();
        let mut listeners = Vec::new();
        let written_listeners = spec.list("listeners");
        for written in &written_listeners {
            let Some(mapping) = port_mapping(written) else { continue };
            if !ports.insert(mapping.port) {
                let message = format!("expected each port once in a node, {} has a listener already", mapping.port);
                self.findings.problem(written.place(), message);
            }
            listeners.push(self.listener(written, mapping));
        }
        let discovery = spec.get("serviceDiscovery").as_ref().and_then(discovery);
        if !written_listeners.is_empty() && spec.get("serviceDiscovery").is_none() {
            self.findings.problem(
                spec.place(),
                "expected serviceDiscovery beside listeners; give serviceDiscovery.dns.hostname where clients find it",
            );
        }
        let defaults = spec.get("backendDefaults").as_ref().and_then(client_policy);
        let backends = spec.list("backends").into_iter().filter_map(|backend| {
            let holder = backend.get("virtualService")?;
            let service = self.index.resolve(Kind::Service, &holder, document.id.namespace(), self.findings)?;
            let policy = client_policy(&holder).or_else(|| defaults.clone());
            Some(Backend { service, policy })
        });
        let mut seen = BTreeSet::new();
        let backends = backends.filter(|backend| seen.insert(backend.service.clone())).collect();
        VirtualNode {
            id: document.id.clone(),
            aws_name: document.aws_name.clone(),
            listeners,
            discovery,
            backends,
            access_log: spec.get("logging").and_then(|logging| access_log(&logging)),
        }
    }

    pub(super) fn listener(&mut self, written: &Cursor<'_>, mapping: PortMapping) -> Listener {
        let PortMapping { port, protocol } = mapping;
        let tls = listener_tls(written);
        if tls.is_some() && has_unread_trust(written) {
            // Taking every client instead would open what was meant to be closed.
            let message = "expected tls.validation.trust.file, as trust bundles of SDS cannot be read";
            self.findings.problem(written.place(), message);
        }
        let timeout = self.of_protocol(written, "timeout", protocol);
        let pool = self.of_protocol(written, "connectionPool", protocol);
        Listener {
            port,
            protocol,
            timeouts: timeouts(timeout.as_ref(), protocol),
            connection_pool: pool.map(|pool| ConnectionPool {
                max_connections: pool.number("maxConnections"),
                max_pending_requests: pool.number("maxPendingRequests"),
                max_requests: pool.number("maxRequests"),
            }),
            outlier_detection: written.get("outlierDetection").as_ref().and_then(outlier_detection),
            tls,
        }
    }

    /// The block of a listener that is written under the name of its protocol, which must be the listener's.
    fn of_protocol<'d>(
        &mut self,
        listener: &Cursor<'d>,
        field: &str,
        protocol: ListenerProtocol,
    ) -> Option<Cursor<'d>> {
        let (word, block) = listener.get(field)?.first_of(PROTOCOLS)?;
        if word != protocol.as_str() {
            let message = format!("expected {field}.{protocol} as the listener speaks {protocol}, got {field}.{word}");
            self.findings.problem(block.place(), message);
        }
        Some(block)
    }
}

/// The port and protocol of a listener, of a node or of a router.
pub(super) fn port_mapping(listener: &Cursor<'_>) -> Option<PortMapping> {
    let mapping = listener.get("portMapping")?;
    Some(PortMapping { port: mapping.number("port")?, protocol: protocol(mapping.text("protocol")?) })
}

/// Where a proxy writes a line for each request.
pub(super) fn access_log(logging: &Cursor<'_>) -> Option<AccessLog> {
    let file = logging.get("accessLog")?.get("file")?;
    let format = file.get("format");
    let text = format.as_ref().and_then(|format| format.text("text"));
    let json = format.as_ref().map(|format| format.list("json")).unwrap_or_default();
    let pair = |pair: &Cursor<'_>| Some((pair.text("key")?.to_owned(), pair.text("value")?.to_owned()));
    let format = match (text, json.is_empty()) {
        (Some(text), _) => LogFormat::Text(text.to_owned()),
        (None, false) => LogFormat::Json(json.iter().filter_map(pair).collect()),
        (None, true) => LogFormat::Default,
    };
    Some(AccessLog { path: file.text("path")?.to_owned(), format })
}

fn outlier_detection(written: &Cursor<'_>) -> Option<OutlierDetection> {
    Some(OutlierDetection {
        max_server_errors: written.number("maxServerErrors")?,
        interval: written.duration("interval")?,
        base_ejection: written.duration("baseEjectionDuration")?,
        max_ejection_percent: written.number("maxEjectionPercent")?,
    })
}

fn discovery(written: &Cursor<'_>) -> Option<Discovery> {
    if let Some(dns) = written.get("dns") {
        let kind = match dns.text("responseType") {
            Some("ENDPOINTS") => DiscoveryKind::Endpoints,
            _ => DiscoveryKind::LoadBalancer,
        };
        return Some(Discovery { hostname: dns.text("hostname")?.to_owned(), kind });
    }
    let cloud_map = written.get("awsCloudMap")?;
    let hostname = format!("{}.{}", cloud_map.text("serviceName")?, cloud_map.text("namespaceName")?);
    Some(Discovery { hostname, kind: DiscoveryKind::Endpoints })
}
