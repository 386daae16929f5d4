//! The whole mesh, validated.

use std::collections::BTreeMap;

use tripline_model::ServiceName;

use crate::{FieldUse, NodeConfig, NodeError, Problem, Problems, VirtualNode, VirtualRouter, VirtualService};

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
    /// They are refused: only the node's backends can be called.
    #[default]
    DropAll,
}

/// A mesh in which every reference holds. Made by [`Mesh::parse`] only.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// Its name.
    pub name: String,
    /// What happens to calls that leave it.
    pub egress: EgressFilter,
    /// All virtual nodes.
    pub nodes: BTreeMap<ServiceName, VirtualNode>,
    /// All virtual services.
    pub services: BTreeMap<ServiceName, VirtualService>,
    /// All virtual routers.
    pub routers: BTreeMap<ServiceName, VirtualRouter>,
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
        let _ = sources;
        Err(Problems { problems: Vec::new(), warnings: Vec::new() })
    }

    /// What the proxy of one virtual node needs.
    ///
    /// # Errors
    /// [`NodeError::Unknown`] when the mesh has no such node.
    pub fn node_config(&self, node: &ServiceName) -> Result<NodeConfig, NodeError> {
        let _ = self;
        Err(NodeError::Unknown { wanted: node.to_string(), known: String::new() })
    }

    /// Finds a node as people name it: `NAMESPACE/NAME`, a bare `NAME` if it is unique, its `awsName`, or App Mesh's
    /// `mesh/MESH/virtualNode/AWSNAME` with or without the ARN's beginning.
    ///
    /// # Errors
    /// [`NodeError`] when none or several fit.
    pub fn find_node(&self, text: &str) -> Result<ServiceName, NodeError> {
        let _ = self;
        Err(NodeError::Unknown { wanted: text.to_owned(), known: String::new() })
    }
}
