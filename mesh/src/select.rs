//! Which documents are read, under which identity, and which are passed over.
//!
//! Files of real users hold Deployments, ConfigMaps, lists and Helm values beside the mesh. What is not of App Mesh's
//! group or ours gets one warning a kind. What claims to be of a group, or has one of its kinds, is held to its schema.

use tripline_model::ServiceName;

use crate::check::{At, check};
use crate::findings::{Findings, Place};
use crate::schema::kinds::{self, ENVELOPE, GROUPS, Kind, METADATA, PASSED_OVER};
use crate::yaml::{Node, Value, shown};

/// Namespace of a document that names none, as Kubernetes has it.
const DEFAULT_NAMESPACE: &str = "default";

/// A document that is read.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    pub(crate) kind: &'static Kind,
    /// The name clients and ARNs know it by.
    pub(crate) aws_name: String,
    /// Namespace and name; a mesh has no namespace.
    pub(crate) id: ServiceName,
    /// `metadata.labels`, the texts among them.
    pub(crate) labels: Vec<(String, String)>,
    /// Its `spec`, or an empty one.
    pub(crate) spec: Node<'t>,
    /// Where the spec stands.
    pub(crate) at: At,
    /// Line of its beginning.
    pub(crate) line: usize,
    /// Whether its fields have problems, so that what follows from them should not be reported too.
    pub(crate) broken: bool,
}

impl Document<'_> {
    /// Whether it is the document of the mesh itself.
    pub(crate) fn is_mesh(&self) -> bool {
        self.kind.name == "Mesh"
    }
}

/// Takes the documents of one source that are read, each checked against its schema.
pub(crate) fn select<'t>(source: usize, roots: Vec<Node<'t>>, findings: &mut Findings<'_>) -> Vec<Document<'t>> {
    let mut selected = Vec::new();
    for root in roots {
        let at = At { source, path: String::new(), pattern: String::new() };
        match list_items(root) {
            Ok(items) => {
                let items_at = At { path: "items".to_owned(), ..at };
                for (index, item) in items.into_iter().enumerate() {
                    selected.extend(one(item, &items_at.element(index), findings));
                }
            }
            Err(root) => selected.extend(one(root, &at, findings)),
        }
    }
    selected
}

/// The elements of a `kind: List` (or `VirtualNodeList`), what `kubectl get -o yaml` prints; else the node itself.
fn list_items(root: Node<'_>) -> Result<Vec<Node<'_>>, Node<'_>> {
    let is_list = root.get("kind").and_then(Node::text).is_some_and(|kind| kind.ends_with("List"));
    if !is_list || !matches!(root.get("items").map(|items| &items.value), Some(Value::List(_))) {
        return Err(root);
    }
    match take(root, "items").map(|items| items.value) {
        Some(Value::List(items)) => Ok(items),
        _ => Ok(Vec::new()),
    }
}

fn one<'t>(root: Node<'t>, at: &At, findings: &mut Findings<'_>) -> Option<Document<'t>> {
    let kind = kind_of(&root, at, findings)?;
    let before = findings.problem_count();
    let Value::Map(entries) = &root.value else { return None };
    for entry in entries.iter().filter(|entry| !ENVELOPE.contains(&entry.name.as_ref())) {
        let here = at.field(&entry.name);
        findings.warn(
            here.line(entry.line),
            format!("unknown field, it has no effect; known here: {}", ENVELOPE.join(", ")),
        );
    }
    let metadata_at = At { pattern: "metadata".to_owned(), ..at.field("metadata") };
    match root.get("metadata") {
        Some(metadata) => check(metadata, &METADATA, &metadata_at, findings),
        None => findings.problem(metadata_at.line(root.line), "expected a mapping with name, got nothing"),
    }
    let spec_at = At { pattern: format!("{}.spec", kind.name), ..at.field("spec") };
    let empty = Node { line: root.line, value: Value::Map(Vec::new()) };
    let line = root.line;
    let (id, metadata_name) = identity(&root, kind);
    let labels = labels_of(&root);
    let spec = take(root, "spec").unwrap_or(empty);
    check(&spec, &kind.spec, &spec_at, findings);
    let aws_name = spec
        .get("awsName")
        .and_then(Node::text)
        .map_or_else(|| default_aws_name(kind, &id, &metadata_name), str::to_owned);
    Some(Document { kind, aws_name, id, labels, spec, at: spec_at, line, broken: findings.problem_count() > before })
}

/// Takes a field out of a mapping; `None` too when it is null.
fn take<'t>(root: Node<'t>, name: &str) -> Option<Node<'t>> {
    let Value::Map(entries) = root.value else { return None };
    let node = entries.into_iter().find(|entry| entry.name == name)?.node;
    (node.value != Value::Null).then_some(node)
}

fn identity(root: &Node<'_>, kind: &Kind) -> (ServiceName, String) {
    let metadata = |name| root.get("metadata").and_then(|metadata| metadata.get(name)).and_then(Node::text);
    let name = metadata("name").unwrap_or("");
    let namespace = if kind.name == "Mesh" { "" } else { metadata("namespace").unwrap_or(DEFAULT_NAMESPACE) };
    (ServiceName::new(namespace, name), name.to_owned())
}

fn labels_of(root: &Node<'_>) -> Vec<(String, String)> {
    let labels = root.get("metadata").and_then(|metadata| metadata.get("labels"));
    let Some(Value::Map(entries)) = labels.map(|labels| &labels.value) else { return Vec::new() };
    entries.iter().filter_map(|entry| Some((entry.name.to_string(), entry.node.text()?.to_owned()))).collect()
}

/// As App Mesh's admission webhook fills it in.
fn default_aws_name(kind: &Kind, id: &ServiceName, name: &str) -> String {
    match kind.name {
        "Mesh" => name.to_owned(),
        "VirtualService" => format!("{name}.{}", id.namespace()),
        _ => format!("{name}_{}", id.namespace()),
    }
}

/// The kind of a document that is to be read; says so when it is passed over or of the wrong version.
fn kind_of(root: &Node<'_>, at: &At, findings: &mut Findings<'_>) -> Option<&'static Kind> {
    let version = root.get("apiVersion").and_then(Node::text).unwrap_or("");
    let name = root.get("kind").and_then(Node::text).unwrap_or("");
    let known = kinds::ALL.iter().find(|kind| kind.name == name);
    let group = version.split('/').next().unwrap_or_default();
    let of_group = GROUPS.contains(&group);
    let here = at.line(root.line);
    if let Some((_, why)) = PASSED_OVER.iter().find(|(kind, _)| *kind == name && of_group) {
        findings.warn_once(format!("kind {name}"), here, || format!("kind {name} is passed over: {why}"));
        return None;
    }
    match (known, of_group) {
        (Some(kind), true) if version == kind.api_version => return Some(kind),
        (Some(kind), _) if of_group || version.is_empty() => {
            let got = if version.is_empty() { "nothing".to_owned() } else { format!("\"{}\"", shown(version)) };
            let place = Place { path: &at.field("apiVersion").path, ..here };
            findings.problem(place, format!("expected {}, got {got}", kind.api_version));
        }
        (None, true) => {
            let known: Vec<&str> = kinds::ALL.iter().map(|kind| kind.name).collect();
            let place = Place { path: &at.field("kind").path, ..here };
            findings.problem(place, format!("expected one of {}, got \"{}\"", known.join(", "), shown(name)));
        }
        (_, false) if name.is_empty() => {
            findings.warn_once("no kind".to_owned(), here, || "not a Kubernetes document, passed over".to_owned());
        }
        _ => {
            let name = shown(name);
            findings.warn_once(format!("kind {name}"), here, || format!("kind {name} is not of App Mesh, passed over"));
        }
    }
    None
}
