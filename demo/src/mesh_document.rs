//! The shop's mesh as App Mesh documents, for the ports chosen: what its sidecars read, and an example to learn from.
//!
//! Two services stand behind a VirtualRouter, the others behind their VirtualNode directly. Only the catalogue's routes,
//! which only read, are tried again, and only once, by the one caller next to it: a retry at each hop would multiply, and
//! a retried checkout is a second order.
//!
//! The breakers trip on 5 failures in a row, as Envoy's do, and stay open for 3 s at first, doubling: after 3, 9, 21
//! and 45 s they probe. All breakers of one chain trip within a moment and probe in step, since App Mesh's
//! `baseEjectionDuration` knows no jitter, so the shop is well again seconds after a fault of 40 s is over.

use std::fmt::{self, Write};

use crate::ports::{PortPlan, Ports};
use crate::shop::{NAMESPACE, ServiceSpec};

const HEAD: &str = "\
# The demo shop, as AWS App Mesh would describe it. Written by `tripline demo`.
apiVersion: appmesh.k8s.aws/v1beta2
kind: Mesh
metadata:
  name: shop
spec:
  namespaceSelector: {}
  egressFilter:
    type: DROP_ALL
";

const WEB_ROUTES: [Route; 2] =
    [Route { name: "checkout", prefix: "/checkout", retries: 0 }, Route { name: "rest", prefix: "/", retries: 0 }];

const CATALOGUE_ROUTES: [Route; 2] =
    [Route { name: "browse", prefix: "/browse", retries: 1 }, Route { name: "search", prefix: "/search", retries: 1 }];

struct Route {
    name: &'static str,
    prefix: &'static str,
    retries: u8,
}

/// All documents in one text, separated by `---`.
#[must_use]
pub fn mesh_document(plan: &PortPlan) -> String {
    let mut text = HEAD.to_owned();
    let written = plan.all().try_for_each(|(service, ports)| {
        let routes = routes_of(service);
        virtual_node(&mut text, service, ports)?;
        virtual_service(&mut text, service, routes)?;
        if routes.is_empty() { Ok(()) } else { virtual_router(&mut text, service, ports, routes) }
    });
    debug_assert!(written.is_ok(), "a String takes everything");
    text
}

fn routes_of(service: &ServiceSpec) -> &'static [Route] {
    match service.name {
        "web" => &WEB_ROUTES,
        "catalogue" => &CATALOGUE_ROUTES,
        _ => &[],
    }
}

fn virtual_node(text: &mut String, service: &ServiceSpec, ports: Ports) -> fmt::Result {
    write!(
        text,
        "---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  listeners:
    - portMapping:
        port: {port}
        protocol: http
      timeout:
        http:
          perRequest: {{ unit: ms, value: {timeout} }}
          idle: {{ unit: s, value: 60 }}
      connectionPool:
        http: {{ maxConnections: 512, maxPendingRequests: 512 }}
      outlierDetection:
        maxServerErrors: 5
        interval: {{ unit: s, value: 10 }}
        baseEjectionDuration: {{ unit: s, value: 3 }}
        maxEjectionPercent: 100
  serviceDiscovery:
    dns:
      hostname: 127.0.0.1
      responseType: ENDPOINTS
",
        name = service.name,
        port = ports.inbound.port(),
        timeout = service.timeout_ms,
    )?;
    let mut dependencies = service.dependencies().peekable();
    if dependencies.peek().is_some() {
        text.push_str("  backends:\n");
    }
    dependencies.try_for_each(|name| {
        writeln!(text, "    - virtualService:\n        virtualServiceRef:\n          name: {name}")
    })
}

fn virtual_service(text: &mut String, service: &ServiceSpec, routes: &[Route]) -> fmt::Result {
    let provider = if routes.is_empty() { "virtualNode" } else { "virtualRouter" };
    write!(
        text,
        "---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualService
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  awsName: {host}
  provider:
    {provider}:
      {provider}Ref:
        name: {name}
",
        name = service.name,
        host = service.host(),
    )
}

fn virtual_router(text: &mut String, service: &ServiceSpec, ports: Ports, routes: &[Route]) -> fmt::Result {
    write!(
        text,
        "---
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  listeners:
    - portMapping:
        port: {port}
        protocol: http
  routes:
",
        name = service.name,
        port = ports.inbound.port(),
    )?;
    routes.iter().zip(1..).try_for_each(|(route, place)| {
        write!(
            text,
            "    - name: {route}
      priority: {priority}
      httpRoute:
        match:
          prefix: {prefix}
        action:
          weightedTargets:
            - virtualNodeRef:
                name: {name}
              weight: 100
        timeout:
          perRequest: {{ unit: ms, value: {timeout} }}
          idle: {{ unit: s, value: 60 }}
",
            route = route.name,
            priority = place * 10,
            prefix = route.prefix,
            name = service.name,
            timeout = service.timeout_ms + 100,
        )?;
        if route.retries == 0 { Ok(()) } else { retry_policy(text, service, route.retries) }
    })
}

fn retry_policy(text: &mut String, service: &ServiceSpec, retries: u8) -> fmt::Result {
    write!(
        text,
        "        retryPolicy:
          maxRetries: {retries}
          perRetryTimeout: {{ unit: ms, value: {timeout} }}
          httpRetryEvents:
            - gateway-error
          tcpRetryEvents:
            - connection-error
",
        timeout = service.timeout_ms,
    )
}

#[cfg(test)]
mod tests {
    use tripline_mesh::{Mesh, Source, Support};

    use super::*;
    use crate::shop::SERVICES;

    fn written() -> (PortPlan, String) {
        let plan = PortPlan::new(30_000).expect("a good base");
        let text = mesh_document(&plan);
        (plan, text)
    }

    #[test]
    fn sidecars_can_read_it_without_a_warning() {
        let (_, text) = written();
        let loaded = Mesh::parse(&[Source { name: "shop.yaml", text: &text }]).expect("a good mesh");
        assert_eq!(loaded.warnings, []);
        assert!(loaded.report.iter().all(|field| field.support != Support::Unknown));
        assert_eq!(loaded.mesh.nodes.len(), SERVICES.len());
        assert_eq!(loaded.mesh.routers.len(), 2);
    }

    #[test]
    fn each_service_can_call_what_it_needs_where_that_listens() {
        let (plan, text) = written();
        let mesh = Mesh::parse(&[Source { name: "shop.yaml", text: &text }]).expect("a good mesh").mesh;
        for (service, ports) in plan.all() {
            let config = mesh.node_config(&service.identity()).expect("a node");
            assert_eq!(config.listeners.first().map(|l| l.port), Some(ports.inbound.port()));
            let hosts: Vec<&str> = config.services.iter().filter_map(|s| s.hosts.first()).map(String::as_str).collect();
            let expected: Vec<String> = service.dependencies().map(crate::shop::host_of).collect();
            assert_eq!(hosts, expected, "{}", service.name);
            for called in config.services {
                let target = &called.routes.first().expect("a route").targets[0];
                let name = target.node.name();
                assert_eq!(target.port, plan.of(name).expect("a service").inbound.port());
                assert_eq!(target.outlier_detection.map(|o| o.max_server_errors), Some(5));
            }
        }
    }

    #[test]
    fn only_reading_is_tried_again_and_only_once() {
        let (_, text) = written();
        let mesh = Mesh::parse(&[Source { name: "shop.yaml", text: &text }]).expect("a good mesh").mesh;
        let mut retried = Vec::new();
        for node in mesh.nodes.keys() {
            for service in mesh.node_config(node).expect("a node").services {
                let retries = service.routes.iter().filter_map(|route| Some((&route.name, route.retry.as_ref()?)));
                retried.extend(retries.map(|(name, policy)| format!("{} {name} {}", node.name(), policy.max_retries)));
            }
        }
        assert_eq!(retried, ["web browse 1", "web search 1"]);
    }
}
