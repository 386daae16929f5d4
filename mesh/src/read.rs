//! Checked documents to the resources of a mesh, with the conditions that no single field can show.

mod gateway;
mod matching;
mod node;
mod policy;
mod router;
mod tls;

use std::collections::BTreeMap;

use tripline_model::ServiceName;

use crate::cursor::Cursor;
use crate::findings::Findings;
use crate::index::{Index, Kind};
use crate::select::Document;
use crate::{EgressFilter, ListenerProtocol, Mesh, Policies, Provider, Timeouts, VirtualNode, VirtualService};

/// What reading a document needs beside the document.
pub(crate) struct Reader<'r, 'n> {
    pub(crate) index: &'r Index,
    pub(crate) findings: &'r mut Findings<'n>,
}

impl Reader<'_, '_> {
    /// All documents to one mesh. Nodes come first, because routes and services look at the nodes they name.
    pub(crate) fn mesh(mut self, documents: &[Document<'_>]) -> Mesh {
        let (name, egress) = self.settings(documents);
        let mut mesh = Mesh {
            name,
            egress,
            nodes: BTreeMap::new(),
            services: BTreeMap::new(),
            routers: BTreeMap::new(),
            gateways: BTreeMap::new(),
            policies: Policies::default(),
        };
        let of = |kind: Kind| documents.iter().filter(move |document| Kind::of(document) == Some(kind));
        for document in of(Kind::Node) {
            mesh.nodes.insert(document.id.clone(), self.node(document));
        }
        for document in of(Kind::Router) {
            let router = self.router(document, &mesh.nodes);
            mesh.routers.insert(document.id.clone(), router);
        }
        for document in of(Kind::Service) {
            let service = self.service(document, &mesh.nodes);
            mesh.services.insert(document.id.clone(), service);
        }
        self.gateways(documents, &mut mesh);
        mesh.policies = self.policies(documents);
        for document in documents {
            self.plain_calls(document, &mesh);
        }
        mesh
    }

    fn settings(&mut self, documents: &[Document<'_>]) -> (String, EgressFilter) {
        let mut meshes = documents.iter().filter(|document| document.is_mesh());
        let Some(first) = meshes.next() else { return ("mesh".to_owned(), EgressFilter::default()) };
        for second in meshes {
            let at = crate::findings::Place { source: second.at.source, line: second.line, path: "kind" };
            let message = format!("expected one document of kind Mesh, \"{}\" is the mesh already", first.aws_name);
            self.findings.problem(at, format!("{message}; give the documents of one mesh only"));
        }
        let egress = match cursor(first).get("egressFilter").and_then(|filter| filter.text("type")) {
            Some("ALLOW_ALL") => EgressFilter::AllowAll,
            _ => EgressFilter::DropAll,
        };
        (first.aws_name.clone(), egress)
    }

    fn service(&mut self, document: &Document<'_>, nodes: &BTreeMap<ServiceName, VirtualNode>) -> VirtualService {
        let spec = cursor(document);
        let namespace = document.id.namespace();
        let provider = match spec.get("provider") {
            None => {
                self.findings.warn(spec.place(), "nobody provides this service: calls to it will be refused");
                None
            }
            Some(provider) => {
                if let Some(holder) = provider.get("virtualNode") {
                    let id = self.index.resolve(Kind::Node, &holder, namespace, self.findings);
                    if let Some(node) = id.as_ref().and_then(|id| nodes.get(id)) {
                        self.check_reachable(node, &holder);
                    }
                    id.map(Provider::Node)
                } else {
                    provider.get("virtualRouter").and_then(|holder| {
                        self.index.resolve(Kind::Router, &holder, namespace, self.findings).map(Provider::Router)
                    })
                }
            }
        };
        VirtualService { id: document.id.clone(), aws_name: document.aws_name.clone(), provider }
    }

    /// A node that is sent requests must listen and be findable.
    fn check_reachable(&mut self, node: &VirtualNode, holder: &Cursor<'_>) {
        if self.index.is_broken(Kind::Node, &node.id) {
            return;
        }
        let missing = match (node.listeners.is_empty(), node.discovery.is_none()) {
            (true, _) => "spec.listeners",
            (_, true) => "spec.serviceDiscovery",
            _ => return,
        };
        let message = format!("expected a node that can be called, virtual node {} has no {missing}", node.id);
        self.findings.problem(holder.place(), message);
    }
}

/// The spec of a document.
fn cursor<'d>(document: &'d Document<'_>) -> Cursor<'d> {
    Cursor::new(&document.spec, document.at.clone())
}

/// The protocol with this name; `http` for what `check` has refused.
fn protocol(word: &str) -> ListenerProtocol {
    match word {
        "http2" | "http2Route" => ListenerProtocol::Http2,
        "grpc" | "grpcRoute" => ListenerProtocol::Grpc,
        "tcp" | "tcpRoute" => ListenerProtocol::Tcp,
        _ => ListenerProtocol::Http,
    }
}

/// A timeout block: what it does not say has App Mesh's default, what it sets to 0 has no limit.
fn timeouts(written: Option<&Cursor<'_>>, protocol: ListenerProtocol) -> Timeouts {
    let mut timeouts = Timeouts::default_for(protocol);
    let Some(written) = written else { return timeouts };
    if let Some(per_request) = written.duration("perRequest") {
        timeouts.per_request = (!per_request.is_zero()).then_some(per_request);
    }
    if let Some(idle) = written.duration("idle") {
        timeouts.idle = (!idle.is_zero()).then_some(idle);
    }
    timeouts
}
