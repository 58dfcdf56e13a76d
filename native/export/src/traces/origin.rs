//! Where records come from: the resource and the scope that frame them.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;

/// An encoded resource and an encoded scope, which all records of a buffer
/// share. Both with tag and length, as field 1 of the message that they are in:
/// that is the same field for spans, metrics and log records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    resource: Vec<u8>,
    scope: Vec<u8>,
    service: String,
}

/// Key of the resource attribute that names the service.
const SERVICE_NAME: &str = "service.name";

impl Origin {
    /// From the two fields. What cannot be decoded is taken for absent.
    #[must_use]
    pub fn new(resource: &[u8], scope: &[u8]) -> Self {
        let mut origin =
            Self { resource: resource.to_vec(), scope: scope.to_vec(), service: String::new() };
        let attributes = origin.resource().map(|resource| resource.attributes);
        let name = attributes.unwrap_or_default().into_iter().find(|a| a.key == SERVICE_NAME);
        if let Some(Value::StringValue(name)) = name.and_then(|a| a.value?.value) {
            origin.service = name;
        }
        origin
    }

    /// The resource's `service.name`; empty if it has none.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn resource(&self) -> Option<Resource> {
        ResourceSpans::decode(self.resource.as_slice()).ok()?.resource
    }

    pub(crate) fn scope(&self) -> Option<InstrumentationScope> {
        ScopeSpans::decode(self.scope.as_slice()).ok()?.scope
    }

    /// Whether these are the fields that it was made of.
    pub(crate) fn is_of(&self, resource: &[u8], scope: &[u8]) -> bool {
        self.resource == resource && self.scope == scope
    }
}
