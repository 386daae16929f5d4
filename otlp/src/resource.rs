//! Who sent it: the resource that a sidecar writes, and what we take from anyone's.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tripline_model::{ServiceName, Sidecar};

use crate::attribute::{push_text, text};
use crate::{SpanRecord, names, value};

/// Longest instance, version or environment kept, in bytes.
const MAX_TEXT_BYTES: usize = 256;
/// The service of a resource that names none, as OpenTelemetry's SDKs call it.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// What the records of one resource have in common; cheap to clone into each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `service.namespace` and `service.name`.
    pub service: ServiceName,
    /// `service.instance.id`, or empty.
    pub instance: Arc<str>,
    /// `deployment.environment.name` or its old form, or empty.
    pub environment: Arc<str>,
    /// `service.version`, or empty.
    pub version: Arc<str>,
    /// Whether it is a Tripline sidecar (`tripline.role=proxy`).
    pub from_sidecar: bool,
}

/// What a resource says, of what we read; of equal names the first counts, and one that is no text counts as absent.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    texts: [Option<Option<&'a str>>; READ.len()],
}

/// What is read of a resource.
const READ: [&str; 7] = [
    names::SERVICE_NAME,
    names::SERVICE_NAMESPACE,
    names::SERVICE_INSTANCE_ID,
    names::SERVICE_VERSION,
    names::DEPLOYMENT_ENVIRONMENT,
    names::DEPLOYMENT_ENVIRONMENT_OLD,
    names::ROLE,
];

impl<'a> Said<'a> {
    pub(crate) fn note(&mut self, key: &[u8], text: Option<&'a str>) {
        if let Some(place) = READ.iter().position(|name| name.as_bytes() == key).and_then(|i| self.texts.get_mut(i)) {
            place.get_or_insert(text);
        }
    }

    pub(crate) fn identity(self) -> Identity {
        let [name, namespace, instance, version, environment, old_environment, role] =
            self.texts.map(|text| text.flatten().unwrap_or_default());
        let cut = |text| value::cut(text, MAX_TEXT_BYTES);
        let environment = if environment.is_empty() { old_environment } else { environment };
        Identity {
            service: ServiceName::new(namespace, if name.is_empty() { UNKNOWN_SERVICE } else { name }),
            instance: cut(instance).into(),
            environment: cut(environment).into(),
            version: cut(version).into(),
            from_sidecar: role == names::ROLE_PROXY,
        }
    }
}

impl Identity {
    pub(crate) fn of(resource: Option<&Resource>) -> Self {
        let mut said = Said::default();
        for attribute in resource.map_or(&[][..], |r| &r.attributes) {
            let text = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
                Some(Any::StringValue(text)) => Some(text.as_str()),
                _ => None,
            };
            said.note(attribute.key.as_bytes(), text);
        }
        said.identity()
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

/// The resource that a span's record was made under, as far as the record tells.
pub(crate) fn of_record(span: &SpanRecord) -> Resource {
    let mut attributes = vec![text(names::SERVICE_NAME, span.service.name())];
    push_text(&mut attributes, names::SERVICE_NAMESPACE, span.service.namespace());
    push_text(&mut attributes, names::SERVICE_INSTANCE_ID, &span.instance);
    push_text(&mut attributes, names::DEPLOYMENT_ENVIRONMENT, &span.environment);
    if span.from_sidecar {
        attributes.push(text(names::ROLE, names::ROLE_PROXY));
    }
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
