//! Who sent it: the resource that a sidecar writes, and what we take from anyone's.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tripline_model::{ServiceName, Sidecar};

use crate::attribute::{get_text, push_text, text};
use crate::{names, value};

/// Longest instance, version or environment kept, in bytes.
const MAX_TEXT_BYTES: usize = 256;
/// The service of a resource that names none, as OpenTelemetry's SDKs call it.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// What the records of one resource have in common; cheap to clone into each.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) service: ServiceName,
    pub(crate) instance: Arc<str>,
    pub(crate) environment: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) from_sidecar: bool,
}

impl Identity {
    pub(crate) fn of(resource: Option<&Resource>) -> Self {
        let attributes = resource.map_or(&[][..], |r| &r.attributes);
        let cut = |key| value::cut(get_text(attributes, key).unwrap_or_default(), MAX_TEXT_BYTES);
        let name = get_text(attributes, names::SERVICE_NAME).filter(|n| !n.is_empty()).unwrap_or(UNKNOWN_SERVICE);
        let environment = match cut(names::DEPLOYMENT_ENVIRONMENT) {
            "" => cut(names::DEPLOYMENT_ENVIRONMENT_OLD),
            environment => environment,
        };
        Self {
            service: ServiceName::new(get_text(attributes, names::SERVICE_NAMESPACE).unwrap_or_default(), name),
            instance: cut(names::SERVICE_INSTANCE_ID).into(),
            environment: environment.into(),
            version: cut(names::SERVICE_VERSION).into(),
            from_sidecar: get_text(attributes, names::ROLE) == Some(names::ROLE_PROXY),
        }
    }
}

pub(crate) fn of_sidecar(sidecar: &Sidecar) -> Resource {
    let mut attributes = vec![text(names::SERVICE_NAME, sidecar.service.name())];
    push_text(&mut attributes, names::SERVICE_NAMESPACE, sidecar.service.namespace());
    push_text(&mut attributes, names::SERVICE_INSTANCE_ID, &sidecar.instance);
    push_text(&mut attributes, names::SERVICE_VERSION, &sidecar.version);
    attributes.push(text(names::TELEMETRY_SDK_NAME, "tripline"));
    attributes.push(text(names::TELEMETRY_SDK_LANGUAGE, "rust"));
    attributes.push(text(names::TELEMETRY_SDK_VERSION, env!("CARGO_PKG_VERSION")));
    attributes.push(text(names::ROLE, names::ROLE_PROXY));
    Resource { attributes, ..Resource::default() }
}

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope { name: names::SCOPE.into(), ..InstrumentationScope::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_without_a_name_is_unknown() {
        assert_eq!(Identity::of(None).service.to_string(), "unknown_service");
        let empty = Resource { attributes: vec![text(names::SERVICE_NAME, "")], ..Resource::default() };
        assert_eq!(Identity::of(Some(&empty)).service.to_string(), "unknown_service");
    }

    #[test]
    fn the_old_environment_is_read_too() {
        let resource =
            Resource { attributes: vec![text(names::DEPLOYMENT_ENVIRONMENT_OLD, "prod")], ..Resource::default() };
        assert_eq!(&*Identity::of(Some(&resource)).environment, "prod");
    }

    #[test]
    fn a_sidecar_is_recognised() {
        let sidecar =
            Sidecar { service: ServiceName::new("shop", "web"), instance: "i-1".into(), version: "0.1.0".into() };
        let identity = Identity::of(Some(&of_sidecar(&sidecar)));
        assert!(identity.from_sidecar);
        assert_eq!((identity.service, &*identity.instance), (sidecar.service, "i-1"));
    }
}
