//! App Mesh documents for little meshes.

use std::fmt::Write as _;

/// A virtual node of namespace `shop`, and a virtual service of the same name that it provides.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    /// Where its clients connect; none for a pure client.
    pub(crate) port: Option<u16>,
    pub(crate) backends: Vec<&'static str>,
    /// Further lines of the listener, each at its own indentation of four.
    pub(crate) listener: String,
    /// What the listener speaks; http when empty.
    pub(crate) protocol: &'static str,
    /// How calls to the backends are encrypted: a clientPolicy as flow mapping; none when empty.
    pub(crate) policy: String,
    /// A router's http route action and policy instead of the plain provider.
    pub(crate) route: &'static str,
}

/// The documents of a mesh with these nodes.
pub(crate) fn mesh(nodes: &[Node]) -> String {
    let mut text = String::from(
        "apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: { name: shop }\nspec: { namespaceSelector: {} }\n",
    );
    nodes.iter().for_each(|node| node.write(&mut text));
    text
}

/// A policy of ours about a node of namespace `shop`; the spec's lines at an indentation of two.
pub(crate) fn policy(kind: &str, node: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: tripline.dev/v1\nkind: {kind}\nmetadata: {{ name: {node}, namespace: shop }}\nspec:\n  virtualNodeRef: {{ name: {node} }}\n{spec}"
    )
}

impl Node {
    fn write(&self, text: &mut String) {
        let name = self.name;
        write!(text, "---\napiVersion: appmesh.k8s.aws/v1beta2\nkind: VirtualNode\nmetadata: {{ name: {name}, namespace: shop }}\nspec:\n").unwrap();
        if let Some(port) = self.port {
            let protocol = self.protocol();
            write!(text, "  listeners:\n  - portMapping: {{ port: {port}, protocol: {protocol} }}\n{}", self.listener)
                .unwrap();
            text.push_str("  serviceDiscovery: { dns: { hostname: 127.0.0.1 } }\n");
        }
        if !self.policy.is_empty() {
            writeln!(text, "  backendDefaults: {{ clientPolicy: {} }}", self.policy).unwrap();
        }
        if self.backends.is_empty() {
            text.push_str("  backends: []\n");
        } else {
            text.push_str("  backends:\n");
        }
        for backend in &self.backends {
            writeln!(text, "  - virtualService: {{ virtualServiceRef: {{ name: {backend} }} }}").unwrap();
        }
        if self.port.is_some() {
            self.write_service(text);
        }
    }

    fn protocol(&self) -> &'static str {
        if self.protocol.is_empty() { "http" } else { self.protocol }
    }

    fn write_service(&self, text: &mut String) {
        let name = self.name;
        let provider =
            if self.route.is_empty() { "virtualNode: { virtualNodeRef" } else { "virtualRouter: { virtualRouterRef" };
        write!(text, "---\napiVersion: appmesh.k8s.aws/v1beta2\nkind: VirtualService\nmetadata: {{ name: {name}, namespace: shop }}\nspec: {{ awsName: {name}.shop.local, provider: {{ {provider}: {{ name: {name} }} }} }} }}\n").unwrap();
        if !self.route.is_empty() {
            let port = self.port.unwrap();
            write!(text, "---\napiVersion: appmesh.k8s.aws/v1beta2\nkind: VirtualRouter\nmetadata: {{ name: {name}, namespace: shop }}\nspec:\n  listeners: [ {{ portMapping: {{ port: {port}, protocol: http }} }} ]\n  routes:\n  - name: all\n    httpRoute:\n      match: {{ prefix: / }}\n{}", self.route).unwrap();
        }
    }
}
