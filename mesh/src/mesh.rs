//! The whole mesh, validated.

use std::collections::BTreeMap;

use tripline_model::ServiceName;

use crate::findings::{Findings, Place};
use crate::index::Index;
use crate::read::Reader;
use crate::select::{Document, select};
use crate::yaml::{self, MAX_DOCUMENTS};
use crate::{
    FieldUse, NodeError, Policies, Problem, Problems, VirtualGateway, VirtualNode, VirtualRouter, VirtualService,
};

/// Most bytes of all sources together.
const MAX_TOTAL_BYTES: usize = 64 * 1024 * 1024;

/// A text to read, and what to call it in messages: a file's path.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Shown in front of every problem.
    pub name: &'a str,
    /// YAML, any number of documents.
    pub text: &'a str,
}

/// What happens to calls that leave the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EgressFilter {
    /// They are forwarded to whatever their host name resolves to.
    AllowAll,
    /// They are refused: only the node's backends can be called. App Mesh's default.
    #[default]
    DropAll,
}

/// A mesh in which every reference holds. Made by [`Mesh::parse`].
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// Its name; `mesh` when no document of kind Mesh gives one.
    pub name: String,
    /// What happens to calls that leave it.
    pub egress: EgressFilter,
    /// All virtual nodes.
    pub nodes: BTreeMap<ServiceName, VirtualNode>,
    /// All virtual services.
    pub services: BTreeMap<ServiceName, VirtualService>,
    /// All virtual routers.
    pub routers: BTreeMap<ServiceName, VirtualRouter>,
    /// All virtual gateways.
    pub gateways: BTreeMap<ServiceName, VirtualGateway>,
    /// Our own policies.
    pub policies: Policies,
}

/// A mesh and what was noticed while it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The mesh.
    pub mesh: Mesh,
    /// Unknown and unsupported fields, documents passed over; in the order of the sources.
    pub warnings: Vec<Problem>,
    /// What becomes of each field of the documents, by kind and path.
    pub report: Vec<FieldUse>,
}

impl Mesh {
    /// Reads the documents of one mesh.
    ///
    /// # Errors
    /// Every problem of every document at once.
    pub fn parse(sources: &[Source<'_>]) -> Result<Loaded, Problems> {
        let mut findings = Findings::new(sources.iter().map(|source| source.name).collect());
        let mut index = Index::default();
        let documents = read_documents(sources, &mut index, &mut findings);
        if documents.is_empty() && findings.problem_count() == 0 {
            let message = "expected at least one document of apiVersion appmesh.k8s.aws/v1beta2, got none";
            findings.problem(Place { source: 0, line: 0, path: "" }, message);
        } else if !index.incomplete && !documents.iter().any(Document::is_mesh) {
            let message = "no document of kind Mesh: the mesh is called \"mesh\" and its egress filter is DROP_ALL";
            findings.warn(Place { source: 0, line: 0, path: "" }, message);
        }
        let mesh = Reader { index: &index, findings: &mut findings }.mesh(&documents);
        let (warnings, report) = findings.finish()?;
        Ok(Loaded { mesh, warnings, report })
    }

    /// Finds a node or gateway as people name it: `NAMESPACE/NAME`, a bare `NAME` if it is unique, its `awsName`, or App Mesh's
    /// `mesh/MESH/virtualNode/AWSNAME` or `mesh/MESH/virtualGateway/AWSNAME` with or without the ARN's beginning.
    ///
    /// # Errors
    /// [`NodeError`] when none or several fit.
    pub fn find_node(&self, text: &str) -> Result<ServiceName, NodeError> {
        let exact = ServiceName::from(text);
        if self.nodes.contains_key(&exact) || self.gateways.contains_key(&exact) {
            return Ok(exact);
        }
        let (gateways_only, name) = match (text.split_once("virtualGateway/"), text.split_once("virtualNode/")) {
            (Some((_, name)), _) => (true, name),
            (None, Some((_, name))) => (false, name),
            (None, None) => (false, text),
        };
        let nodes = || self.nodes.values().filter(|_| !gateways_only).map(|node| (&node.id, &node.aws_name));
        let members = || nodes().chain(self.gateways.values().map(|gateway| (&gateway.id, &gateway.aws_name)));
        if let Some((id, _)) = members().find(|(_, aws_name)| *aws_name == name) {
            return Ok(id.clone());
        }
        let by_name: Vec<&ServiceName> = members().map(|(id, _)| id).filter(|id| id.name() == name).collect();
        match by_name.as_slice() {
            [] => Err(NodeError::unknown(self, text)),
            [only] => Ok((*only).clone()),
            several => Err(NodeError::Ambiguous { wanted: text.to_owned(), candidates: NodeError::list(several) }),
        }
    }

    /// Who may call whom, as the documents declare it: each node and gateway, and the nodes behind its backends.
    #[must_use]
    pub fn declared_edges(&self) -> Vec<(ServiceName, ServiceName)> {
        let mut edges = std::collections::BTreeSet::new();
        let nodes = self.nodes.values().map(|node| (&node.id, &node.backends));
        let gateways = self.gateways.values().map(|gateway| (&gateway.id, &gateway.backends));
        for (client, backends) in nodes.chain(gateways) {
            for server in backends.iter().flat_map(|backend| self.providers(&backend.service)) {
                edges.insert((client.clone(), server));
            }
        }
        edges.into_iter().collect()
    }

    /// The nodes that answer a service.
    pub(crate) fn providers(&self, service: &ServiceName) -> Vec<ServiceName> {
        match self.services.get(service).and_then(|service| service.provider.as_ref()) {
            None => Vec::new(),
            Some(crate::Provider::Node(node)) => vec![node.clone()],
            Some(crate::Provider::Router(router)) => {
                let routes = self.routers.get(router).map(|router| router.routes.as_slice()).unwrap_or_default();
                routes.iter().flat_map(|route| route.targets.iter().map(|target| target.node.clone())).collect()
            }
        }
    }
}

fn read_documents<'t>(sources: &[Source<'t>], index: &mut Index, findings: &mut Findings<'_>) -> Vec<Document<'t>> {
    let mut documents = Vec::new();
    let mut bytes = 0_usize;
    for (number, source) in sources.iter().enumerate() {
        let whole = Place { source: number, line: 0, path: "" };
        bytes = bytes.saturating_add(source.text.len());
        if bytes > MAX_TOTAL_BYTES || documents.len() > MAX_DOCUMENTS {
            let message = format!("expected at most {MAX_TOTAL_BYTES} bytes and {MAX_DOCUMENTS} documents in all");
            findings.problem(whole, format!("{message}; the sources from here on were not read"));
            index.incomplete = true;
            break;
        }
        let parsed = yaml::parse(source.text);
        for broken in parsed.broken {
            findings.problem(Place { line: broken.line, ..whole }, broken.message);
            index.incomplete = true;
        }
        for document in select(number, parsed.documents, findings) {
            if index.add(&document, source.name, findings) {
                documents.push(document);
            }
        }
    }
    documents
}
