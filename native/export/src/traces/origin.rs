//! Where records come from: the resource and the scope that frame them.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

/// The encoded bodies of a `Resource` and an `InstrumentationScope`, which all
/// records of a buffer share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    resource: Vec<u8>,
    scope: Vec<u8>,
    service: String,
}

/// Key of the resource attribute that names the service.
const SERVICE_NAME: &str = "service.name";

impl Origin {
    /// From the bodies of the two messages, without tag and length.
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

    /// The resource; nothing when its bytes cannot be decoded.
    pub(crate) fn resource(&self) -> Option<Resource> {
        Resource::decode(self.resource.as_slice()).ok()
    }

    /// The scope; nothing when its bytes cannot be decoded.
    pub(crate) fn scope(&self) -> Option<InstrumentationScope> {
        InstrumentationScope::decode(self.scope.as_slice()).ok()
    }

    /// Whether these are the bodies that it was made of.
    pub(crate) fn is_of(&self, resource: &[u8], scope: &[u8]) -> bool {
        self.resource == resource && self.scope == scope
    }
}
