//! The effective configuration as the admin port shows it.

use serde_json::{Value, json};
use tripline_mesh::{GatewayRoute, NodeConfig, OutboundService, Route};

use crate::app::app_address;
use crate::settings::{Configuration, Settings};
use crate::worker::Addresses;

/// The configuration that a sidecar runs with.
pub(crate) fn of(node: &NodeConfig, settings: &Settings, addresses: &Addresses) -> Value {
    json!({
        "service": node.service.to_string(),
        "mesh": node.mesh,
        "inbound": addresses.inbound.map(|address| address.to_string()),
        "outbound": addresses.outbound.to_string(),
        "admin": addresses.admin.to_string(),
        "gateway_routes": node.entries.as_ref().map(|routes| routes.iter().map(entry).collect::<Vec<_>>()),
        "app": node.listeners.first().filter(|_| node.entries.is_none()).map(|listener| app_address(listener, settings.app).to_string()),
        "collector": settings.collector,
        "sample_ratio": settings.sample_ratio,
        "workers": settings.workers,
        "services": node.services.iter().map(service).collect::<Vec<_>>(),
    })
}

/// The same with another configuration of the mesh.
pub(crate) fn changed(configuration: &Configuration, before: &Value) -> Value {
    let mut shown = before.clone();
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("mesh".to_owned(), json!(configuration.node.mesh));
        let entries = configuration.node.entries.as_ref().map(|routes| routes.iter().map(entry).collect::<Vec<_>>());
        fields.insert("gateway_routes".to_owned(), json!(entries));
        fields
            .insert("services".to_owned(), json!(configuration.node.services.iter().map(service).collect::<Vec<_>>()));
    }
    shown
}

fn service(service: &OutboundService) -> Value {
    json!({ "hosts": service.hosts, "routes": service.routes.iter().map(route).collect::<Vec<_>>() })
}

fn entry(route: &GatewayRoute) -> Value {
    json!({ "name": route.id.to_string(), "priority": route.priority, "service": route.service.to_string() })
}

fn route(route: &Route) -> Value {
    let targets = route.targets.iter().map(|target| {
        let address = format!("{}:{}", target.hostname, target.port);
        json!({ "server": target.node.to_string(), "weight": target.weight, "address": address })
    });
    json!({
        "name": route.name,
        "targets": targets.collect::<Vec<_>>(),
        "retries": route.retry.as_ref().map_or(0, |retry| retry.max_retries),
        "timeout_seconds": route.timeouts.per_request.map(|limit| limit.as_secs_f64()),
    })
}
