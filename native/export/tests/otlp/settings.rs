//! Settings that cannot work are refused at the start, by name.

use std::time::Duration;

use erlmcp_export::otlp::{AttributeValue, Exporter, ExporterConfig, OtlpEndpoint};

use crate::common::*;

#[test]
fn limits_that_let_nothing_through_are_refused() {
    let error = |change: fn(&mut ExporterConfig)| {
        let mut config = ExporterConfig::default();
        change(&mut config);
        Exporter::start(config, Bench::new().sources).unwrap_err().to_string()
    };
    let zero = |setting: &str| format!("{setting} must not be 0");
    assert_eq!(error(|config| config.max_batch_records = 0), zero("max_batch_records"));
    assert_eq!(error(|config| config.scheduled_delay = Duration::ZERO), zero("scheduled_delay"));
    assert_eq!(error(|config| config.retry.initial = Duration::ZERO), zero("retry.initial"));
    assert!(error(|config| config.retry.multiplier = f64::NAN).contains("retry.multiplier"));
    let text = error(|config| {
        config.max_batch_bytes = 100;
        let value = AttributeValue::String("x".repeat(200));
        config.resource = vec![("service.name".to_owned(), value)];
    });
    assert!(text.contains("max_batch_bytes"), "{text}");
}

#[test]
fn what_is_wrong_with_an_endpoint_is_said_at_the_start() {
    let url = |protocol, url: &str| start_error(OtlpEndpoint::new(protocol, url)).to_string();
    assert!(url(HttpProtobuf, "localhost:4318").contains("has to begin with http://"));
    assert!(url(HttpProtobuf, "ftp://host/").contains("has to begin with http://"));
    assert!(url(HttpProtobuf, "http://").contains("is not a URL"));
    assert!(url(Grpc, "a b").contains("is not a URL"));
    let text = url(HttpProtobuf, "http://user:word@host/v1/traces");
    assert!(text.contains("as a header") && !text.contains("word"), "{text}");
    let header = |name: &str, value: &str| {
        let headers = vec![(name.to_owned(), value.to_owned())];
        let url = "http://localhost:4318/v1/traces";
        start_error(OtlpEndpoint { headers, ..OtlpEndpoint::new(HttpProtobuf, url) }).to_string()
    };
    assert!(header("a b", "c").contains("\"a b\""));
    assert!(header("Content-Type", "text/plain").contains("the protocol's own"));
    let text = header("authorization", "top\nsecret");
    assert!(text.contains("authorization") && !text.contains("secret"), "{text}");
    let endpoint = OtlpEndpoint {
        headers: vec![("authorization".to_owned(), "Bearer secret".to_owned())],
        ..OtlpEndpoint::new(Grpc, "http://localhost:4317")
    };
    assert!(!format!("{endpoint:?}").contains("secret"));
}
