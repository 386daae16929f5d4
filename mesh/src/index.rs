//! Who is there: the identities of all documents, and what references to them mean.

use std::collections::{BTreeMap, BTreeSet};

use tripline_model::ServiceName;

use crate::check::placeholder;
use crate::cursor::Cursor;
use crate::findings::{Findings, Place};
use crate::select::Document;
use crate::yaml::shown;

/// A kind that others refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Node,
    Service,
    Router,
    Gateway,
    GatewayRoute,
}

impl Kind {
    /// In words.
    fn words(self) -> &'static str {
        match self {
            Self::Node => "virtual node",
            Self::Service => "virtual service",
            Self::Router => "virtual router",
            Self::Gateway => "virtual gateway",
            Self::GatewayRoute => "gateway route",
        }
    }

    /// Fields of a reference to it: by name, by ARN.
    fn fields(self) -> (&'static str, &'static str) {
        match self {
            Self::Node => ("virtualNodeRef", "virtualNodeARN"),
            Self::Service => ("virtualServiceRef", "virtualServiceARN"),
            Self::Router => ("virtualRouterRef", "virtualRouterARN"),
            Self::Gateway => ("virtualGatewayRef", "virtualGatewayARN"),
            Self::GatewayRoute => ("gatewayRouteRef", "gatewayRouteARN"),
        }
    }

    /// Its word in an ARN.
    fn in_arn(self) -> &'static str {
        match self {
            Self::Node => "virtualNode",
            Self::Service => "virtualService",
            Self::Router => "virtualRouter",
            Self::Gateway => "virtualGateway",
            Self::GatewayRoute => "gatewayRoute",
        }
    }

    /// Of a document's kind; `None` for a mesh and for policies, which nobody refers to.
    pub(crate) fn of(document: &Document<'_>) -> Option<Self> {
        match document.kind.name {
            "VirtualNode" => Some(Self::Node),
            "VirtualService" => Some(Self::Service),
            "VirtualRouter" => Some(Self::Router),
            "VirtualGateway" => Some(Self::Gateway),
            "GatewayRoute" => Some(Self::GatewayRoute),
            _ => None,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_id: BTreeMap<(Kind, ServiceName), String>,
    by_aws_name: BTreeMap<(Kind, String), (ServiceName, String)>,
    broken: BTreeSet<(Kind, ServiceName)>,
    /// Whether some document could not be read at all, so that what is missing may be in it.
    pub(crate) incomplete: bool,
}

impl Index {
    /// Takes in one document; `name_of` its source's name. A double name is a problem, and the document not to be read.
    pub(crate) fn add(&mut self, document: &Document<'_>, name_of: &str, findings: &mut Findings<'_>) -> bool {
        let Some(kind) = Kind::of(document) else { return true };
        if document.broken {
            self.broken.insert((kind, document.id.clone()));
        }
        let here = format!("{}:{}", shown(name_of), document.line);
        let at = Place { source: document.at.source, line: document.line, path: "metadata.name" };
        if let Some(first) = self.by_id.get(&(kind, document.id.clone())) {
            let message = format!("expected each {} once, {} is also in {first}", kind.words(), document.id);
            findings.problem(at, message);
            return false;
        }
        self.by_id.insert((kind, document.id.clone()), here.clone());
        let aws_name = (kind, document.aws_name.to_ascii_lowercase());
        if let Some((_, first)) = self.by_aws_name.get(&aws_name) {
            let message = format!("expected each name once, \"{}\" is also in {first}", shown(&document.aws_name));
            findings.problem(Place { path: "spec.awsName", ..at }, message);
        } else {
            self.by_aws_name.insert(aws_name, (document.id.clone(), here));
        }
        true
    }

    /// Whether a document has problems of its own already.
    pub(crate) fn is_broken(&self, kind: Kind, id: &ServiceName) -> bool {
        self.broken.contains(&(kind, id.clone()))
    }

    /// Reads the reference in `holder`; one that leads nowhere is a problem.
    pub(crate) fn resolve(
        &self,
        kind: Kind,
        holder: &Cursor<'_>,
        namespace: &str,
        findings: &mut Findings<'_>,
    ) -> Option<ServiceName> {
        let (by_name, by_arn) = kind.fields();
        let (written, found) = if let Some(reference) = holder.get(by_name) {
            let id = ServiceName::new(reference.text("namespace").unwrap_or(namespace), reference.text("name")?);
            let found = self.by_id.contains_key(&(kind, id.clone())).then(|| id.clone());
            (id.to_string(), found)
        } else {
            let arn = holder.text(by_arn)?;
            let name = arn_name(arn, kind);
            let found = name.and_then(|name| self.by_aws_name.get(&(kind, name.to_ascii_lowercase())));
            (shown(arn), found.map(|(id, _)| id.clone()))
        };
        if found.is_none() && placeholder(&written).is_none() {
            let place = holder.get(by_name).or_else(|| holder.get(by_arn)).unwrap_or_else(|| holder.clone());
            let maybe = if self.incomplete { "; it may be in a document that could not be read" } else { "" };
            let message = format!("expected a {} of these documents, {written} is not defined{maybe}", kind.words());
            findings.problem(place.place(), message);
        }
        found
    }
}

/// The name at the end of `arn:aws:appmesh:REGION:ACCOUNT:mesh/MESH/virtualNode/NAME`, or of its part from `mesh/` on.
fn arn_name(arn: &str, kind: Kind) -> Option<&str> {
    let (_, path) = arn.split_once("mesh/")?;
    let (_mesh, rest) = path.split_once('/')?;
    let (word, name) = rest.split_once('/')?;
    (word == kind.in_arn() && !name.is_empty()).then_some(name)
}
